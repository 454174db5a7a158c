//! Retention in Postgres: tombstones of what expires, and purging what is too old.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::UserId;
use crate::inbox::Changed;
use crate::inbox::retention::{MAX_PURGED, Purged, Retention};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, column, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;

#[async_trait]
impl Retention for PostgresRecord {
    async fn expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, StoreError> {
        retried!(self.try_expire(limit, at))
    }

    async fn purge(&self, retention_ms: i64, at: At) -> Result<Purged, StoreError> {
        let expired = retried!(self.try_expire_old(at))?;
        let tombstones = retried!(self.try_purge_tombstones(retention_ms, at))?;
        // A notification that has not expired yet needs its send.
        let sends = if expired < MAX_PURGED { retried!(self.try_purge_sends(retention_ms, at))? } else { 0 };
        Ok(Purged { expired, tombstones, sends })
    }
}

impl PostgresRecord {
    /// Lets notifications whose send is too old expire a millisecond from now, which is later than any expiry so far. Skips
    /// locked rows; a later call finds them. Of more sends than are examined at once, which may be all, it reads nothing.
    async fn try_expire_old(&self, at: At) -> Result<usize, Failure> {
        let query = sqlx::query(sql!(
            (r#", due AS MATERIALIZED (
                   SELECT id FROM sends
                    WHERE keep_until <= (SELECT now_ms FROM clock) ORDER BY keep_until LIMIT $2
               ),
               old AS MATERIALIZED (
                   SELECT n.user_id, n."offset"
                     FROM due JOIN notifications n ON n.send_id = due.id
                    WHERE n.deleted_at IS NULL AND n.expires_at IS NULL
                    LIMIT $2
                      FOR UPDATE OF n SKIP LOCKED
               )
               UPDATE notifications AS n SET expires_at = clock.now_ms + 1
                 FROM clock, old WHERE n.user_id = old.user_id AND n."offset" = old."offset""#)
        ));
        query.bind(at_ms(at)).bind(limit(MAX_PURGED)).run(&mut *self.connection().await?).await
    }

    async fn try_purge_tombstones(&self, retention_ms: i64, at: At) -> Result<usize, Failure> {
        let query = sqlx::query(sql!("purge_tombstones.sql")).bind(at_ms(at)).bind(retention_ms);
        query.bind(limit(MAX_PURGED)).run(&mut *self.connection().await?).await
    }

    async fn try_purge_sends(&self, retention_ms: i64, at: At) -> Result<usize, Failure> {
        let query = sqlx::query(sql!("purge_sends.sql")).bind(at_ms(at)).bind(retention_ms).bind(limit(MAX_PURGED));
        let row = query.one(&mut *self.connection().await?).await?;
        Ok(usize::try_from(column::<i64>(&row, "examined")?).unwrap_or(usize::MAX))
    }
}
