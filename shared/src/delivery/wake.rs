//! The promise to wake the drain, so that new work does not wait for the drain's schedule.

use async_trait::async_trait;

/// Work of the record that is due within this time, in milliseconds, needs a drain that is woken. Later work is found in time
/// by the drain's schedule, once a minute.
pub const WAKE_WITHIN_MS: i64 = 60_000;

/// Wakes the drain, for callers that enqueue work which is due soon.
#[async_trait]
pub trait Wake: Send + Sync {
    /// Makes a drain run soon, and returns within half a second. Never fails: if the drain cannot be woken, its
    /// schedule (once a minute) starts it. Waking an awake drain is harmless.
    ///
    /// `is_asleep`: no drain is awake, and this caller is the one to wake it. If that is unknown, `false`: the drain is
    /// woken too, but by one process at most once a second.
    async fn wake_drain(&self, is_asleep: bool);
}
