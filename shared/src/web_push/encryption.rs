//! Encrypts what is pushed for one browser (RFC 8291), as a single record of the content encoding aes128gcm (RFC 8188).

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;

use super::subscription::{Keys, POINT_BYTES};

/// The largest payload. Push services need to take only bodies of 4,096 bytes (RFC 8030, section 7.2).
pub const MAX_PAYLOAD_BYTES: usize = RECORD_BYTES - HEADER_BYTES - DELIMITER.len() - TAG_BYTES;

const RECORD_BYTES: usize = 4_096;
const SALT_BYTES: usize = 16;
/// Salt, size of the records, and the sender's public key after its length.
const HEADER_BYTES: usize = SALT_BYTES + 4 + 1 + POINT_BYTES;
/// Ends the text of the last record.
const DELIMITER: [u8; 1] = [2];
const TAG_BYTES: usize = 16;

/// Why a payload was not encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// It is larger than [`MAX_PAYLOAD_BYTES`].
    #[error("a payload must be at most {} bytes", MAX_PAYLOAD_BYTES)]
    TooLarge,
    /// The cryptography library failed, as it does if it gets no randomness.
    #[error("the payload could not be encrypted")]
    Failed,
}

/// Encrypts a payload for the browser that has these keys. The result is the whole body of the request.
pub fn encrypt(payload: &[u8], keys: &Keys) -> Result<Vec<u8>, EncryptionError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(EncryptionError::TooLarge);
    }
    let encrypted = || {
        let mut salt = [0; SALT_BYTES];
        rand::fill(&mut salt)?;
        encrypt_as(&PrivateKey::generate(&ECDH_P256)?, salt, payload, keys)
    };
    encrypted().map_err(|_| EncryptionError::Failed)
}

/// Encrypts with this key of the sender and this salt, which must not be used again.
fn encrypt_as(
    sender: &PrivateKey,
    salt: [u8; SALT_BYTES],
    payload: &[u8],
    keys: &Keys,
) -> Result<Vec<u8>, Unspecified> {
    let own = sender.compute_public_key()?;
    let browser = UnparsedPublicKey::new(&ECDH_P256, &keys.p256dh);
    let secret: [u8; 32] = agreement::agree(sender, browser, Unspecified, |shared| {
        expand(&keys.auth, shared, &[b"WebPush: info\0", &keys.p256dh, own.as_ref()])
    })?;
    let key: [u8; 16] = expand(&salt, &secret, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; NONCE_LEN] = expand(&salt, &secret, &[b"Content-Encoding: nonce\0"])?;

    let mut body = Vec::with_capacity(HEADER_BYTES + payload.len() + DELIMITER.len() + TAG_BYTES);
    body.extend(salt);
    body.extend((RECORD_BYTES as u32).to_be_bytes());
    body.push(POINT_BYTES as u8);
    body.extend(own.as_ref());
    body.extend(payload);
    body.extend(DELIMITER);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut body[HEADER_BYTES..])?;
    body.extend(tag.as_ref());
    Ok(body)
}

/// HKDF with SHA-256: `N` bytes from a secret.
fn expand<const N: usize>(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Result<[u8; N], Unspecified> {
    struct Length(usize);
    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let mut bytes = [0; N];
    Salt::new(HKDF_SHA256, salt).extract(secret).expand(info, Length(N))?.fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn decoded(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    /// The browser of RFC 8291, appendix A.
    fn keys() -> Keys {
        let p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
        let auth = "BTBZMqHH6r4Tts7J_aSIgg";
        Keys { p256dh: decoded(p256dh).try_into().unwrap(), auth: decoded(auth).try_into().unwrap() }
    }

    #[test]
    fn the_example_of_the_specification_is_encrypted_as_it_says() {
        let sender = decoded("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw");
        let sender = PrivateKey::from_private_key(&ECDH_P256, &sender).unwrap();
        let salt = decoded("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap();
        let body = encrypt_as(&sender, salt, b"When I grow up, I want to be a watermelon", &keys()).unwrap();
        assert_eq!(
            URL_SAFE_NO_PAD.encode(body),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK\
             6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn the_largest_payload_fills_a_record_and_a_larger_one_is_refused() {
        assert_eq!(MAX_PAYLOAD_BYTES, 3_993);
        assert_eq!(encrypt(&[b'x'; MAX_PAYLOAD_BYTES], &keys()).map(|body| body.len()), Ok(4_096));
        assert_eq!(encrypt(&[b'x'; MAX_PAYLOAD_BYTES + 1], &keys()), Err(EncryptionError::TooLarge));
    }

    #[test]
    fn no_two_bodies_have_a_salt_or_a_sender_in_common() {
        let [one, other] = [(); 2].map(|()| encrypt(b"", &keys()).unwrap());
        assert_ne!(one[..SALT_BYTES], other[..SALT_BYTES]);
        assert_ne!(one[SALT_BYTES + 5..HEADER_BYTES], other[SALT_BYTES + 5..HEADER_BYTES]);
    }

    #[test]
    fn a_key_that_is_no_point_is_an_error() {
        let keys = Keys { p256dh: [4; POINT_BYTES], ..keys() };
        assert_eq!(encrypt(b"", &keys), Err(EncryptionError::Failed));
    }
}
