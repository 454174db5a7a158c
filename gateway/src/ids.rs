//! Identifiers in the formats that API Gateway uses.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use uuid::Uuid;

const ID_CHARACTERS: usize = 15;

/// A new connection, request or message id: 11 random bytes in base64url, which is 15 characters and `=`.
pub(crate) fn gateway_id() -> String {
    let random = Uuid::new_v4().into_bytes();
    let mut bytes = [0; 11];
    // Bytes 6 and 8 of a UUID hold its version and variant, so they are not fully random.
    bytes[..6].copy_from_slice(&random[..6]);
    bytes[6] = random[7];
    bytes[7..].copy_from_slice(&random[9..13]);
    URL_SAFE.encode(bytes)
}

/// Whether a text has the format of a connection id. If not, it is an invalid id and not one of a closed connection.
pub(crate) fn is_gateway_id(text: &str) -> bool {
    let Some(characters) = text.strip_suffix('=') else {
        return false;
    };
    characters.len() == ID_CHARACTERS
        && characters.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// A new X-Ray trace id: `Root=1-{seconds in hex}-{96 random bits in hex}`.
pub(crate) fn trace_id(now_ms: i64) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("Root=1-{:08x}-{}", now_ms / 1000, &random[..24])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_id_has_15_base64url_characters_and_an_equals_sign() {
        let id = gateway_id();
        assert_eq!(id.len(), 16);
        assert!(is_gateway_id(&id), "{id}");
        assert_eq!(URL_SAFE.decode(&id).unwrap().len(), 11);
    }

    #[test]
    fn other_texts_are_not_gateway_ids() {
        for text in ["", "=", "abc", "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAA==", "AAAAAAA AAAAAAA="] {
            assert!(!is_gateway_id(text), "{text}");
        }
    }
}
