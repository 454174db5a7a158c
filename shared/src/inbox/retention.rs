//! The promise of the record that nothing is kept for longer than it is of use.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::UserId;
use crate::inbox::Changed;

/// The most rows of a kind that are purged in one transaction, so that no other transaction waits for it for long.
pub const MAX_PURGED: usize = 1_000;

/// What has expired or is too old.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Makes tombstones of up to `limit` expired notifications, those that expired first; each takes the next offset of its
    /// inbox. Returns which inboxes changed and how. None are left if it returns nothing, unless a concurrent call is working
    /// on them.
    async fn expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, StoreError>;

    /// Purges some of what is too old, at most [`MAX_PURGED`] of each kind, each kind in its own transaction.
    ///
    /// - Notifications still in an inbox whose send need not be kept any longer expire at once.
    /// - Tombstones that are `retention_ms` old or older are deleted, unless they are snoozed, and `purged_through` of their
    ///   inboxes rises to their versions: a lower cursor can no longer be answered.
    /// - Sends that need not be kept any longer are deleted with their chunks, and their keys are free again. A send that
    ///   still has notifications, a waiting chunk, or dead-lettered recipients is examined again after `retention_ms`; one
    ///   with a snoozed notification, once the snooze has ended.
    async fn purge(&self, retention_ms: i64, at: At) -> Result<Purged, StoreError>;
}

/// What was purged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Notifications that expire now.
    pub expired: usize,
    /// Tombstones that were deleted.
    pub tombstones: usize,
    /// Sends that were examined, and deleted or kept for longer.
    pub sends: usize,
}

impl Purged {
    /// Whether there may be more to purge.
    pub fn may_have_more(&self) -> bool {
        [self.expired, self.tombstones, self.sends].iter().any(|count| *count >= MAX_PURGED)
    }

    /// The sum of all kinds.
    pub fn total(&self) -> usize {
        self.expired + self.tombstones + self.sends
    }
}
