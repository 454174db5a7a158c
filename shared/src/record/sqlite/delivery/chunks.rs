//! Materialising due chunks in SQLite.

use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::At;
use crate::delivery::Delivery;
use crate::delivery::deliveries::{Materialised, batch_size};
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::notification::Content;
use crate::record::sqlite::delivery::bisect::{self, Strategy};
use crate::record::sqlite::delivery::materialise::{Arriving, materialise};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::store::SqliteRecord;
use crate::record::sqlite::store::commit;
use sqlx::SqliteConnection;

/// A chunk that is due.
struct Chunk {
    send: SendId,
    n: i64,
    text: Vec<u8>,
    recipients: Result<Vec<UserId>, Failure>,
    content: Result<Arc<Content>, Failure>,
    /// When its send was due and when it was accepted.
    newness: (i64, i64),
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
            newness: (row.try_get("due_at")?, row.try_get("created_at")?),
            is_cancelled: row.try_get::<&str, _>("state")? == "cancelled",
            is_expired: expires_at.is_some_and(|end_ms| end_ms <= now_ms),
        })
    }

    /// How many get a row of it, where nothing about it is special.
    fn plain(&self) -> Option<usize> {
        let (recipients, content) = (self.recipients.as_ref().ok()?, self.content.as_ref().ok()?);
        let is_special = self.is_cancelled || self.is_expired || content.collapse_key.is_some();
        (!is_special).then_some(recipients.len())
    }
}

impl SqliteRecord {
    pub(crate) async fn materialise_due(&self, limit: usize, at: At) -> Result<Materialised, Failure> {
        match self.try_materialise(limit, Strategy::Together, at).await {
            // Something in a chunk cannot be materialised. More statements find out what, one chunk after the other.
            Err(failure) if matches!(failure.error(), StoreError::Refused(_) | StoreError::Broken(_)) => {
                self.try_materialise(1, Strategy::Bisect, at).await
            }
            other => other,
        }
    }

    async fn try_materialise(&self, limit: usize, way: Strategy, at: At) -> Result<Materialised, Failure> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let mut chunks = due(&mut db, limit, now_ms).await?;
        while let Some(cancelled) = chunks.first().filter(|chunk| chunk.is_cancelled) {
            // Whoever cancels takes the chunks with it, so this was done by hand. It must not come again.
            sqlx::query("UPDATE send_chunks SET state = 'cancelled' WHERE send_id = ?1 AND state = 'waiting'")
                .bind(cancelled.send.as_bytes().as_slice())
                .execute(&mut *db)
                .await?;
            chunks = due(&mut db, limit, now_ms).await?;
        }
        let count = batch_size(chunks.iter().map(Chunk::plain)).max(1);
        let mut done = Materialised::default();
        for chunk in chunks.into_iter().take(count) {
            done.deliveries.extend(self.materialise_chunk(&mut db, chunk, way, now_ms).await?);
            done.chunks += 1;
        }
        commit(db).await?;
        Ok(done)
    }

    async fn materialise_chunk(
        &self,
        db: &mut SqliteConnection,
        chunk: Chunk,
        way: Strategy,
        now_ms: i64,
    ) -> Result<Vec<Delivery>, Failure> {
        let Chunk { send, n, newness, is_expired, .. } = chunk;
        let (recipients, content) = match (chunk.recipients, chunk.content) {
            (Ok(recipients), Ok(content)) => (recipients, content),
            (recipients, _) if way == Strategy::Bisect => {
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
        let arriving = Arriving { send, content: &content, newness, may_be_late: true };
        let deliveries = match way {
            _ if is_expired => Vec::new(),
            Strategy::Together => materialise(db, self.epoch, &arriving, &recipients, now_ms).await?,
            Strategy::Bisect => {
                let parted = bisect::materialise(db, self.epoch, &arriving, recipients, now_ms).await?;
                bisect::dead_letter_recipients(db, send, &parted.refused, now_ms).await?;
                parted.deliveries
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

/// The chunks that are due first.
async fn due(db: &mut SqliteConnection, limit: usize, now_ms: i64) -> Result<Vec<Chunk>, Failure> {
    let found = sqlx::query(
        "SELECT c.send_id, c.n, c.recipients, CAST(c.recipients AS BLOB) AS text, s.state, s.type, s.title, s.body, s.data, s.action_url, s.priority,
                s.expires_at, s.collapse_key, s.due_at, s.created_at
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
