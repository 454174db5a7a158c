//! The promise to wake the drain, so that new work does not wait for the drain's schedule.

use async_trait::async_trait;

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
