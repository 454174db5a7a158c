//! The configuration of the Redis connection.

use std::path::PathBuf;
use std::time::Duration;

use super::secret::Secret;

/// How to reach Redis.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `REDIS_URL`, or a URL made of `REDIS_HOST`, `REDIS_PORT` and `REDIS_TLS`. `REDIS_USERNAME` and `REDIS_PASSWORD`
    /// are added if it has no credentials.
    pub url: Secret,
    /// `REDIS_KEY_PREFIX`: the prefix of every key and channel.
    pub prefix: String,
    /// `REDIS_CONNECT_TIMEOUT`: the timeout of one attempt to connect.
    pub connect_timeout: Duration,
    /// `REDIS_MAX_RETRIES`: how often connecting is attempted, the first time included; at least 1.
    pub attempts: u32,
    /// `SSL_CERT_FILE`, as OpenSSL reads it: the certificate authorities (PEM) to trust instead of the public ones.
    pub authorities: Option<PathBuf>,
}
