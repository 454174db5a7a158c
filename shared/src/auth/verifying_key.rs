//! A key that verifies the signatures of tokens, with the one algorithm that it is for.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;

use crate::config::Secret;

/// A key and its algorithm. The algorithm never comes from a token, which could name a weaker one.
pub struct VerifyingKey {
    key: DecodingKey,
    validation: Validation,
}

impl VerifyingKey {
    pub(super) fn new(algorithm: Algorithm, key: DecodingKey) -> Self {
        let mut validation = Validation::new(algorithm);
        // Claims are checked where they are read: times by our clock, issuer and audience only if they are configured.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        Self { key, validation }
    }

    /// The claims of a token that this key signed; `None` for any other, and for claims of another shape.
    pub(super) fn verify<C: DeserializeOwned>(&self, token: &str) -> Option<C> {
        jsonwebtoken::decode(token, &self.key, &self.validation).ok().map(|decoded| decoded.claims)
    }
}

/// The keys of a shared secret, and of the one before it, which verifies too while it is being replaced.
pub(super) fn of_secrets(secret: Option<&Secret>, previous: Option<&Secret>) -> Vec<VerifyingKey> {
    let key =
        |secret: &Secret| VerifyingKey::new(Algorithm::HS256, DecodingKey::from_secret(secret.reveal().as_bytes()));
    secret.into_iter().chain(previous).map(key).collect()
}

/// The claims of a token that one of these keys signed.
pub(super) fn verify_with_any<C: DeserializeOwned>(keys: &[VerifyingKey], token: &str) -> Option<C> {
    keys.iter().find_map(|key| key.verify(token))
}
