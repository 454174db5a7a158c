//! Revocation: of a user whose tokens were revoked, every token that was issued until then is refused.

use std::collections::HashMap;

use async_trait::async_trait;
use tokio::sync::{Mutex, MutexGuard};

use crate::auth::tokens::Caller;
use crate::clock::At;
use crate::error::{Error, StoreError};
use crate::ids::{ConnectionId, UserId};

/// How long a revocation is kept, in milliseconds: as long as a token may live.
pub const REVOCATION_RETENTION_MS: i64 = 400 * 24 * 60 * 60 * 1_000;
/// How old the list of a process may be, in milliseconds.
pub(crate) const MAX_AGE_MS: i64 = 10_000;
/// The pause after an attempt to read the list that failed, in milliseconds.
const RETRY_AFTER_MS: i64 = 1_000;
/// How far back the list is read again, in milliseconds: longer than any revocation takes to commit.
const OVERLAP_MS: i64 = 60_000;

/// The promise of the record to remember whose tokens were revoked, and when.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Revokes every token of this user that was issued until now, to the second, and deletes the tickets and connections
    /// that came from them, and the user's subscriptions to Web Push, in one transaction. Returns these connections, which the
    /// caller closes.
    ///
    /// A ticket or connection that comes into being at the same time is refused when it is used, and found by
    /// [`sweep`](crate::sockets::connections::Connections::sweep).
    async fn revoke(&self, user: &UserId, at: At) -> Result<Vec<ConnectionId>, StoreError>;

    /// The users whose tokens were last revoked at this time or later, in milliseconds since 1970.
    async fn revoked_since(&self, since_ms: i64) -> Result<Vec<Revoked>, StoreError>;
}

/// A user whose tokens were revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Whose.
    pub user: UserId,
    /// The last time, in milliseconds since 1970.
    pub at_ms: i64,
}

/// Whether a token was issued before or in the second of a revocation. One that does not say when it was issued, in seconds
/// since 1970, counts as old.
fn is_revoked(issued_at_s: Option<i64>, revoked_at_ms: i64) -> bool {
    issued_at_s.is_none_or(|issued_at_s| issued_at_s <= revoked_at_ms.div_euclid(1_000))
}

/// The list of a process. It reads what is new in the record at most every 10 s.
#[derive(Debug, Default)]
pub struct RevokedUsers(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    /// When it is read again, in milliseconds since 1970; at once at first.
    read_again_at_ms: Option<i64>,
    /// The latest revocation in it, in milliseconds since 1970 by the record's clock.
    through_ms: i64,
    at_ms: HashMap<UserId, i64>,
}

impl RevokedUsers {
    /// Refuses a caller whose token was revoked more than 10 s ago, or since the list was last read.
    ///
    /// While the record is unavailable the last list applies. `now_ms`: the time of this process, in milliseconds since 1970.
    pub async fn check(&self, record: &dyn Revocations, caller: &Caller, now_ms: i64) -> Result<(), Error> {
        match self.recent(record, now_ms).await.at_ms.get(&caller.user) {
            Some(revoked_at_ms) if is_revoked(caller.issued_at_s, *revoked_at_ms) => {
                tracing::info!(reason = "revoked", "token rejected");
                Err(Error::InvalidToken)
            }
            _ => Ok(()),
        }
    }

    /// Reads what is new in the list if that is due.
    pub async fn refresh(&self, record: &dyn Revocations, now_ms: i64) {
        drop(self.recent(record, now_ms).await);
    }

    /// Lets the next call read the list, since it must know of a revocation in this process.
    pub async fn read_soon(&self) {
        self.0.lock().await.read_again_at_ms = None;
    }

    /// The list, of which nothing older than 10 s is missing.
    async fn recent(&self, record: &dyn Revocations, now_ms: i64) -> MutexGuard<'_, List> {
        // The lock is held while the list is read, so that concurrent calls read it once.
        let mut list = self.0.lock().await;
        if list.is_old(now_ms) {
            match record.revoked_since(list.through_ms.saturating_sub(OVERLAP_MS)).await {
                Ok(revoked) => list.add(revoked, now_ms),
                Err(error) => {
                    tracing::warn!(%error, "the list of revoked users could not be read");
                    list.read_again_at_ms = Some(now_ms + RETRY_AFTER_MS);
                }
            }
        }
        list
    }
}

impl List {
    fn is_old(&self, now_ms: i64) -> bool {
        // A clock that has gone back must not make the list last longer.
        self.read_again_at_ms.is_none_or(|at_ms| !(at_ms - MAX_AGE_MS..at_ms).contains(&now_ms))
    }

    fn add(&mut self, revoked: Vec<Revoked>, now_ms: i64) {
        self.read_again_at_ms = Some(now_ms + MAX_AGE_MS);
        for Revoked { user, at_ms } in revoked {
            self.through_ms = self.through_ms.max(at_ms);
            self.at_ms.insert(user, at_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_same_second_is_revoked() {
        assert!(is_revoked(Some(9), 10_000) && is_revoked(Some(10), 10_000) && is_revoked(Some(10), 10_999));
        assert!(!is_revoked(Some(11), 10_999));
        assert!(is_revoked(None, 0));
    }

    #[test]
    fn a_list_is_read_again_after_10_seconds_or_if_the_clock_has_gone_back() {
        let mut list = List::default();
        assert!(list.is_old(0));
        list.add(Vec::new(), 50_000);
        for (now_ms, is_old) in [(50_000, false), (59_999, false), (60_000, true), (49_999, true), (90_000, true)] {
            assert_eq!(list.is_old(now_ms), is_old, "{now_ms}");
        }
    }
}
