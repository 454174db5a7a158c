//! The promise of the record to store sends: a stored send is never lost, and repeating it has no further effect.

use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::At;
use crate::delivery::Delivery;
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::notification::Content;
use crate::inbox::send::Due;

/// How many recipients one transaction materialises; the rest of a send waits in chunks of this size.
pub const CHUNK_RECIPIENTS: usize = 200;

/// All sends, by their ids.
#[async_trait]
pub trait Sends: Send + Sync {
    /// Stores a send and materialises it for its first [`CHUNK_RECIPIENTS`] recipients; the others become chunks that are due
    /// at once. All in one transaction.
    ///
    /// A send that is due later is scheduled instead: it puts nothing into any inbox, and all its recipients become chunks
    /// that are due with it. The first chunk that is materialised starts the send, which is final.
    ///
    /// A send with a collapse key replaces older unread notifications of the same key in each inbox: they become
    /// tombstones, in the offsets before its own. Older means due earlier, then accepted earlier. If its chunk is
    /// materialised only after a newer send's, it becomes a tombstone on arrival: it takes an offset and is never shown.
    ///
    /// Each recipient's notification takes the next offset of the inbox, in commit order. The row of a user with connections
    /// gets `push_at` = now + [`PUSH_GRACE_MS`](crate::delivery::PUSH_GRACE_MS). It is silent if its channels or the user's
    /// preferences leave open devices out, and Web Push falls due for it as [`WebPushes`](crate::web_push::pushes::WebPushes)
    /// says. A send whose id is already stored changes
    /// nothing and returns the first answer; it waits for a concurrent transaction that stores the same id.
    async fn append(&self, append: &Append<'_>, at: At) -> Result<Appended, StoreError>;

    /// The answer that was given when a send was first stored; `None` if it is not stored.
    async fn first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, StoreError>;

    /// Cancels a scheduled send of this sender. Afterwards none of it ever reaches an inbox, even if a chunk is due or a
    /// worker is about to materialise it. A started send, as every immediate one is, is left alone. Cancelling twice is
    /// harmless, and the first answer stays known.
    async fn cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, StoreError>;
}

/// A send to be stored.
#[derive(Debug)]
pub struct Append<'a> {
    /// Derived from caller, route and key.
    pub id: SendId,
    /// The caller.
    pub sender: &'a UserId,
    /// SHA-256 of the request.
    pub fingerprint: [u8; 32],
    /// What each recipient receives.
    pub content: Arc<Content>,
    /// At most 1,000, distinct, in order.
    pub recipients: &'a [UserId],
    /// The body of the response, which every repeat gets byte for byte.
    pub answer: &'a str,
    /// When it is due. A time in the past is not [`Due::Now`]: the drain materialises it.
    pub due: Due,
    /// How long the send, and with it its key, is kept after it is due; or until it expires, if that is later.
    pub retention_ms: i64,
}

/// The result of storing a send.
#[derive(Debug)]
pub enum Appended {
    /// It is stored.
    Stored(Stored),
    /// It was stored before; nothing changed.
    Known(FirstAnswer),
}

/// What is left to do for a stored send.
#[derive(Debug, Default)]
pub struct Stored {
    /// What can be pushed to sockets now.
    pub deliveries: Vec<Delivery>,
    /// When the first Web Push is due, in milliseconds since 1970; `None` if no recipient has a subscription.
    pub web_push_at_ms: Option<i64>,
}

impl Stored {
    /// Adds what is left to do for further recipients.
    pub fn add(&mut self, other: Self) {
        self.deliveries.extend(other.deliveries);
        self.web_push_at_ms = [self.web_push_at_ms, other.web_push_at_ms].into_iter().flatten().min();
    }
}

/// The first answer to a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// SHA-256 of the first request.
    pub fingerprint: [u8; 32],
    /// The body of the first response.
    pub answer: String,
}

/// The result of cancelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled, now or before.
    Done,
    /// Delivery has already started.
    Started,
    /// This sender has no such send.
    Unknown,
}
