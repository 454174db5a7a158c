//! The promise of the moment to carry frames to event streams. A stream is a connection that a function holds open: other
//! functions publish to it, and that function listens.

use async_trait::async_trait;

use crate::ids::ConnectionId;
use crate::protocol::Frame;
use crate::sockets::push::Outcome;

/// How many frames wait for a stream that does not take them. One more ends its listening.
pub const MAX_WAITING: usize = 256;

/// The way from functions that push to functions that hold event streams open. What is published to a stream without a
/// listener is lost.
#[async_trait]
pub trait Streams: Send + Sync {
    /// Publishes each frame to its stream. The outcomes are in the order of `frames`: a frame was offered if the stream listens,
    /// and its stream is gone if it has no listener. Never fails as a whole. A store that carries nothing counts each frame as
    /// offered, because its streams look at the record by themselves.
    async fn publish(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome>;

    /// Listens to a stream from now on: what is published after this returned is heard, as long as the listening lasts. `None`
    /// if the moment is unavailable or carries nothing.
    async fn listen(&self, stream: &ConnectionId) -> Option<Box<dyn Listening>>;
}

/// Hears what is published to one stream. Dropping it ends that.
#[async_trait]
pub trait Listening: Send {
    /// The next frame, in the order of publishing. `None` once the listening has ended, after which frames may have been missed:
    /// the moment went away, or [`MAX_WAITING`] frames had not been taken. Safe to cancel.
    async fn next(&mut self) -> Option<Frame>;
}
