//! How much of the gateway its clients may hold, and for how long.

use std::time::Duration;

/// Bounds on what clients may hold. The sizes of requests and messages are not here, since API Gateway fixes them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// How long the body of a request may take. Default: 10 s.
    pub body_timeout: Duration,
    /// How many bytes the bodies of all requests may take, from their first byte until their function has answered.
    /// Half of it is for the first part of each, 512 KiB by default. Pushes may take a quarter in addition, so that
    /// functions can push while requests wait. Default: 64 MiB.
    pub body_bytes: usize,
    /// How long a request may wait for room for its body. Default: 1 s.
    pub body_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body_timeout: Duration::from_secs(10), body_bytes: 64 * 1024 * 1024, body_wait: Duration::from_secs(1) }
    }
}
