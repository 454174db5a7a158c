//! The moment: what may vanish at any time without loss. Its promises are defined by the domains; the stores that keep
//! them are here.

#[cfg(feature = "memory")]
pub mod memory;
pub mod none;
#[cfg(feature = "redis")]
pub mod redis;

use std::sync::Arc;

use crate::delivery::queue::Queue;
use crate::limits::Limits;
use crate::telemetry::Telemetry;
use crate::telemetry::health::Health;

/// A store that keeps every promise of the moment.
pub trait MomentStore: Limits + Queue + Telemetry + Health {}

impl<T: Limits + Queue + Telemetry + Health> MomentStore for T {}

/// The promises of the moment, each of which a test may replace on its own.
#[derive(Clone)]
pub struct Moment {
    /// Rate limits.
    pub limits: Arc<dyn Limits>,
    /// Work that waits for a drain.
    pub queue: Arc<dyn Queue>,
    /// Counts, outcomes of pushes, and hints.
    pub telemetry: Arc<dyn Telemetry>,
    /// Whether the store itself works.
    pub health: Arc<dyn Health>,
}

impl Moment {
    /// All promises kept by one store.
    pub fn new(store: Arc<dyn MomentStore>) -> Self {
        Self { limits: store.clone(), queue: store.clone(), telemetry: store.clone(), health: store }
    }
}
