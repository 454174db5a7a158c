//! The promise of the record that holds inboxes: what is appended is never lost, offsets have no gaps, and
//! whoever asks from a cursor learns everything that changed after it.

pub mod accept;
pub mod history;
pub mod notification;
pub mod retention;
pub mod send;
pub mod sync;

use std::sync::Arc;

use async_trait::async_trait;

use crate::clock::At;
use crate::cursor::{Cursor, Epoch};
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::notification::{Content, Notification};
use crate::inbox::send::Due;
use crate::protocol::ChangeKind;
use crate::sockets::connections::Connection;

/// How many recipients one transaction materialises; the rest of a send waits in chunks of this size.
pub const CHUNK_RECIPIENTS: usize = 200;
/// How long the row of a user with connections waits for its push before the drain takes it over.
pub const PUSH_GRACE_MS: i64 = 5_000;

/// The inboxes of all users.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Stores a send and puts its notification into the inboxes of the first [`CHUNK_RECIPIENTS`] recipients;
    /// the others become chunks that are due at once. All of it or nothing, in one transaction.
    ///
    /// One that is due later puts nothing into any inbox: it is scheduled, and all its recipients become chunks that
    /// are due with it. The first of them that is materialised starts it, for good.
    ///
    /// One with a collapse key replaces what is older, unread and of the same key in an inbox: that becomes a tombstone,
    /// in an offset before its own. Older is what was due earlier, then what was accepted earlier. What an older one's
    /// chunk brings after it is a tombstone from the beginning: it takes an offset, and is shown to nobody.
    ///
    /// One that expires is from that instant on in nobody's list, count or sync and is pushed to nobody, whenever
    /// `Deliveries::expire` comes to make tombstones.
    ///
    /// Each recipient's notification takes the next offset of his inbox, in commit order. The row of a user
    /// with connections gets `push_at` = now + [`PUSH_GRACE_MS`]. A send whose id is stored already changes
    /// nothing and gives the first answer; one that meets a concurrent append of its id waits for it.
    async fn append(&self, append: &Append<'_>, at: At) -> Result<Appended, StoreError>;

    /// What was answered to a send when it was first stored; `None` where it was not.
    async fn first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, StoreError>;

    /// Cancels a send that is scheduled, for its sender: from then on none of it ever comes into an inbox, though a
    /// chunk of it was due, or is about to be materialised meanwhile. One that has started, as every send does that is
    /// due at once, is left alone. Cancelling it twice is cancelling it once; its first answer stays known.
    async fn cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, StoreError>;

    /// Where a user's inbox stands. One who never got anything stands at offset 0.
    async fn position(&self, user: &UserId, at: At) -> Result<Position, StoreError>;

    /// A page of the inbox, newest arrival first, together with the position it is true for.
    async fn list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, StoreError>;

    /// One notification of this user; `None` where it was deleted or expired, never was, or is somebody else's.
    async fn find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, StoreError>;

    /// What changed after `since`, in order of change and at most `limit` of it, together with the position it
    /// is true for. Without `since`: everything there is, and nothing that was deleted. What has expired counts as
    /// deleted, and is told so again with the offset of its tombstone. `None` where the
    /// inbox cannot tell, because `since` is not of its history ([`Position::knows`]).
    async fn changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        limit: usize,
        at: At,
    ) -> Result<Option<Changes>, StoreError>;

    /// Performs a change. Each row that it changes takes the next offset as its version; a change that
    /// changes nothing takes none. Repeating it changes nothing. `None` where a `before` is not of the inbox's
    /// history; then nothing was changed.
    async fn change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, StoreError>;

    /// Settles everything up to a cursor: `acked` rises to it and never falls. False, and nothing settled,
    /// where the cursor is not of the inbox's history.
    async fn acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, StoreError>;
}

/// A send to be stored.
#[derive(Debug)]
pub struct Append<'a> {
    /// Follows from caller, route and key.
    pub id: SendId,
    /// Who sends.
    pub sender: &'a UserId,
    /// SHA-256 over what was asked.
    pub fingerprint: [u8; 32],
    /// What each recipient is told.
    pub content: Arc<Content>,
    /// To whom, without repeats, in order; at most 1,000.
    pub recipients: &'a [UserId],
    /// The body of the answer, which every repeat will get, byte for byte.
    pub answer: &'a str,
    /// When; an instant that is past is not `Now`, but due for whoever materialises.
    pub due: Due,
    /// How long the send is kept after it is due, and with it its key; one that expires later, until then.
    pub retention_ms: i64,
}

/// What became of an append.
#[derive(Debug)]
pub enum Appended {
    /// It is stored, and these are ready to be pushed.
    Stored(Vec<Delivery>),
    /// It was stored before; nothing was changed.
    Known(FirstAnswer),
}

