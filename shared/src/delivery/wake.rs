//! The promise to wake the drain.

use async_trait::async_trait;

/// The way to the drain, for whoever leaves work that is due soon.
#[async_trait]
pub trait Wake: Send + Sync {
    /// Sees to it that the drain runs soon, and returns within half a second. Waking it twice is waking it once. Where it
    /// fails, the drain's schedule is soon enough. `is_asked` says that none is awake and nobody else is to wake one;
    /// whoever does not know wakes it once a second at most.
    async fn wake_drain(&self, is_asked: bool);
}
