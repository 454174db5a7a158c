//! What still has to be materialised or pushed, in Postgres.

pub(crate) mod bisect;
mod chunks;
pub(crate) mod dead_letters;
mod due;
mod expire;

use async_trait::async_trait;

use crate::clock::At;
use crate::delivery::deliveries::{Backlog, Deliveries, Materialised, RowKey, Taken};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::inbox::{Changed, Delivery};
use crate::record::postgres::rows::{self, Failure, at_ms, count};
use crate::record::postgres::timeout::InTime;
use crate::record::postgres::{PostgresRecord, repeated};

#[async_trait]
impl Deliveries for PostgresRecord {
    async fn materialise(&self, limit: usize, at: At) -> Result<Materialised, StoreError> {
        self.materialise_due(limit, at).await
    }

    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        self.take(limit, at).await
    }

    async fn take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        self.take_named(keys, at).await
    }

    async fn postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError> {
        repeated!(self.try_postpone(rows, at))
    }

    async fn mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        repeated!(self.try_mark_offered(offered, at))
    }

    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        self.resynced(users, at).await
    }

    async fn expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, StoreError> {
        repeated!(self.try_expire(limit, at))
    }

    async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT least((SELECT min(due_at) FROM send_chunks WHERE state = 'waiting'),
                          (SELECT min(push_at) FROM notifications WHERE push_at IS NOT NULL),
                          (SELECT min(expires_at) FROM notifications
                            WHERE expires_at IS NOT NULL AND deleted_at IS NULL))",
        )
        .fetch_one(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::read_failed)
    }

    async fn backlog(&self, at: At) -> Result<Backlog, StoreError> {
        let row = sqlx::query(include_str!("backlog.sql"))
            .bind(at_ms(at))
            .fetch_one(&mut *self.connection().await?)
            .in_time()
            .await
            .map_err(rows::read_failed)?;
        Ok(Backlog {
            waiting: count(&row, "waiting")?,
            delayed: count(&row, "delayed")?,
            dead_letters: count(&row, "dead_letters")?,
            oldest_ms: count(&row, "oldest_ms")?,
        })
    }
}

impl PostgresRecord {
    async fn try_mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), Failure> {
        let users: Vec<String> = offered.iter().map(|(user, _)| user.as_str().to_owned()).collect();
        let offsets: Vec<i64> = offered.iter().map(|(_, offset)| *offset).collect();
        sqlx::query(
            r#"UPDATE notifications AS n
                  SET push_at = NULL,
                      offered_at = coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint)
                 FROM unnest($2::text[], $3::bigint[]) AS offered (user_id, "offset")
                WHERE n.user_id = offered.user_id AND n."offset" = offered."offset""#,
        )
        .bind(at_ms(at))
        .bind(users)
        .bind(offsets)
        .execute(&mut *self.connection().await?)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
        Ok(())
    }
}
