//! The inbox: what a notification is, how a send is read and stored, and how its user reads, changes and syncs it. How it
//! reaches devices is delivery's.

pub mod accept;
pub mod action_url;
pub mod announce;
pub mod bounds;
pub mod epochs;
pub mod history;
pub mod notification;
pub mod retention;
pub mod send;
pub mod sends;
pub mod snooze;
pub mod sync;

use async_trait::async_trait;
use serde::Serialize;

use crate::clock::At;
use crate::cursor::{Cursor, Epoch};
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::bounds::{Bounds, Item};
use crate::inbox::notification::Notification;
use crate::sockets::connections::Connection;

/// The bytes of a deleted notification's id as an item, with its quotes and comma.
const DELETED_BYTES: usize = 39;

/// The promise of the record to hold inboxes. Offsets have no gaps, and reading from a cursor returns everything that
/// changed after it.
///
/// An expired notification is missing from every list, count and sync, whether or not it is a tombstone yet.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// The position of a user's inbox. An inbox that never received anything is at offset 0.
    async fn position(&self, user: &UserId, at: At) -> Result<Position, StoreError>;

    /// How many notifications of this type are unread.
    async fn unread_of_type(&self, user: &UserId, kind: &str, at: At) -> Result<i64, StoreError>;

    /// A page of the inbox, newest arrival first, with the position that it was read at. Reads hardly more than the bounds of
    /// the page, whatever the inbox contains.
    async fn list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, StoreError>;

    /// One notification of this user; `None` if it was deleted, has expired, never existed, or is another user's.
    async fn find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, StoreError>;

    /// What changed after `since`, in order of change and within `bounds`, with the position that it was read at. Reads hardly
    /// more than that, whatever the inbox contains. Without `since`: everything that is in the inbox, and nothing that was deleted. An expired notification counts as
    /// deleted, and is reported again with the offset of its tombstone. `None` if `since` is not part of the inbox's
    /// history ([`Position::knows`]).
    async fn changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        bounds: Bounds,
        at: At,
    ) -> Result<Option<Changes>, StoreError>;

    /// Performs a change. Each row that changes takes the next offset as its version; a change without effect takes none,
    /// so repeating one is harmless. `None`, and no effect, if a `before` is not part of the inbox's history.
    async fn change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, StoreError>;

    /// Settles everything up to a cursor: `acked` rises to it and never falls. False, and no effect, if the cursor is not
    /// part of the inbox's history.
    async fn acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, StoreError>;
}

/// The position of an inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The life of the inbox's history.
    pub epoch: Epoch,
    /// The offset of the last change; 0 before the first.
    pub head: i64,
    /// The offset up to which a device acknowledged.
    pub acked: i64,
    /// The offset up to which tombstones may be purged. A lower cursor can no longer be answered.
    pub purged_through: i64,
    /// How many notifications are unread.
    pub unread: i64,
    /// How many notifications have expired without being tombstones yet: they are missing from lists although the head has
    /// not moved.
    pub expired: i64,
}

impl Position {
    /// The head as a cursor.
    pub fn cursor(&self) -> Cursor {
        self.cursor_at(self.head)
    }

    /// An offset of the same epoch as a cursor.
    pub fn cursor_at(&self, offset: i64) -> Cursor {
        Cursor { epoch: self.epoch, offset }
    }

    /// Whether a cursor is part of this inbox's history: of its epoch, not ahead of its head, and not below what is purged.
    pub fn knows(&self, cursor: Cursor) -> bool {
        cursor.epoch == self.epoch && (self.purged_through..=self.head).contains(&cursor.offset)
    }
}

/// Which part of an inbox to list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Only arrivals before this offset; `None` begins with the newest.
    pub before: Option<i64>,
    /// How much to list.
    pub bounds: Bounds,
    /// Only this type.
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
    /// The position that the page was read at.
    pub position: Position,
}

/// Changes after a cursor.
#[derive(Debug)]
pub struct Changes {
    /// In order of change.
    pub changes: Vec<CurrentState>,
    /// Whether these are all.
    pub complete: bool,
    /// The position that they were read at.
    pub position: Position,
}

/// The current state of a notification that changed.
#[derive(Debug)]
pub enum CurrentState {
    /// It is in the inbox.
    Present {
        /// The offset of its last change.
        version: i64,
        /// As it is now.
        notification: Notification,
    },
    /// It was deleted, or has expired.
    Deleted {
        /// The offset of the deletion; if it has expired without being a tombstone yet, of the change before.
        version: i64,
        /// Which one it was.
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

impl Item for CurrentState {
    fn json_bytes(&self) -> usize {
        match self {
            Self::Present { notification, .. } => notification.json_bytes(),
            Self::Deleted { .. } => DELETED_BYTES,
        }
    }
}

/// A change that a user makes to the own inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Mark these as read.
    Read(Vec<NotificationId>),
    /// Mark these as unread.
    Unread(Vec<NotificationId>),
    /// Delete these. Tombstones remain, from which other devices learn of it. A snoozed one is a tombstone already, and
    /// only never arrives anew.
    Delete(Vec<NotificationId>),
    /// Mark everything as read.
    ReadAll {
        /// Only this type.
        kind: Option<String>,
        /// Only arrivals up to here, inclusive.
        before: Option<Cursor>,
    },
}

impl Change {
    /// What it does to the rows that it changes.
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Read(_) | Self::ReadAll { .. } => ChangeKind::Read,
            Self::Unread(_) => ChangeKind::Unread,
            Self::Delete(_) => ChangeKind::Deleted,
        }
    }
}

/// What happened to notifications, as events name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// Marked as read.
    Read,
    /// Marked as unread.
    Unread,
    /// Deleted by the user.
    Deleted,
    /// Made a tombstone because of its expiry.
    Expired,
    /// Snoozed by the user.
    Snoozed,
}

/// The effect of a change.
#[derive(Debug)]
pub struct Changed {
    /// The inbox before the whole change.
    pub prev: Cursor,
    /// The inbox after it; equal to `prev` if nothing changed.
    pub cursor: Cursor,
    /// The rows that changed, in the order of their new versions.
    pub ids: Vec<NotificationId>,
    /// How many of the given ids are this user's: those in the inbox, and for a deletion also those that were deleted or
    /// have expired.
    pub known: usize,
    /// How many notifications are unread after it.
    pub unread: i64,
    /// The user's connections if something changed, to be told of it.
    pub connections: Vec<Connection>,
    /// Whether what Web Push has shown of it is to be closed.
    pub web_push_is_due: bool,
}
