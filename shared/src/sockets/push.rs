//! The promise to hand frames to sockets. Every push is a hint: it may be lost, doubled or overtaken, and the
//! client's cursor is the truth.

use async_trait::async_trait;

use crate::ids::ConnectionId;
use crate::protocol::Frame;

/// The way to open sockets.
#[async_trait]
pub trait Push: Send + Sync {
    /// Hands each frame to its connection, many at once; the outcomes are in the same order.
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome>;

    /// Closes sockets, as far as they can be reached; those that are gone already are closed.
    async fn close(&self, connections: &[ConnectionId]);
}

/// What became of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was handed to the socket, which is not yet to the client.
    Offered,
    /// There is no such socket, or it is not open yet.
    Gone,
    /// It was not handed over, or nobody knows: worth another try later.
    Failed,
    /// It was not handed over, as the connection or all of them had been sent too much: worth another try, and not
    /// before that.
    Throttled {
        /// What was asked for, in milliseconds; 0 where nothing was. Not remembered with the outcome.
        retry_after_ms: u32,
    },
}

impl Outcome {
    /// Every one there is.
    pub const ALL: [Self; 4] = [Self::Offered, Self::Gone, Self::Failed, Self::Throttled { retry_after_ms: 0 }];

    /// Its name, in stores and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offered => "offered",
            Self::Gone => "gone",
            Self::Failed => "failed",
            Self::Throttled { .. } => "throttled",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.name() == name)
    }
}
