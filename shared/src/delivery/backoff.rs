//! How long to wait before a push is retried: exponential backoff with full jitter.

/// The longest backoff after `attempt` earlier pushes, in milliseconds: 100, doubled with each push, at most a minute.
pub fn max_backoff_ms(attempt: u32) -> i64 {
    100 * (1 << attempt.min(10)).min(600)
}

/// The backoff after `attempt` earlier pushes, in milliseconds. With full jitter, what failed together is not retried
/// together.
pub fn backoff_ms(attempt: u32) -> i64 {
    (max_backoff_ms(attempt) as f64 * fastrand::f64()) as i64
}

/// A wait of about this many milliseconds, from three quarters of it on.
pub fn jittered_ms(ms: i64) -> i64 {
    ms - ms * fastrand::i64(0..=1_000) / 4_000
}
