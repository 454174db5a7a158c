//! Materialising due chunks in SQLite: several plain chunks in one transaction, and any other chunk on its own.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::clock::At;
use crate::delivery::Delivery;
use crate::delivery::deliveries::{Materialised, batch_size};
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::notification::Content;
use crate::record::sqlite::delivery::bisect::{self, Strategy};
use crate::record::sqlite::delivery::materialise::{StoredSend, materialise};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::store::{SqliteRecord, commit};

/// A chunk that is due.
struct Chunk {
    send: SendId,
    n: i64,
    text: Vec<u8>,
    recipients: Result<Vec<UserId>, Failure>,
    content: Result<Arc<Content>, Failure>,
    /// When its send was due and when it was accepted.
    due_and_accepted_ms: (i64, i64),
    is_cancelled: bool,
    is_expired: bool,
}

impl Chunk {
    fn read(row: &SqliteRow, now_ms: i64) -> Result<Self, Failure> {
        let send = SendId::from_bytes(row.try_get("send_id")?);
        let expires_at: Option<i64> = row.try_get("expires_at")?;
        Ok(Self {
            send: send.ok_or_else(|| broken("send_chunks.send_id"))?,
            n: row.try_get("n")?,
            text: row.try_get("text")?,
            recipients: recipients(row),
            content: rows::content(row).map(Arc::new),
            due_and_accepted_ms: (row.try_get("due_at")?, row.try_get("created_at")?),
            is_cancelled: row.try_get::<&str, _>("state")? == "cancelled",
            is_expired: expires_at.is_some_and(|end_ms| end_ms <= now_ms),
        })
    }

    /// Its number of recipients if it is plain: only plain chunks can share a transaction.
    fn plain_recipients(&self) -> Option<usize> {
        let (recipients, content) = (self.recipients.as_ref().ok()?, self.content.as_ref().ok()?);
        let is_special = self.is_cancelled || self.is_expired || content.collapse_key.is_some();
        (!is_special).then_some(recipients.len())
    }
}

impl SqliteRecord {
    pub(crate) async fn materialise_due(&self, limit: usize, at: At) -> Result<Materialised, Failure> {
        match self.try_materialise(limit, Strategy::Together, at).await {
            // Something in a chunk cannot be materialised: find out what, one chunk at a time.
            Err(failure) if matches!(failure.error(), StoreError::Refused(_) | StoreError::Broken(_)) => {
                self.try_materialise(1, Strategy::Bisect, at).await
            }
            other => other,
        }
    }

    async fn try_materialise(&self, limit: usize, strategy: Strategy, at: At) -> Result<Materialised, Failure> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let mut chunks = due(&mut db, limit, now_ms).await?;
        while let Some(cancelled) = chunks.first().filter(|chunk| chunk.is_cancelled) {
            // Cancelling a send cancels its chunks too, so this was done by hand. They must not be found again.
            sqlx::query("UPDATE send_chunks SET state = 'cancelled' WHERE send_id = ?1 AND state = 'waiting'")
                .bind(cancelled.send.as_bytes().as_slice())
                .execute(&mut *db)
                .await?;
            chunks = due(&mut db, limit, now_ms).await?;
        }
        let count = batch_size(chunks.iter().map(Chunk::plain_recipients)).max(1);
        let mut done = Materialised::default();
        for chunk in chunks.into_iter().take(count) {
            done.deliveries.extend(self.materialise_chunk(&mut db, chunk, strategy, now_ms).await?);
            done.chunks += 1;
        }
        commit(db).await?;
        Ok(done)
    }

    async fn materialise_chunk(
        &self,
        db: &mut SqliteConnection,
        chunk: Chunk,
        strategy: Strategy,
        now_ms: i64,
    ) -> Result<Vec<Delivery>, Failure> {
        let Chunk { send, n, due_and_accepted_ms, is_expired, .. } = chunk;
        let (recipients, content) = match (chunk.recipients, chunk.content) {
            (Ok(recipients), Ok(content)) => (recipients, content),
            (recipients, _) if strategy == Strategy::Bisect => {
                let recipients = recipients.map_or(1, |recipients| recipients.len());
                bisect::dead_letter_chunk(db, send, n, &chunk.text, recipients, now_ms).await?;
                return Ok(Vec::new());
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        if !is_expired {
            sqlx::query("UPDATE sends SET state = 'started' WHERE id = ?1 AND state = 'scheduled'")
                .bind(send.as_bytes().as_slice())
                .execute(&mut *db)
                .await?;
        }
        let stored = StoredSend { id: send, content: &content, due_and_accepted_ms, may_be_late: true };
        let deliveries = match strategy {
            _ if is_expired => Vec::new(),
            Strategy::Together => materialise(db, self.epoch, &stored, &recipients, now_ms).await?,
            Strategy::Bisect => {
                let bisected = bisect::materialise(db, self.epoch, &stored, recipients, now_ms).await?;
                bisect::dead_letter_recipients(db, send, &bisected.refused, now_ms).await?;
                bisected.deliveries
            }
        };
        sqlx::query("UPDATE send_chunks SET state = ?3 WHERE send_id = ?1 AND n = ?2")
            .bind(send.as_bytes().as_slice())
            .bind(n)
            .bind(if is_expired { "expired" } else { "materialised" })
            .execute(db)
            .await?;
        Ok(deliveries)
    }
}

/// The chunks that have been due longest.
async fn due(db: &mut SqliteConnection, limit: usize, now_ms: i64) -> Result<Vec<Chunk>, Failure> {
    let found = sqlx::query(
        "SELECT c.send_id, c.n, c.recipients, CAST(c.recipients AS BLOB) AS text, s.state, s.type, s.title, s.body,
                s.data, s.action_url, s.priority, s.expires_at, s.collapse_key, s.due_at, s.created_at
           FROM send_chunks c JOIN sends s ON s.id = c.send_id
          WHERE c.state = 'waiting' AND c.due_at <= ?1 ORDER BY c.due_at, c.send_id, c.n LIMIT ?2",
    )
    .bind(now_ms)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .await?;
    found.iter().map(|row| Chunk::read(row, now_ms)).collect()
}

fn recipients(chunk: &SqliteRow) -> Result<Vec<UserId>, Failure> {
    let recipients: Vec<String> =
        serde_json::from_str(chunk.try_get("recipients")?).map_err(|_| broken("send_chunks.recipients"))?;
    Ok(recipients.into_iter().map(UserId::stored).collect())
}