/// A send as it was first stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// SHA-256 over what was asked then.
    pub fingerprint: [u8; 32],
    /// The body that was answered then.
    pub answer: String,
}

/// What became of a cancelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It is cancelled, now or before.
    Done,
    /// It has started: some of it stands in an inbox.
    Started,
    /// This sender has no such send.
    Unknown,
}

/// A notification on its way to the sockets of its user.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Whose it is.
    pub user: UserId,
    /// What goes out.
    pub notification: Notification,
    /// How many the user has not read, this one included.
    pub unread: i64,
    /// What it replaced as it arrived, in the offsets before its own; nothing where it comes again.
    pub replaces: Vec<NotificationId>,
    /// Where to; those whose token has ended are left out.
    pub connections: Vec<Connection>,
    /// The row's `push_at`, in milliseconds since 1970: when it comes back by itself, unless it was offered until then.
    pub fence_ms: i64,
    /// How often it was pushed before.
    pub attempt: u32,
}

/// Where an inbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The life of the inbox.
    pub epoch: Epoch,
    /// The offset of the last change; 0 before the first.
    pub head: i64,
    /// Up to where a device acknowledged.
    pub acked: i64,
    /// Up to where tombstones may be gone, so that a cursor below it can no longer be answered.
    pub purged_through: i64,
    /// How many notifications are unread.
    pub unread: i64,
    /// How many have expired and are no tombstones yet: the head does not know of them, whoever lists does.
    pub expired: i64,
}

impl Position {
    /// The head as a cursor.
    pub fn cursor(&self) -> Cursor {
        self.cursor_at(self.head)
    }

    /// Another offset of the same life.
    pub fn cursor_at(&self, offset: i64) -> Cursor {
        Cursor { epoch: self.epoch, offset }
    }

    /// Whether a cursor is of this inbox's history: of its epoch, not ahead of it, and not older than what is
    /// kept.
    pub fn knows(&self, cursor: Cursor) -> bool {
        cursor.epoch == self.epoch && (self.purged_through..=self.head).contains(&cursor.offset)
    }
}

/// Which part of an inbox to list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only arrivals before this offset; `None` begins with the newest.
    pub before: Option<i64>,
    /// The most to list.
    pub limit: usize,
    /// Only of this type.
    pub kind: Option<String>,
    /// Only unread ones.
    pub unread: bool,
}

/// A page of an inbox.
#[derive(Debug)]
pub struct Listed {
    /// Newest arrival first.
    pub notifications: Vec<Notification>,
    /// Whether older ones follow.
    pub more: bool,
    /// What the page is true for.
    pub position: Position,
}

/// Changes after a cursor.
#[derive(Debug)]
pub struct Changes {
    /// In order of change.
    pub changes: Vec<CurrentState>,
    /// Whether these are all.
    pub complete: bool,
    /// What they are true for.
    pub position: Position,
}

/// The present state of something that changed.
#[derive(Debug)]
pub enum CurrentState {
    /// It stands in the inbox; `version` is the offset of its last change.
    Present {
        /// The offset of its last change.
        version: i64,
        /// As it is now.
        notification: Notification,
    },
    /// It was deleted, or expired.
    Deleted {
        /// The offset of the deletion; of what has just expired, of the change before.
        version: i64,
        /// What it was.
        id: NotificationId,
    },
}

impl CurrentState {
    /// The offset of its last change.
    pub fn version(&self) -> i64 {
        match self {
            Self::Present { version, .. } | Self::Deleted { version, .. } => *version,
        }
    }
}

/// A change that one user makes to his own inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Mark these as read.
    Read(Vec<NotificationId>),
    /// Mark these as not read.
    Unread(Vec<NotificationId>),
    /// Delete these. A tombstone remains, so that other devices learn of it.
    Delete(Vec<NotificationId>),
    /// Mark everything as read.
    ReadAll {
        /// Only of this type.
        kind: Option<String>,
        /// Only what arrived up to here, inclusive.
        before: Option<Cursor>,
    },
}

impl Change {
    /// What it makes of the rows it changes.
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Read(_) | Self::ReadAll { .. } => ChangeKind::Read,
            Self::Unread(_) => ChangeKind::Unread,
            Self::Delete(_) => ChangeKind::Deleted,
        }
    }
}

/// What a change changed.
#[derive(Debug)]
pub struct Changed {
    /// The inbox before the whole change.
    pub prev: Cursor,
    /// The inbox after it; equal to `prev` where nothing changed.
    pub cursor: Cursor,
    /// The rows that changed, in the order of their new versions.
    pub ids: Vec<NotificationId>,
    /// How many of the ids that were named are this user's: standing ones, for a deletion also those that were deleted
    /// or have expired.
    pub known: usize,
    /// How many are unread after it.
    pub unread: i64,
    /// The user's connections, where something changed: whom to tell.
    pub connections: Vec<Connection>,
}
