//! Shared secrets that Secrets Manager keeps, and that may be replaced while they are in use. A call that needs newer ones reads them,
//! since a function has no background tasks.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::verifying_key::{VerifyingKey, of_secrets, verify_with_any};
use crate::config::{Config, Secret};
use crate::secrets::Renewal;

/// How long secrets are used without being read again.
const FRESH: Duration = Duration::from_secs(5 * 60);
/// The shortest time between two reads because of tokens that no known secret has signed: strangers send as many of them as they
/// like.
const AFTER_UNKNOWN: Duration = Duration::from_secs(30);

/// The secrets that verify tokens at the moment.
pub(super) struct RenewedSecrets {
    renewal: Renewal,
    /// The secret of a gateway that has made one, since no variable has it.
    own: Option<Secret>,
    known: Mutex<Option<Known>>,
}

/// The keys of the secrets that were read last.
struct Known {
    /// What has these secrets.
    config: Arc<Config>,
    keys: Arc<[VerifyingKey]>,
}

impl RenewedSecrets {
    pub(super) fn new(config: &Config, renewal: Renewal) -> Self {
        Self { renewal, own: config.jwt_secret.clone(), known: Mutex::default() }
    }

    /// The claims of a token that one of the secrets has signed. If none has, it may be signed with one that is newer than what is
    /// known.
    pub(super) async fn verify<C: DeserializeOwned>(&self, token: &str) -> Option<C> {
        let known = self.keys(self.renewal.known(FRESH).await);
        if let Some(claims) = verify_with_any(&known, token) {
            return Some(claims);
        }
        let newer = self.keys(self.renewal.younger_than(AFTER_UNKNOWN).await);
        if Arc::ptr_eq(&known, &newer) { None } else { verify_with_any(&newer, token) }
    }

    /// The keys of these secrets.
    fn keys(&self, config: Arc<Config>) -> Arc<[VerifyingKey]> {
        // A panic while the lock was held left what was known.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match &*known {
            Some(known) if Arc::ptr_eq(&known.config, &config) => Arc::clone(&known.keys),
            _ => {
                let secret = config.jwt_secret.as_ref().or(self.own.as_ref());
                let keys: Arc<[VerifyingKey]> = of_secrets(secret, config.jwt_secret_previous.as_ref()).into();
                *known = Some(Known { config, keys: Arc::clone(&keys) });
                keys
            }
        }
    }
}
