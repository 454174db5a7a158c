//! Deliveries in Postgres.

pub(crate) mod bisect;
mod chunks;
mod dead_letters;
pub(crate) mod due;
pub(crate) mod materialise;

use async_trait::async_trait;

use crate::clock::At;
use crate::delivery::Delivery;
use crate::delivery::deliveries::{Backlog, Deliveries, Materialised, NextDue, RowKey, Taken};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, column, count};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::Run;

#[async_trait]
impl Deliveries for PostgresRecord {
    async fn materialise(&self, limit: usize, at: At) -> Result<Materialised, StoreError> {
        self.materialise_due(limit, at).await
    }

    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        self.take_due_with_backlog(limit, at).await
    }

    async fn take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        self.take_rows(keys, at).await
    }

    async fn postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError> {
        retried!(self.try_postpone(rows, at))
    }

    async fn mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        retried!(self.try_mark_offered(offered, at))
    }

    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        self.mark_all_resynced(users, at).await
    }

    async fn next_due(&self) -> Result<NextDue, StoreError> {
        Ok(self.try_next_due().await?)
    }

    async fn backlog(&self, at: At) -> Result<Backlog, StoreError> {
        Ok(self.try_backlog(at).await?)
    }
}

impl PostgresRecord {
    async fn try_mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), Failure> {
        let users: Vec<String> = offered.iter().map(|(user, _)| user.as_str().to_owned()).collect();
        let offsets: Vec<i64> = offered.iter().map(|(_, offset)| *offset).collect();
        let query = sqlx::query(sql!(
            (r#" UPDATE notifications AS n SET push_at = NULL, offered_at = clock.now_ms
                  FROM clock, unnest($2::text[], $3::bigint[]) AS offered (user_id, "offset")
                 WHERE n.user_id = offered.user_id AND n."offset" = offered."offset""#)
        ));
        query.bind(at_ms(at)).bind(users).bind(offsets).run(&mut *self.connection().await?).await?;
        Ok(())
    }

    async fn try_next_due(&self) -> Result<NextDue, Failure> {
        let query = sqlx::query(
            "SELECT (SELECT min(due_at) FROM send_chunks WHERE state = 'waiting') AS chunk,
                    (SELECT min(snoozed_until) FROM notifications WHERE snoozed_until IS NOT NULL) AS snooze,
                    (SELECT min(expires_at) FROM notifications
                      WHERE expires_at IS NOT NULL AND deleted_at IS NULL) AS expiry,
                    (SELECT min(push_at) FROM notifications WHERE push_at IS NOT NULL) AS row,
                    (SELECT min(push_at) FROM messages WHERE push_at IS NOT NULL) AS message,
                    (SELECT min(web_push_at) FROM notifications WHERE web_push_at IS NOT NULL) AS web_push,
                    (SELECT min(due_at) FROM push_digests WHERE due_at IS NOT NULL) AS digest",
        );
        let row = query.read_one(&mut *self.connection().await?).await?;
        Ok(NextDue {
            chunk: column(&row, "chunk")?,
            snooze: column(&row, "snooze")?,
            expiry: column(&row, "expiry")?,
            row: column(&row, "row")?,
            message: column(&row, "message")?,
            web_push: column(&row, "web_push")?,
            digest: column(&row, "digest")?,
        })
    }

    async fn try_backlog(&self, at: At) -> Result<Backlog, Failure> {
        let query = sqlx::query(sql!("backlog.sql")).bind(at_ms(at));
        let row = query.read_one(&mut *self.connection().await?).await?;
        Ok(Backlog {
            waiting: count(&row, "waiting")?,
            delayed: count(&row, "delayed")?,
            dead_letters: count(&row, "dead_letters")?,
            oldest_ms: count(&row, "oldest_ms")?,
        })
    }
}
