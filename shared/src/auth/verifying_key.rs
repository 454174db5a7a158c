//! A key that verifies the signatures of tokens, with the one algorithm that it is for.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::DeserializeOwned;

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
