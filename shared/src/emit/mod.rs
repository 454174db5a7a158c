//! Emitted events: what a service tells users who are there now, without an inbox. They are outside the promise that nothing
//! accepted is lost: an event reaches open sockets, and for a short time those who sync. The promise of the moment to keep
//! events for that time is here, reading them in [`draft`], and their way to the sockets in [`telling`].

pub mod draft;
pub mod telling;

use async_trait::async_trait;
use serde_json::value::RawValue;

use crate::clock::At;
use crate::ids::{EventId, UserId};

/// How long an event is kept for those who sync, in milliseconds.
pub const KEPT_MS: i64 = 5 * 60 * 1_000;
/// The most events that are kept for one user, and for all: the newest.
pub const MAX_KEPT: usize = 100;

/// Events of the last minutes, by the users they were emitted to.
///
/// All of it is best effort: no operation fails or takes longer than the moment's timeout, and a store may lose any event at
/// any time. How old an event is follows from `at`, never from whether a store has already removed it.
#[async_trait]
pub trait Emitted: Send + Sync {
    /// Keeps an event, a JSON object as it is pushed, for [`KEPT_MS`]. An event of the same id that is kept already stays as it
    /// is. `None` if the moment is unavailable or keeps no events.
    async fn keep(&self, id: EventId, event: &RawValue, at: At) -> Option<Kept>;

    /// Notes whom a kept event was emitted to: at most the newest [`MAX_KEPT`] of each user, and of those to all. Repeating it
    /// changes nothing.
    async fn address(&self, id: EventId, audience: Addressees<'_>, at: At);

    /// A kept event. `None` if it is kept no more, or the moment is unavailable.
    async fn find(&self, id: EventId, at: At) -> Option<Box<RawValue>>;

    /// The newest event that was emitted to a user or to all. `None` if the moment is unavailable or keeps no events.
    async fn newest(&self, user: &UserId, at: At) -> Option<Newest>;

    /// The events that were emitted to a user or to all, oldest first: at most the newest [`MAX_KEPT`]. Empty if the moment is
    /// unavailable.
    async fn list(&self, user: &UserId, at: At) -> Vec<Box<RawValue>>;
}

/// Whom an event is for.
#[derive(Debug, Clone, Copy)]
pub enum Addressees<'a> {
    /// All who are there.
    All,
    /// These users.
    Users(&'a [UserId]),
}

/// Whether an event was kept already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It was not.
    Now,
    /// It was: the call is a repeat.
    Before,
}

/// The newest event of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newest {
    /// This one.
    Event(EventId),
    /// There is none.
    Nothing,
}
