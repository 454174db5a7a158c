//! The promise of a store to say how it is.

use async_trait::async_trait;
use serde::Serialize;

/// Somebody whose health can be asked.
#[async_trait]
pub trait Health: Send + Sync {
    /// How it is now. Takes no longer than the store's own bound.
    async fn check(&self) -> Status;

    /// What it consists of, for an operator. Takes no longer than the store's own bound.
    async fn instances(&self) -> Instances;
}

/// How a store is. Never says where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It works.
    Ok,
    /// It works, but is set up so that it may lose what it should not: why, for an operator.
    Warned(String),
    /// It does not answer; what it would do is done without it.
    Away,
    /// It is not used.
    Off,
}

/// What a store consists of, as the contract's `redis`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Instances {
    /// How its instances share the work.
    pub mode: Mode,
    /// Each of them; none where the store keeps nothing.
    pub instances: Vec<Instance>,
}

/// How instances share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All is in this process.
    Memory,
    /// There is one.
    Single,
}

/// One instance. What it did and how long that took is of this process alone, since it began.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// A name that says nothing about where it is.
    pub name: String,
    /// Whether it answered just now.
    pub healthy: bool,
    /// What it is to others; `None` where it does not say.
    pub role: Option<Role>,
    /// How often it was asked, whether or not it answered.
    pub operations: u64,
    /// How often it did not answer, or not in time.
    pub errors: u64,
    /// How long half of its answers took at most, in milliseconds.
    pub p50_ms: f64,
    /// How long 99 of 100 took at most, in milliseconds.
    pub p99_ms: f64,
    /// How much memory it uses; `None` where it does not say.
    pub used_memory_bytes: Option<u64>,
    /// Whether it is asked.
    pub breaker: BreakerState,
    /// Why it did not answer the last time that it did not: without secrets or addresses. `None` where it always did.
    pub last_error: Option<String>,
}

/// What an instance is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another.
    Replica,
}

/// Whether an instance is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BreakerState {
    /// It is.
    Closed,
    /// It is not.
    Open,
    /// It is not, but whether it could be is being tried.
    Probing,
}
