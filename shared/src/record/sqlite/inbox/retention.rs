//! Retention in SQLite: tombstones of what expires, and purging what is too old.

use async_trait::async_trait;
use rusqlite::params;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::UserId;
use crate::inbox::Changed;
use crate::inbox::retention::{MAX_PURGED, Purged, Retention};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::execute;
use crate::record::sqlite::store::SqliteRecord;

#[async_trait]
impl Retention for SqliteRecord {
    async fn expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, StoreError> {
        Ok(self.try_expire(limit, at.process_ms()).await?)
    }

    async fn purge(&self, retention_ms: i64, at: At) -> Result<Purged, StoreError> {
        let now_ms = at.process_ms();
        let expired = self.expire_old(now_ms).await?;
        let tombstones = self.purge_tombstones(now_ms - retention_ms).await?;
        // A notification that has not expired yet needs its send.
        let sends = if expired < MAX_PURGED { self.purge_sends(retention_ms, now_ms).await? } else { 0 };
        Ok(Purged { expired, tombstones, sends })
    }
}

impl SqliteRecord {
    /// Lets notifications whose send is too old expire a millisecond from now, which is later than any expiry so far.
    async fn expire_old(&self, now_ms: i64) -> Result<usize, Failure> {
        self.write(move |db| {
            let sql = r#"UPDATE notifications SET expires_at = ?1 + 1 WHERE (user_id, "offset") IN (
                             SELECT n.user_id, n."offset"
                               FROM (SELECT id FROM sends WHERE keep_until <= ?1 ORDER BY keep_until, id LIMIT ?2) AS s
                               JOIN notifications n ON n.send_id = s.id
                              WHERE n.deleted_at IS NULL AND n.expires_at IS NULL LIMIT ?2)"#;
            execute(db, sql, params![now_ms, max_purged()])
        })
        .await
    }

    async fn purge_tombstones(&self, until_ms: i64) -> Result<usize, Failure> {
        macro_rules! old {
            () => {
                r#"SELECT user_id, "offset", version FROM notifications
                    WHERE deleted_at <= ?1 AND snoozed_until IS NULL ORDER BY deleted_at, user_id, "offset" LIMIT ?2"#
            };
        }
        self.write(move |db| {
            let raise = concat!(
                "UPDATE inboxes SET purged_through = max(purged_through, newest.version)
                   FROM (SELECT user_id, max(version) AS version FROM (",
                old!(),
                ") GROUP BY user_id) AS newest WHERE newest.user_id = inboxes.user_id"
            );
            execute(db, raise, params![until_ms, max_purged()])?;
            let purge = concat!(
                r#"DELETE FROM notifications WHERE (user_id, "offset") IN (SELECT user_id, "offset" FROM ("#,
                old!(),
                "))"
            );
            execute(db, purge, params![until_ms, max_purged()])
        })
        .await
    }

    async fn purge_sends(&self, retention_ms: i64, now_ms: i64) -> Result<usize, Failure> {
        macro_rules! old {
            () => {
                // Without those with a notification that is about to arrive anew and to expire then: keeping them for another
                // period would postpone that. No snooze lasts longer than its send is kept.
                "SELECT s.id FROM sends s
                  WHERE s.keep_until <= ?1
                    AND s.id NOT IN (SELECT send_id FROM notifications WHERE snoozed_until <= ?1)
                  ORDER BY s.keep_until, s.id LIMIT ?2"
            };
        }
        self.write(move |db| {
            // Sends that are kept are no longer old, so the deletion below finds only the others.
            let keep = concat!(
                "UPDATE sends SET keep_until = ?1 + ?3 WHERE id IN (",
                old!(),
                ") AND (EXISTS (SELECT 1 FROM notifications n WHERE n.send_id = sends.id)
                        OR EXISTS (SELECT 1 FROM send_chunks c WHERE c.send_id = sends.id AND c.state = 'waiting')
                        OR EXISTS (SELECT 1 FROM dead_letters d WHERE d.send_id = sends.id AND d.recipients > 0))"
            );
            let kept = execute(db, keep, params![now_ms, max_purged(), retention_ms.max(1)])?;
            let remaining = max_purged() - rows::limit(kept);
            let purge = concat!(
                "DELETE FROM sends WHERE id IN (",
                old!(),
                ") AND NOT EXISTS (SELECT 1 FROM notifications n WHERE n.send_id = sends.id)
                   AND NOT EXISTS (SELECT 1 FROM send_chunks c WHERE c.send_id = sends.id AND c.state = 'waiting')
                   AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.send_id = sends.id AND d.recipients > 0)"
            );
            Ok(kept + execute(db, purge, params![now_ms, remaining])?)
        })
        .await
    }
}

fn max_purged() -> i64 {
    rows::limit(MAX_PURGED)
}
