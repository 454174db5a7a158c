//! How Redis is reached.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

/// How Redis is reached.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `REDIS_URL`, or one made of `REDIS_HOST`, `REDIS_PORT` and `REDIS_TLS`; `REDIS_USERNAME` and `REDIS_PASSWORD`
    /// fill what it lacks.
    pub url: Secret,
    /// `REDIS_KEY_PREFIX`: before every key and channel.
    pub prefix: String,
    /// `REDIS_CONNECT_TIMEOUT`: of one attempt.
    pub connect_timeout: Duration,
    /// `REDIS_MAX_RETRIES`: attempts of a connection.
    pub attempts: u32,
    /// `SSL_CERT_FILE`, as OpenSSL reads it: the certificate authorities (PEM) to trust instead of the public ones.
    pub authorities: Option<PathBuf>,
}
