//! Identifiers in the formats that API Gateway uses.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use uuid::{Builder, Uuid};

const ID_BYTES: usize = 11;
const ID_CHARACTERS: usize = 15;

/// A new connection id: 11 random bytes in base64url, which is 15 characters and `=`. It cannot be guessed, since it is
/// all that a caller needs to push to the connection or to close it.
pub(crate) fn connection_id() -> String {
    let random = Uuid::new_v4().into_bytes();
    let mut bytes = [0; ID_BYTES];
    // Bytes 6 and 8 of a UUID hold its version and variant, so they are not fully random.
    bytes[..6].copy_from_slice(&random[..6]);
    bytes[6] = random[7];
    bytes[7..].copy_from_slice(&random[9..13]);
    URL_SAFE.encode(bytes)
}

/// A new request or message id, in the format of a connection id. It only tells requests apart and may be guessed, so
/// it comes from a generator that does not ask the system: each frame and each push take two ids.
pub(crate) fn request_id() -> String {
    let mut bytes = [0; ID_BYTES];
    fastrand::fill(&mut bytes);
    URL_SAFE.encode(bytes)
}

/// A new request id in the format of a UUID, which may be guessed, too.
pub(crate) fn request_uuid() -> String {
    let mut bytes = [0; 16];
    fastrand::fill(&mut bytes);
    Builder::from_random_bytes(bytes).into_uuid().to_string()
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
/// It may be guessed, as a client may choose it.
pub(crate) fn trace_id(now_ms: i64) -> String {
    format!("Root=1-{:08x}-{:024x}", now_ms / 1000, fastrand::u128(..) >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_gateway_id_has_15_base64url_characters_and_an_equals_sign() {
        for id in [connection_id(), request_id()] {
            assert_eq!(id.len(), 16);
            assert!(is_gateway_id(&id), "{id}");
            assert_eq!(URL_SAFE.decode(&id).unwrap().len(), 11);
        }
    }

    #[test]
    fn a_request_id_may_be_a_random_uuid() {
        let (id, other) = (request_uuid(), request_uuid());
        assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 4, "{id}");
        assert_ne!(id, other);
    }

    #[test]
    fn ids_differ_within_a_thread_and_between_threads() {
        let ids = || (0..1_000).map(|_| request_id()).collect::<Vec<_>>();
        let threads = [(); 4].map(|()| std::thread::spawn(ids));
        let all: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4_000);
    }

    #[test]
    fn a_trace_id_has_8_and_24_hex_digits() {
        let id = trace_id(1_701_245_041_796);
        let random = id.strip_prefix("Root=1-6566f071-").unwrap();
        assert!(random.len() == 24 && random.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }

    #[test]
    fn other_texts_are_not_gateway_ids() {
        for text in ["", "=", "abc", "AAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAA==", "AAAAAAA AAAAAAA="] {
            assert!(!is_gateway_id(text), "{text}");
        }
    }
}
