//! The moment: what may vanish at any time without loss, except for logs, whose loss a fast accept risks. Its promises are defined by the domains; the stores that keep
//! them are here.

#[cfg(feature = "memory")]
pub mod memory;
pub mod none;
#[cfg(feature = "redis")]
pub mod redis;

use std::sync::Arc;

use crate::chat::audience::Audiences;
use crate::chat::cache::MessageCache;
use crate::delivery::queue::Queue;
use crate::emit::Emitted;
use crate::fast::log::Logs;
use crate::limits::Limits;
use crate::presence::Presence;
use crate::sockets::streams::Streams;
use crate::telemetry::Telemetry;
use crate::telemetry::health::Health;

/// A store that keeps every promise of the moment.
pub trait MomentStore:
    Limits + Queue + Logs + Presence + MessageCache + Audiences + Streams + Emitted + Telemetry + Health
{
}

impl<T: Limits + Queue + Logs + Presence + MessageCache + Audiences + Streams + Emitted + Telemetry + Health>
    MomentStore for T
{
}

/// The promises of the moment, each of which a test may replace on its own.
#[derive(Clone)]
pub struct Moment {
    /// Rate limits.
    pub limits: Arc<dyn Limits>,
    /// Work that waits for a drain.
    pub queue: Arc<dyn Queue>,
    /// What was accepted fast and is not written to the record yet.
    pub logs: Arc<dyn Logs>,
    /// Who is connected.
    pub presence: Arc<dyn Presence>,
    /// The last messages of chats.
    pub message_cache: Arc<dyn MessageCache>,
    /// Who hears of typing in which chat.
    pub audiences: Arc<dyn Audiences>,
    /// The way to event streams.
    pub streams: Arc<dyn Streams>,
    /// Emitted events.
    pub emitted: Arc<dyn Emitted>,
    /// Counts, outcomes of pushes, and hints.
    pub telemetry: Arc<dyn Telemetry>,
    /// Whether the store itself works.
    pub health: Arc<dyn Health>,
}

impl Moment {
    /// All promises kept by one store.
    pub fn new(store: Arc<dyn MomentStore>) -> Self {
        Self {
            limits: store.clone(),
            queue: store.clone(),
            logs: store.clone(),
            presence: store.clone(),
            message_cache: store.clone(),
            audiences: store.clone(),
            streams: store.clone(),
            emitted: store.clone(),
            telemetry: store.clone(),
            health: store,
        }
    }
}
