//! Deliveries in SQLite.

pub(crate) mod bisect;
mod chunks;
pub(crate) mod dead_letters;
pub(crate) mod due;
pub(crate) mod materialise;
pub(crate) mod rings;

use async_trait::async_trait;
use rusqlite::{Row, params};

use crate::clock::At;
use crate::delivery::Delivery;
use crate::delivery::deliveries::{Backlog, Deliveries, Materialised, NextDue, RowKey, Taken};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::one;
use crate::record::sqlite::store::SqliteRecord;

#[async_trait]
impl Deliveries for SqliteRecord {
    async fn materialise(&self, limit: usize, at: At) -> Result<Materialised, StoreError> {
        Ok(self.materialise_due(limit, at).await?)
    }

    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        Ok(self.take_due_with_backlog(limit, at).await?)
    }

    async fn take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        Ok(self.try_take(keys, at).await?)
    }

    async fn postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError> {
        Ok(self.try_postpone(rows, at).await?)
    }

    async fn mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        Ok(self.try_mark_offered(offered, at).await?)
    }

    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        Ok(self.mark_all_resynced(users, at).await?)
    }

    async fn next_due(&self) -> Result<NextDue, StoreError> {
        Ok(self.try_next_due().await?)
    }

    async fn backlog(&self, at: At) -> Result<Backlog, StoreError> {
        Ok(self.try_backlog(at).await?)
    }
}

impl SqliteRecord {
    async fn try_mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), Failure> {
        let offered: Vec<(UserId, i64)> = offered.iter().map(|(user, offset)| ((*user).clone(), *offset)).collect();
        self.write(move |db| {
            let now_ms = at.process_ms();
            let sql = r#"UPDATE notifications SET offered_at = ?3, push_at = NULL
                          WHERE user_id = ?1 AND "offset" = ?2"#;
            let mut mark = db.prepare_cached(sql)?;
            for (user, offset) in &offered {
                mark.execute(params![user.as_str(), offset, now_ms])?;
            }
            Ok(())
        })
        .await
    }

    async fn try_next_due(&self) -> Result<NextDue, Failure> {
        let sql = "SELECT (SELECT min(due_at) FROM send_chunks WHERE state = 'waiting') AS chunk,
                          (SELECT min(snoozed_until) FROM notifications WHERE snoozed_until IS NOT NULL) AS snooze,
                          (SELECT min(expires_at) FROM notifications
                            WHERE expires_at IS NOT NULL AND deleted_at IS NULL) AS expiry,
                          (SELECT min(push_at) FROM notifications WHERE push_at IS NOT NULL) AS row,
                          (SELECT min(push_at) FROM messages WHERE push_at IS NOT NULL) AS message,
                          (SELECT min(web_push_at) FROM notifications WHERE web_push_at IS NOT NULL) AS web_push,
                          (SELECT min(due_at) FROM push_digests WHERE due_at IS NOT NULL) AS digest";
        self.read(move |db| {
            one(db, sql, [], |row| {
                Ok(NextDue {
                    chunk: row.get("chunk")?,
                    snooze: row.get("snooze")?,
                    expiry: row.get("expiry")?,
                    row: row.get("row")?,
                    message: row.get("message")?,
                    web_push: row.get("web_push")?,
                    digest: row.get("digest")?,
                })
            })
        })
        .await
    }

    async fn try_backlog(&self, at: At) -> Result<Backlog, Failure> {
        self.read(move |db| {
            one(
                db,
                "SELECT coalesce(sum(CASE WHEN is_row OR due_at <= ?1 THEN n END), 0) AS waiting,
                        coalesce(sum(CASE WHEN NOT is_row AND due_at > ?1 THEN n END), 0) AS delayed,
                        (SELECT count(*) FROM dead_letters) AS dead_letters,
                        coalesce(max(0, ?1 - min(due_at)), 0) AS oldest_ms
                   FROM (SELECT TRUE AS is_row, 1 AS n, push_at AS due_at FROM notifications WHERE push_at IS NOT NULL
                         UNION ALL
                         SELECT FALSE, json_array_length(recipients), due_at FROM send_chunks WHERE state = 'waiting')",
                params![at.process_ms()],
                read_backlog,
            )
        })
        .await
    }
}

fn read_backlog(row: &Row<'_>) -> Result<Backlog, Failure> {
    Ok(Backlog {
        waiting: rows::count(row, "waiting")?,
        delayed: rows::count(row, "delayed")?,
        dead_letters: rows::count(row, "dead_letters")?,
        oldest_ms: rows::count(row, "oldest_ms")?,
    })
}
