//! How long calls wait for Redis.

use std::time::Duration;

/// How long calls wait for Redis.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// Of a call, and of the next one after it had no answer. After the second the breaker opens.
    pub(crate) calls: [Duration; 2],
    /// Of concurrent calls: past it one of them waits on for the whole timeout and the others give up, so that an outage
    /// delays one call at a time.
    pub(crate) concurrent: Duration,
    /// Of calls that begin while another waits on.
    pub(crate) suspicious: Duration,
}

impl Timeouts {
    /// A call waits 150 ms and a silent outage costs 250 ms, less what a late timer adds.
    pub(crate) const REQUEST: Self = Self {
        calls: [Duration::from_millis(145), Duration::from_millis(95)],
        concurrent: Duration::from_millis(50),
        suspicious: Duration::from_millis(10),
    };

    /// The same timeout for every call.
    pub(crate) fn all(timeout: Duration) -> Self {
        Self { calls: [timeout; 2], concurrent: timeout, suspicious: timeout }
    }
}
