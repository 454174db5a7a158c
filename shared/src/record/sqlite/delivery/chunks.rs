//! Materialising due chunks in SQLite: several plain chunks in one act, and any other chunk on its own.

use std::sync::Arc;

use rusqlite::{Connection, Row, params};

use crate::clock::At;
use crate::cursor::Epoch;
use crate::delivery::deliveries::{Materialised, batch_size};
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::notification::Content;
use crate::inbox::sends::Stored;
use crate::record::sqlite::delivery::bisect::{self, Strategy};
use crate::record::sqlite::delivery::materialise::{StoredSend, materialise};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::{all, execute};
use crate::record::sqlite::store::SqliteRecord;

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
    fn read(row: &Row<'_>, now_ms: i64) -> Result<Self, Failure> {
        let send = SendId::from_bytes(rows::blob(row, "send_id")?);
        let expires_at: Option<i64> = row.get("expires_at")?;
        Ok(Self {
            send: send.ok_or_else(|| broken("send_chunks.send_id"))?,
            n: row.get("n")?,
            text: row.get("text")?,
            recipients: recipients(row),
            content: rows::content(row).map(Arc::new),
            due_and_accepted_ms: (row.get("due_at")?, row.get("created_at")?),
            is_cancelled: rows::text(row, "state")? == "cancelled",
            is_expired: expires_at.is_some_and(|end_ms| end_ms <= now_ms),
        })
    }

    /// Its number of recipients if it is plain: only plain chunks can share an act.
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
        self.write(move |db| {
            let (epoch, now_ms) = (rows::epoch(db)?, at.process_ms());
            let mut chunks = due(db, limit, now_ms)?;
            while let Some(cancelled) = chunks.first().filter(|chunk| chunk.is_cancelled) {
                // Cancelling a send cancels its chunks too, so this was done by hand. They must not be found again.
                let sql = "UPDATE send_chunks SET state = 'cancelled' WHERE send_id = ?1 AND state = 'waiting'";
                execute(db, sql, params![cancelled.send.as_bytes().as_slice()])?;
                chunks = due(db, limit, now_ms)?;
            }
            let count = batch_size(chunks.iter().map(Chunk::plain_recipients)).max(1);
            let (mut done, mut stored) = (0, Stored::default());
            for chunk in chunks.into_iter().take(count) {
                stored.add(materialise_chunk(db, epoch, chunk, strategy, now_ms)?);
                done += 1;
            }
            let Stored { deliveries, web_push_at_ms } = stored;
            Ok(Materialised { chunks: done, deliveries, web_push_at_ms })
        })
        .await
    }
}

fn materialise_chunk(
    db: &Connection,
    epoch: Epoch,
    chunk: Chunk,
    strategy: Strategy,
    now_ms: i64,
) -> Result<Stored, Failure> {
    let Chunk { send, n, due_and_accepted_ms, is_expired, .. } = chunk;
    let (recipients, content) = match (chunk.recipients, chunk.content) {
        (Ok(recipients), Ok(content)) => (recipients, content),
        (recipients, _) if strategy == Strategy::Bisect => {
            let recipients = recipients.map_or(1, |recipients| recipients.len());
            bisect::dead_letter_chunk(db, send, n, &chunk.text, recipients, now_ms)?;
            return Ok(Stored::default());
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    if !is_expired {
        let sql = "UPDATE sends SET state = 'started' WHERE id = ?1 AND state = 'scheduled'";
        execute(db, sql, params![send.as_bytes().as_slice()])?;
    }
    let stored = StoredSend { id: send, content: &content, due_and_accepted_ms, may_be_late: true };
    let left = match strategy {
        _ if is_expired => Stored::default(),
        Strategy::Together => materialise(db, epoch, &stored, &recipients, now_ms)?,
        Strategy::Bisect => {
            let bisected = bisect::materialise(db, epoch, &stored, recipients, now_ms)?;
            bisect::dead_letter_recipients(db, send, &bisected.refused, now_ms)?;
            bisected.stored
        }
    };
    let state = if is_expired { "expired" } else { "materialised" };
    let sql = "UPDATE send_chunks SET state = ?3 WHERE send_id = ?1 AND n = ?2";
    execute(db, sql, params![send.as_bytes().as_slice(), n, state])?;
    Ok(left)
}

/// The chunks that have been due longest.
fn due(db: &Connection, limit: usize, now_ms: i64) -> Result<Vec<Chunk>, Failure> {
    let sql =
        "SELECT c.send_id, c.n, c.recipients, CAST(c.recipients AS BLOB) AS text, s.state, s.type, s.title, s.body,
                s.data, s.action_url, s.priority, s.expires_at, s.collapse_key, s.channels, s.digest_ms, s.traceparent,
                s.due_at, s.created_at
           FROM send_chunks c JOIN sends s ON s.id = c.send_id
          WHERE c.state = 'waiting' AND c.due_at <= ?1 ORDER BY c.due_at, c.send_id, c.n LIMIT ?2";
    all(db, sql, params![now_ms, rows::limit(limit)], |row| Chunk::read(row, now_ms))
}

fn recipients(chunk: &Row<'_>) -> Result<Vec<UserId>, Failure> {
    let recipients: Vec<String> =
        serde_json::from_str(rows::text(chunk, "recipients")?).map_err(|_| broken("send_chunks.recipients"))?;
    Ok(recipients.into_iter().map(UserId::stored).collect())
}
