//! The promise to hand frames to sockets. A push is best effort: it may be lost, duplicated or reordered. Clients rely
//! on their cursors alone.

use async_trait::async_trait;

use crate::ids::ConnectionId;
use crate::protocol::Frame;

/// How many frames one push attempts however slow the sockets are. Of more frames, the last may fail unattempted.
pub const MAX_AT_ONCE: usize = 64;

/// Pushes frames to open sockets, and closes them.
#[async_trait]
pub trait Push: Send + Sync {
    /// Pushes each frame to its connection, many concurrently. The outcomes are in the order of `frames`. Never fails
    /// as a whole.
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome>;

    /// Closes sockets, as far as they can be reached. A socket that is already gone counts as closed.
    async fn close(&self, connections: &[ConnectionId]);
}

/// The outcome of pushing one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was accepted for the connection, which does not mean that the device received it.
    Offered,
    /// The connection does not exist, or is not open yet.
    Gone,
    /// It was not accepted, or the outcome is unknown. A retry may succeed.
    Failed,
    /// It was not accepted, because this connection or all of them were sent too much. A retry may succeed after the
    /// wait.
    Throttled {
        /// The requested wait, in milliseconds; 0 if none was requested. Not stored with the outcome.
        retry_after_ms: u32,
    },
}

impl Outcome {
    /// All outcomes, without a wait.
    pub const ALL: [Self; 4] = [Self::Offered, Self::Gone, Self::Failed, Self::Throttled { retry_after_ms: 0 }];

    /// Its name in stores and responses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Gone => "gone",
            Self::Failed => "failed",
            Self::Throttled { .. } => "throttled",
        }
    }

    /// The outcome of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}
