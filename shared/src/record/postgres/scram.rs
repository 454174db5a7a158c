//! Passwords as Postgres stores them (SCRAM-SHA-256, RFC 7677). They are made here, so that no password is in a statement,
//! which a server may log.

use std::num::NonZeroU32;

use aws_lc_rs::{hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::Secret;
use crate::ids::sha256;

/// As many as Postgres uses, and the least that RFC 7677 allows.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4_096).expect("it is not 0");

/// What a server stores of a password of visible ASCII characters; others would have to be normalised before.
pub(super) fn stored(password: &Secret, salt: [u8; 16]) -> String {
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.reveal().as_bytes(), &mut salted);
    let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
    let client_key = hmac::sign(&salted, b"Client Key");
    let server_key = hmac::sign(&salted, b"Server Key");
    let (salt, stored_key) = (STANDARD.encode(salt), STANDARD.encode(sha256(client_key.as_ref())));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored_key}:{}", STANDARD.encode(server_key.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_stored_as_postgres_stores_it() {
        let salt = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        let expected = "SCRAM-SHA-256$4096:AAECAwQFBgcICQoLDA0ODw==$aHc/zUSDDhrp//W2dMXTChAmpHMfy0zC+c7WcgEDPlA=:ayZKBuc0Lvhy1cYPJdIPldZ9EEqM1bs3qNUJxcHMw3g=";
        assert_eq!(stored(&Secret::new("a pass'word$"), salt), expected);
    }
}
