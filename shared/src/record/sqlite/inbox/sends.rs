//! Sends in SQLite: storing one, cancelling one.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::{Connection, params};

use crate::clock::At;
use crate::cursor::Epoch;
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::send::Due;
use crate::inbox::sends::{Append, Appended, CHUNK_RECIPIENTS, Cancelled, FirstAnswer, Sends};
use crate::record::sqlite::delivery::bisect::{self, Strategy};
use crate::record::sqlite::delivery::materialise::{StoredSend, materialise};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::{execute, first, value};
use crate::record::sqlite::store::SqliteRecord;

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
    async fn try_append(&self, strategy: Strategy, append: &Append<'_>, at: At) -> Result<Appended, Failure> {
        let Append { id, fingerprint, due, retention_ms, .. } = *append;
        let (sender, recipients) = (append.sender.clone(), append.recipients.to_vec());
        let (content, answer) = (Arc::clone(&append.content), append.answer.to_owned());
        self.write(move |db| {
            let (sender, recipients, answer) = (&sender, &recipients[..], &answer[..]);
            let append = Append { id, sender, fingerprint, content, recipients, answer, due, retention_ms };
            store(db, rows::epoch(db)?, strategy, &append, at.process_ms())
        })
        .await
    }

    async fn try_first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, Failure> {
        self.read(move |db| first_answer(db, send)).await
    }

    async fn try_cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, Failure> {
        let sender = sender.clone();
        self.write(move |db| {
            let (id, sender) = (send.as_bytes().as_slice(), sender.as_str());
            let sql = "UPDATE sends SET state = 'cancelled' WHERE id = ?1 AND sender = ?2 AND state = 'scheduled'";
            if execute(db, sql, params![id, sender])? == 0 {
                let sql = "SELECT state FROM sends WHERE id = ?1 AND sender = ?2";
                let state: Option<String> = first(db, sql, params![id, sender], value)?;
                return match state.as_deref() {
                    Some("cancelled") => Ok(Cancelled::Done),
                    Some(_) => Ok(Cancelled::Started),
                    None => Ok(Cancelled::Unknown),
                };
            }
            execute(db, "UPDATE send_chunks SET state = 'cancelled' WHERE send_id = ?1", params![id])?;
            Ok(Cancelled::Done)
        })
        .await
    }
}

/// Stores a send and what it materialises. If bisecting, refused recipients stay in a chunk, and the drain dead-letters
/// them.
fn store(
    db: &Connection,
    epoch: Epoch,
    strategy: Strategy,
    append: &Append<'_>,
    now_ms: i64,
) -> Result<Appended, Failure> {
    let due_ms = match append.due {
        Due::Now => now_ms,
        Due::After(delay_ms) => now_ms.saturating_add(delay_ms),
        Due::At(at_ms) => at_ms,
    };
    if !insert_send(db, append, now_ms, due_ms)? {
        let known = first_answer(db, append.id)?;
        return known.map(Appended::Known).ok_or_else(|| broken("sends.id"));
    }
    let at_once = if append.due == Due::Now { CHUNK_RECIPIENTS.min(append.recipients.len()) } else { 0 };
    let (now, later) = append.recipients.split_at(at_once);
    insert_chunks(db, append.id, later, due_ms)?;
    let send = StoredSend {
        id: append.id,
        content: &append.content,
        due_and_accepted_ms: (now_ms, now_ms),
        may_be_late: false,
    };
    let stored = match strategy {
        Strategy::Together => materialise(db, epoch, &send, now, now_ms)?,
        Strategy::Bisect => {
            let bisected = bisect::materialise(db, epoch, &send, now.to_vec(), now_ms)?;
            bisect::leave_in_chunk(db, append.id, &bisected.refused, due_ms)?;
            bisected.stored
        }
    };
    Ok(Appended::Stored(stored))
}

/// False if a send of that id is already stored.
pub(crate) fn insert_send(db: &Connection, append: &Append<'_>, now_ms: i64, due_ms: i64) -> Result<bool, Failure> {
    let content = &append.content;
    let expires_ms = content.expires_at.map(|end| end.0);
    let sql = "INSERT INTO sends (id, sender, fingerprint, answer, state, created_at, due_at, keep_until,
                                  type, title, body, data, action_url, priority, expires_at, collapse_key, channels,
                                  digest_ms, traceparent)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)
               ON CONFLICT (id) DO NOTHING";
    let params = params![
        append.id.as_bytes().as_slice(),
        append.sender.as_str(),
        append.fingerprint.as_slice(),
        append.answer,
        if append.due == Due::Now { "started" } else { "scheduled" },
        now_ms,
        due_ms,
        due_ms.saturating_add(append.retention_ms).max(expires_ms.unwrap_or(i64::MIN)),
        content.kind,
        content.title,
        content.body,
        content.data.get(),
        content.action_url,
        content.priority.name(),
        expires_ms,
        content.collapse_key,
        content.channels.name(),
        content.digest_ms,
        content.trace.map(|trace| trace.to_string()),
    ];
    Ok(execute(db, sql, params)? == 1)
}

fn insert_chunks(db: &Connection, send: SendId, users: &[UserId], due_at: i64) -> Result<(), Failure> {
    for (n, recipients) in (1_i64..).zip(users.chunks(CHUNK_RECIPIENTS)) {
        let sql = "INSERT INTO send_chunks (send_id, n, recipients, due_at, state) VALUES (?1, ?2, ?3, ?4, 'waiting')";
        execute(db, sql, params![send.as_bytes().as_slice(), n, rows::json_list(recipients), due_at])?;
    }
    Ok(())
}

pub(crate) fn first_answer(db: &Connection, send: SendId) -> Result<Option<FirstAnswer>, Failure> {
    let sql = "SELECT fingerprint, answer FROM sends WHERE id = ?1";
    first(db, sql, params![send.as_bytes().as_slice()], |row| {
        let fingerprint = rows::blob(row, "fingerprint")?;
        Ok(FirstAnswer {
            fingerprint: fingerprint.try_into().map_err(|_| broken("sends.fingerprint"))?,
            answer: row.get("answer")?,
        })
    })
}
