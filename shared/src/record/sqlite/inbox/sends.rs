//! Sends in SQLite: storing one, cancelling one.

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Row, Sqlite, SqliteConnection};

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::notification::Content;
use crate::inbox::send::Due;
use crate::inbox::sends::{Append, Appended, CHUNK_RECIPIENTS, Cancelled, FirstAnswer, Sends};
use crate::record::sqlite::delivery::bisect::{self, Strategy};
use crate::record::sqlite::delivery::materialise::{StoredSend, materialise};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::store::{SqliteRecord, commit};

#[async_trait]
impl Sends for SqliteRecord {
    async fn append(&self, append: &Append<'_>, at: At) -> Result<Appended, StoreError> {
        match self.try_append(Strategy::Together, append, at).await {
            // The database refuses a recipient's row: the others must not wait for it.
            Err(failure) if matches!(failure.error(), StoreError::Refused(_)) => {
                Ok(self.try_append(Strategy::Bisect, append, at).await?)
            }
            other => Ok(other?),
        }
    }

    async fn first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, StoreError> {
        Ok(self.try_first_answer(send).await?)
    }

    async fn cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, StoreError> {
        Ok(self.try_cancel(send, sender).await?)
    }
}

impl SqliteRecord {
    /// If bisecting, refused recipients stay in a chunk, and the drain dead-letters them.
    async fn try_append(&self, strategy: Strategy, append: &Append<'_>, at: At) -> Result<Appended, Failure> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let due_ms = match append.due {
            Due::Now => now_ms,
            Due::After(delay_ms) => now_ms.saturating_add(delay_ms),
            Due::At(at_ms) => at_ms,
        };
        if !insert_send(&mut db, append, now_ms, due_ms).await? {
            let known = first_answer(&mut db, append.id).await?;
            return known.map(Appended::Known).ok_or_else(|| broken("sends.id"));
        }
        let at_once = if append.due == Due::Now { CHUNK_RECIPIENTS.min(append.recipients.len()) } else { 0 };
        let (now, later) = append.recipients.split_at(at_once);
        insert_chunks(&mut db, append.id, later, due_ms).await?;
        let stored = StoredSend {
            id: append.id,
            content: &append.content,
            due_and_accepted_ms: (now_ms, now_ms),
            may_be_late: false,
        };
        let deliveries = match strategy {
            Strategy::Together => materialise(&mut db, self.epoch, &stored, now, now_ms).await?,
            Strategy::Bisect => {
                let recipients = now.to_vec();
                let bisected = bisect::materialise(&mut db, self.epoch, &stored, recipients, now_ms).await?;
                bisect::leave_in_chunk(&mut db, append.id, &bisected.refused, due_ms).await?;
                bisected.deliveries
            }
        };
        commit(db).await?;
        Ok(Appended::Stored(deliveries))
    }

    async fn try_first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, Failure> {
        first_answer(&mut *self.reader().await?, send).await
    }

    async fn try_cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, Failure> {
        let mut db = self.write().await?;
        let cancelled =
            sqlx::query("UPDATE sends SET state = 'cancelled' WHERE id = ?1 AND sender = ?2 AND state = 'scheduled'")
                .bind(send.as_bytes().as_slice())
                .bind(sender.as_str())
                .execute(&mut *db)
                .await?;
        if cancelled.rows_affected() == 0 {
            let state: Option<String> = sqlx::query_scalar("SELECT state FROM sends WHERE id = ?1 AND sender = ?2")
                .bind(send.as_bytes().as_slice())
                .bind(sender.as_str())
                .fetch_optional(&mut *db)
                .await?;
            return match state.as_deref() {
                Some("cancelled") => Ok(Cancelled::Done),
                Some(_) => Ok(Cancelled::Started),
                None => Ok(Cancelled::Unknown),
            };
        }
        sqlx::query("UPDATE send_chunks SET state = 'cancelled' WHERE send_id = ?1")
            .bind(send.as_bytes().as_slice())
            .execute(&mut *db)
            .await?;
        commit(db).await?;
        Ok(Cancelled::Done)
    }
}

/// False if a send of that id is already stored.
pub(crate) async fn insert_send(
    db: &mut SqliteConnection,
    append: &Append<'_>,
    now_ms: i64,
    due_ms: i64,
) -> Result<bool, Failure> {
    let content = &append.content;
    let expires_ms = content.expires_at.map(|end| end.0);
    let query = sqlx::query(
        "INSERT INTO sends (id, sender, fingerprint, answer, state, created_at, due_at, keep_until,
                            type, title, body, data, action_url, priority, expires_at, collapse_key)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16) ON CONFLICT (id) DO NOTHING",
    )
    .bind(append.id.as_bytes().as_slice())
    .bind(append.sender.as_str())
    .bind(append.fingerprint.as_slice())
    .bind(append.answer)
    .bind(if append.due == Due::Now { "started" } else { "scheduled" })
    .bind(now_ms)
    .bind(due_ms)
    .bind(due_ms.saturating_add(append.retention_ms).max(expires_ms.unwrap_or(i64::MIN)));
    Ok(bind_content(query, content).execute(db).await?.rows_affected() == 1)
}

async fn insert_chunks(db: &mut SqliteConnection, send: SendId, users: &[UserId], due_at: i64) -> Result<(), Failure> {
    for (n, recipients) in (1_i64..).zip(users.chunks(CHUNK_RECIPIENTS)) {
        sqlx::query(
            "INSERT INTO send_chunks (send_id, n, recipients, due_at, state) VALUES (?1, ?2, ?3, ?4, 'waiting')",
        )
        .bind(send.as_bytes().as_slice())
        .bind(n)
        .bind(rows::json_list(recipients))
        .bind(due_at)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

pub(crate) async fn first_answer(db: &mut SqliteConnection, send: SendId) -> Result<Option<FirstAnswer>, Failure> {
    let row = sqlx::query("SELECT fingerprint, answer FROM sends WHERE id = ?1")
        .bind(send.as_bytes().as_slice())
        .fetch_optional(db)
        .await?;
    row.map(|row| {
        let fingerprint: &[u8] = row.try_get("fingerprint")?;
        Ok(FirstAnswer {
            fingerprint: fingerprint.try_into().map_err(|_| broken("sends.fingerprint"))?,
            answer: row.try_get("answer")?,
        })
    })
    .transpose()
}

/// Binds type, title, body, data, action_url, priority, expires_at and collapse_key, in this order.
fn bind_content<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    content: &'q Content,
) -> Query<'q, Sqlite, SqliteArguments> {
    query
        .bind(&content.kind)
        .bind(&content.title)
        .bind(content.body.as_deref())
        .bind(content.data.get())
        .bind(content.action_url.as_deref())
        .bind(content.priority.name())
        .bind(content.expires_at.map(|end| end.0))
        .bind(content.collapse_key.as_deref())
}
