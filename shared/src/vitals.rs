//! The promise of a store to say how it is.

use async_trait::async_trait;

/// Somebody whose health can be asked.
#[async_trait]
pub trait Vitals: Send + Sync {
    /// How it is now. Takes no longer than the store's own bound.
    async fn vital(&self) -> Vital;
}

/// How a store is. Never says where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vital {
    /// It works.
    Ok,
    /// It works, but is set up so that it may lose what it should not: why, for an operator.
    Warned(String),
    /// It does not answer; what it would do is done without it.
    Away,
    /// It is not used.
    Off,
}
