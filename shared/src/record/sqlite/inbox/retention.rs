//! Retention in SQLite: tombstones of what expires, and purging what is too old.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::UserId;
use crate::inbox::Changed;
use crate::inbox::retention::{MAX_PURGED, Purged, Retention};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::store::{SqliteRecord, commit};

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
        let mut db = self.write().await?;
        let expiring = sqlx::query(
            r#"UPDATE notifications SET expires_at = ?1 + 1 WHERE (user_id, "offset") IN (
                   SELECT n.user_id, n."offset" FROM sends s JOIN notifications n ON n.send_id = s.id
                    WHERE s.keep_until <= ?1 AND n.deleted_at IS NULL AND n.expires_at IS NULL LIMIT ?2)"#,
        )
        .bind(now_ms)
        .bind(max_purged())
        .execute(&mut *db)
        .await?;
        commit(db).await?;
        Ok(usize::try_from(expiring.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn purge_tombstones(&self, until_ms: i64) -> Result<usize, Failure> {
        macro_rules! old {
            () => {
                r#"SELECT user_id, "offset", version FROM notifications
                    WHERE deleted_at <= ?1 ORDER BY deleted_at, user_id, "offset" LIMIT ?2"#
            };
        }
        let mut db = self.write().await?;
        sqlx::query(concat!(
            "UPDATE inboxes SET purged_through = max(purged_through, newest.version)
               FROM (SELECT user_id, max(version) AS version FROM (",
            old!(),
            ") GROUP BY user_id) AS newest WHERE newest.user_id = inboxes.user_id"
        ))
        .bind(until_ms)
        .bind(max_purged())
        .execute(&mut *db)
        .await?;
        let purged = sqlx::query(concat!(
            r#"DELETE FROM notifications WHERE (user_id, "offset") IN (SELECT user_id, "offset" FROM ("#,
            old!(),
            "))"
        ))
        .bind(until_ms)
        .bind(max_purged())
        .execute(&mut *db)
        .await?;
        commit(db).await?;
        Ok(usize::try_from(purged.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn purge_sends(&self, retention_ms: i64, now_ms: i64) -> Result<usize, Failure> {
        macro_rules! old {
            () => {
                "SELECT s.id FROM sends s WHERE s.keep_until <= ?1 ORDER BY s.keep_until, s.id LIMIT ?2"
            };
        }
        let mut db = self.write().await?;
        // Sends that are kept are no longer old, so the deletion below finds only the others.
        let kept = sqlx::query(concat!(
            "UPDATE sends SET keep_until = ?1 + ?3 WHERE id IN (",
            old!(),
            ") AND (EXISTS (SELECT 1 FROM notifications n WHERE n.send_id = sends.id)
                    OR EXISTS (SELECT 1 FROM send_chunks c WHERE c.send_id = sends.id AND c.state = 'waiting')
                    OR EXISTS (SELECT 1 FROM dead_letters d WHERE d.send_id = sends.id AND d.recipients > 0))"
        ))
        .bind(now_ms)
        .bind(max_purged())
        .bind(retention_ms.max(1))
        .execute(&mut *db)
        .await?;
        let remaining = max_purged() - i64::try_from(kept.rows_affected()).unwrap_or(0);
        let purged = sqlx::query(concat!(
            "DELETE FROM sends WHERE id IN (",
            old!(),
            ") AND NOT EXISTS (SELECT 1 FROM notifications n WHERE n.send_id = sends.id)
               AND NOT EXISTS (SELECT 1 FROM send_chunks c WHERE c.send_id = sends.id AND c.state = 'waiting')
               AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.send_id = sends.id AND d.recipients > 0)"
        ))
        .bind(now_ms)
        .bind(remaining)
        .execute(&mut *db)
        .await?;
        commit(db).await?;
        Ok(usize::try_from(kept.rows_affected() + purged.rows_affected()).unwrap_or(usize::MAX))
    }
}

fn max_purged() -> i64 {
    i64::try_from(MAX_PURGED).unwrap_or(i64::MAX)
}
