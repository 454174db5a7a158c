//! The promise of the record that nothing is kept for longer than it is of use.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;

/// How many rows of a kind are purged in one transaction, so that nobody waits long for it.
pub const MAX_PURGED: usize = 1_000;

/// What is too old.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Purges some of what is too old, at most [`MAX_PURGED`] of each kind; each kind in a transaction of its own.
    ///
    /// - What still stands in an inbox though its send is to be kept no longer expires at once.
    /// - Tombstones that were made `retention_ms` ago or earlier are gone, and `purged_through` of their inboxes rises
    ///   to their versions: a cursor below cannot be told what it missed.
    /// - Sends that are to be kept no longer are gone, their keys are free, and their chunks are gone with them. One
    ///   that still has notifications, a chunk that waits, or recipients who were set aside is looked at again after
    ///   `retention_ms`.
    async fn purge(&self, retention_ms: i64, at: At) -> Result<Purged, StoreError>;
}

/// What was purged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Notifications that expire now.
    pub expired: usize,
    /// Tombstones that are gone.
    pub tombstones: usize,
    /// Sends that were looked at: they are gone, or kept a while longer.
    pub sends: usize,
}

impl Purged {
    /// Whether there may be more.
    pub fn is_part(&self) -> bool {
        [self.expired, self.tombstones, self.sends].iter().any(|count| *count >= MAX_PURGED)
    }

    /// How much it was.
    pub fn sum(&self) -> usize {
        self.expired + self.tombstones + self.sends
    }
}
