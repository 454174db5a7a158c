//! What still has to be materialised or pushed, in SQLite.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::apart::{self, Way};
use super::materialise::{Arriving, materialise};
use super::rows::{self, failed};
use super::{SqliteRecord, commit};
use crate::clock::At;
use crate::deliveries::{Backlog, Deliveries, Key, Taken};
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::{Changed, Delivery};

#[async_trait]
impl Deliveries for SqliteRecord {
    async fn materialise_next(&self, at: At) -> Result<Option<Vec<Delivery>>, StoreError> {
        match self.materialise_chunk(Way::AtOnce, at).await {
            // Something in the chunk does not go: which, is found out with more statements.
            Err(StoreError::Refused(_) | StoreError::Broken(_)) => self.materialise_chunk(Way::Apart, at).await,
            other => other,
        }
    }

    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        self.take(limit, at.process_ms()).await
    }

    async fn take(&self, keys: &[Key<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        self.take_named(keys, at.process_ms()).await
    }

    async fn postpone(&self, rows: &[(Key<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError> {
        self.postpone_rows(rows, at.process_ms()).await
    }

    async fn mark_offered(&self, offered: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        let offered: Vec<Value> =
            offered.iter().map(|(user, offset)| json!({"user": user, "offset": offset})).collect();
        let mut db = self.write().await?;
        sqlx::query(
            r#"UPDATE notifications SET offered_at = ?2, push_at = NULL FROM json_each(?1) j
                WHERE user_id = j.value ->> 'user' AND "offset" = j.value ->> 'offset'"#,
        )
        .bind(rows::json_list(&offered))
        .bind(at.process_ms())
        .execute(&mut *db)
        .await
        .map_err(failed)?;
        commit(db).await
    }

    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        self.resynced(users, at.process_ms()).await
    }

    async fn expire(&self, limit: usize, at: At) -> Result<Vec<(UserId, Changed)>, StoreError> {
        self.make_tombstones(limit, at.process_ms()).await
    }

    async fn next_due(&self) -> Result<Option<i64>, StoreError> {
        sqlx::query_scalar(
            "SELECT min(due) FROM (SELECT min(due_at) AS due FROM send_chunks WHERE state = 'waiting'
                                   UNION ALL
                                   SELECT min(push_at) FROM notifications WHERE push_at IS NOT NULL
                                   UNION ALL
                                   SELECT min(expires_at) FROM notifications
                                    WHERE expires_at IS NOT NULL AND deleted_at IS NULL)",
        )
        .fetch_one(&self.readers)
        .await
        .map_err(failed)
    }

    async fn backlog(&self, at: At) -> Result<Backlog, StoreError> {
        let row = sqlx::query(
            "SELECT coalesce(sum(CASE WHEN is_row OR due_at <= ?1 THEN n END), 0) AS waiting,
                    coalesce(sum(CASE WHEN NOT is_row AND due_at > ?1 THEN n END), 0) AS delayed,
                    (SELECT count(*) FROM dead_letters) AS dead_letters,
                    coalesce(max(0, ?1 - min(due_at)), 0) AS oldest_ms
               FROM (SELECT TRUE AS is_row, 1 AS n, push_at AS due_at FROM notifications WHERE push_at IS NOT NULL
                     UNION ALL
                     SELECT FALSE, json_array_length(recipients), due_at FROM send_chunks WHERE state = 'waiting')",
        )
        .bind(at.process_ms())
        .fetch_one(&self.readers)
        .await
        .map_err(failed)?;
        Ok(Backlog {
            waiting: rows::count(&row, "waiting")?,
            delayed: rows::count(&row, "delayed")?,
            dead_letters: rows::count(&row, "dead_letters")?,
            oldest_ms: rows::count(&row, "oldest_ms")?,
        })
    }
}

impl SqliteRecord {
    async fn materialise_chunk(&self, way: Way, at: At) -> Result<Option<Vec<Delivery>>, StoreError> {
        let now_ms = at.process_ms();
        let mut db = self.write().await?;
        let chunk = sqlx::query(
            "SELECT c.send_id, c.n, c.recipients, s.state, s.type, s.title, s.body, s.data, s.action_url, s.priority,
                    s.expires_at, s.collapse_key, s.due_at, s.created_at
               FROM send_chunks c JOIN sends s ON s.id = c.send_id
              WHERE c.state = 'waiting' AND c.due_at <= ?1 ORDER BY c.due_at, c.send_id, c.n LIMIT 1",
        )
        .bind(now_ms)
        .fetch_optional(&mut *db)
        .await
        .map_err(failed)?;
        let Some(chunk) = chunk else { return Ok(None) };
        let send = SendId::from_bytes(chunk.try_get("send_id").map_err(failed)?)
            .ok_or_else(|| rows::broken("send_chunks.send_id"))?;
        if chunk.try_get::<&str, _>("state").map_err(failed)? == "cancelled" {
            // Whoever cancels takes the chunks with it, so this was done by hand. It must not come again.
            sqlx::query("UPDATE send_chunks SET state = 'cancelled' WHERE send_id = ?1 AND state = 'waiting'")
                .bind(send.as_bytes().as_slice())
                .execute(&mut *db)
                .await
                .map_err(failed)?;
            commit(db).await?;
            return Box::pin(self.materialise_chunk(way, at)).await;
        }
        let n: i64 = chunk.try_get("n").map_err(failed)?;
        let (recipients, content) = match (recipients(&chunk), rows::content(&chunk)) {
            (Ok(recipients), Ok(content)) => (recipients, Arc::new(content)),
            (recipients, _) if way == Way::Apart => {
                let recipients = recipients.map_or(1, |recipients| recipients.len());
                apart::set_chunk_aside(&mut db, send, n, recipients, now_ms).await?;
                commit(db).await?;
                return Ok(Some(Vec::new()));
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let is_expired = content.expires_at.is_some_and(|end| end.0 <= now_ms);
        if !is_expired {
            sqlx::query("UPDATE sends SET state = 'started' WHERE id = ?1 AND state = 'scheduled'")
                .bind(send.as_bytes().as_slice())
                .execute(&mut *db)
                .await
                .map_err(failed)?;
        }
        let newness = (chunk.try_get("due_at").map_err(failed)?, chunk.try_get("created_at").map_err(failed)?);
        let arriving = Arriving { send, content: &content, newness, may_be_late: true };
        let deliveries = match way {
            _ if is_expired => Vec::new(),
            Way::AtOnce => materialise(&mut db, self.epoch, &arriving, &recipients, now_ms).await?,
            Way::Apart => {
                let parted = apart::materialise(&mut db, self.epoch, &arriving, recipients, now_ms).await?;
                apart::set_recipients_aside(&mut db, send, &parted.refused, now_ms).await?;
                parted.deliveries
            }
        };
        sqlx::query("UPDATE send_chunks SET state = ?3 WHERE send_id = ?1 AND n = ?2")
            .bind(send.as_bytes().as_slice())
            .bind(n)
            .bind(if is_expired { "expired" } else { "materialised" })
            .execute(&mut *db)
            .await
            .map_err(failed)?;
        commit(db).await?;
        Ok(Some(deliveries))
    }
}

fn recipients(chunk: &SqliteRow) -> Result<Vec<UserId>, StoreError> {
    let recipients: Vec<String> = serde_json::from_str(chunk.try_get("recipients").map_err(failed)?)
        .map_err(|_| rows::broken("send_chunks.recipients"))?;
    Ok(recipients.into_iter().map(UserId::stored).collect())
}
