//! What is too old, in Postgres.

use async_trait::async_trait;

use crate::clock::At;
use crate::error::StoreError;
use crate::inbox::retention::{MAX_PURGED, Purged, Retention};
use crate::record::postgres::rows::{self, Failure, at_ms};
use crate::record::postgres::timeout::InTime;
use crate::record::postgres::{PostgresRecord, repeated};

#[async_trait]
impl Retention for PostgresRecord {
    async fn purge(&self, retention_ms: i64, at: At) -> Result<Purged, StoreError> {
        let expired = repeated!(self.try_end(at))?;
        let tombstones = repeated!(self.try_purge_tombstones(retention_ms, at))?;
        // What has not expired yet needs its send.
        let sends = if expired < MAX_PURGED { repeated!(self.try_purge_sends(retention_ms, at))? } else { 0 };
        Ok(Purged { expired, tombstones, sends })
    }
}

impl PostgresRecord {
    /// A millisecond later, which is after whatever has expired up to now.
    async fn try_end(&self, at: At) -> Result<usize, Failure> {
        let ended = sqlx::query(
            r#"WITH clock AS MATERIALIZED (
                   SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
               ),
               old AS MATERIALIZED (
                   SELECT n.user_id, n."offset"
                     FROM clock, sends s JOIN notifications n ON n.send_id = s.id
                    WHERE s.keep_until <= clock.now_ms AND n.deleted_at IS NULL AND n.expires_at IS NULL
                    LIMIT $2
                      FOR UPDATE OF n SKIP LOCKED
               )
               UPDATE notifications AS n SET expires_at = clock.now_ms + 1
                 FROM clock, old WHERE n.user_id = old.user_id AND n."offset" = old."offset""#,
        )
        .bind(at_ms(at))
        .bind(most())
        .execute(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
        Ok(usize::try_from(ended.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn try_purge_tombstones(&self, retention_ms: i64, at: At) -> Result<usize, Failure> {
        let purged = sqlx::query(include_str!("purge_tombstones.sql"))
            .bind(at_ms(at))
            .bind(retention_ms)
            .bind(most())
            .execute(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        Ok(usize::try_from(purged.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn try_purge_sends(&self, retention_ms: i64, at: At) -> Result<usize, Failure> {
        let looked_at: i64 = sqlx::query_scalar(include_str!("purge_sends.sql"))
            .bind(at_ms(at))
            .bind(retention_ms)
            .bind(most())
            .fetch_one(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        Ok(usize::try_from(looked_at).unwrap_or(usize::MAX))
    }
}

fn most() -> i64 {
    i64::try_from(MAX_PURGED).unwrap_or(i64::MAX)
}
