//! Sends in Postgres: storing one, scheduling one, cancelling one.

use async_trait::async_trait;
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{SendId, UserId};
use crate::inbox::notification::Content;
use crate::inbox::send::Due;
use crate::inbox::sends::{Append, Appended, CHUNK_RECIPIENTS, Cancelled, FirstAnswer, Sends, Stored};
use crate::record::postgres::delivery::bisect::{self, Bisected};
use crate::record::postgres::delivery::materialise::{bind_recipients, lock_heads, stored};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{at_ms, broken, column, json_list};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run, begin, commit};

const APPEND: &str =
    sql!("append.sql", "../delivery/recipients.sql", "../delivery/rings.sql", "../delivery/materialise.sql");
const APPEND_AND_COLLAPSE: &str =
    sql!("append.sql", "../delivery/recipients.sql", "../delivery/rings.sql", "../delivery/collapse.sql");

#[async_trait]
impl Sends for PostgresRecord {
    async fn append(&self, append: &Append<'_>, at: At) -> Result<Appended, StoreError> {
        let stored = match append.due {
            Due::Now => match retried!(self.try_append(append, at)) {
                // A recipient's row is refused: the others must not wait for it.
                Err(StoreError::Refused(_)) => retried!(self.try_append_bisecting(append, at))?,
                other => other?,
            },
            Due::After(_) | Due::At(_) => retried!(self.try_schedule(append, at))?,
        };
        match stored {
            Some(stored) => Ok(Appended::Stored(stored)),
            // The insert waited for the transaction that stored it first, so this statement sees its row.
            None => {
                let known = self.first_answer(append.id).await?;
                known.map(Appended::Known).ok_or_else(|| broken("sends.id"))
            }
        }
    }

    async fn first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, StoreError> {
        Ok(self.try_first_answer(send).await?)
    }

    async fn cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, StoreError> {
        retried!(self.try_cancel(send, sender))
    }
}

impl PostgresRecord {
    /// `None` if a send of that id is already stored.
    async fn try_append(&self, append: &Append<'_>, at: At) -> Result<Option<Stored>, Failure> {
        let mut connection = self.connection().await?;
        if append.content.collapse_key.is_none() {
            return try_append_with(APPEND, &mut connection, append, at).await;
        }
        let mut transaction = begin(&mut connection).await?;
        lock_heads(&mut transaction, first_chunk(append).0).await?;
        let stored = try_append_with(APPEND_AND_COLLAPSE, &mut transaction, append, at).await?;
        // Otherwise it is rolled back, since locking has created missing inboxes.
        if stored.is_some() {
            commit(transaction).await?;
        }
        Ok(stored)
    }

    /// Appends a send with refused recipients: these stay in a chunk, and the drain dead-letters them.
    async fn try_append_bisecting(&self, append: &Append<'_>, at: At) -> Result<Option<Stored>, Failure> {
        let (now, later) = first_chunk(append);
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        if !insert(&mut transaction, append, later, at).await? {
            return Ok(None);
        }
        let Bisected { stored, refused } =
            bisect::materialise(&mut transaction, append.id, &append.content, now.to_vec(), at).await?;
        bisect::start(&mut transaction, append.id, &refused, at).await?;
        commit(transaction).await?;
        Ok(Some(stored))
    }

    /// Returns nothing to push. `None` if a send of that id is already stored.
    async fn try_schedule(&self, append: &Append<'_>, at: At) -> Result<Option<Stored>, Failure> {
        let is_new = insert(&mut *self.connection().await?, append, append.recipients, at).await?;
        Ok(is_new.then(Stored::default))
    }

    async fn try_first_answer(&self, send: SendId) -> Result<Option<FirstAnswer>, Failure> {
        let query = sqlx::query("SELECT fingerprint, answer FROM sends WHERE id = $1").bind(send.as_uuid());
        let Some(row) = query.read_optional(&mut *self.connection().await?).await? else { return Ok(None) };
        let fingerprint: &[u8] = column(&row, "fingerprint")?;
        let fingerprint = fingerprint.try_into().map_err(|_| broken("sends.fingerprint"))?;
        Ok(Some(FirstAnswer { fingerprint, answer: column(&row, "answer")? }))
    }

    /// A single statement; it loses if the send changes concurrently.
    async fn try_cancel(&self, send: SendId, sender: &UserId) -> Result<Cancelled, Failure> {
        let query = sqlx::query(include_str!("cancel.sql")).bind(send.as_uuid()).bind(sender.as_str());
        let Some(found) = query.optional(&mut *self.connection().await?).await? else { return Ok(Cancelled::Unknown) };
        match (column(&found, "state")?, column(&found, "is_cancelled")?) {
            (_, true) | ("cancelled", _) => Ok(Cancelled::Done),
            ("scheduled", _) => Err(Failure::Lost),
            _ => Ok(Cancelled::Started),
        }
    }
}

/// The recipients that are materialised at once, and the others.
fn first_chunk<'a>(append: &'a Append<'_>) -> (&'a [UserId], &'a [UserId]) {
    append.recipients.split_at(append.recipients.len().min(CHUNK_RECIPIENTS))
}

async fn try_append_with(
    sql: &'static str,
    db: &mut Db<'_>,
    append: &Append<'_>,
    at: At,
) -> Result<Option<Stored>, Failure> {
    let (now, later) = first_chunk(append);
    let query = bind_recipients(sql, append.id, &append.content, now, at)
        .bind(append.sender.as_str())
        .bind(append.fingerprint.as_slice())
        .bind(append.answer)
        .bind(append.retention_ms)
        .bind(later.chunks(CHUNK_RECIPIENTS).map(json_list).collect::<Vec<String>>());
    let rows = bind_content(query, &append.content).all(db).await?;
    // A new send has a row for each recipient, so no row means that it is not new.
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(stored(&rows, &append.content)?))
}

/// Stores a send with these recipients as chunks; false if one of that id is already stored.
async fn insert(db: &mut Db<'_>, append: &Append<'_>, recipients: &[UserId], at: At) -> Result<bool, Failure> {
    let (delay_ms, due_ms) = match append.due {
        Due::Now => (Some(0), None),
        Due::After(delay_ms) => (Some(delay_ms), None),
        Due::At(at_ms) => (None, Some(at_ms)),
    };
    let query = sqlx::query(sql!("schedule.sql"))
        .bind(at_ms(at))
        .bind(append.id.as_uuid())
        .bind(append.sender.as_str())
        .bind(append.fingerprint.as_slice())
        .bind(append.answer)
        .bind(append.retention_ms)
        .bind(recipients.chunks(CHUNK_RECIPIENTS).map(json_list).collect::<Vec<String>>())
        .bind(delay_ms)
        .bind(due_ms);
    Ok(bind_content(query, &append.content).optional(db).await?.is_some())
}

/// Binds type, title, body, data, action_url, priority, expires_at, collapse_key, channels, digest_ms and traceparent, in this
/// order.
fn bind_content<'q>(query: Query<'q, Postgres, PgArguments>, content: &'q Content) -> Query<'q, Postgres, PgArguments> {
    query
        .bind(&content.kind)
        .bind(&content.title)
        .bind(content.body.as_deref())
        .bind(content.data.get())
        .bind(content.action_url.as_deref())
        .bind(content.priority.name())
        .bind(content.expires_at.map(|end| end.0))
        .bind(content.collapse_key.as_deref())
        .bind(content.channels.name())
        .bind(content.digest_ms)
        .bind(content.trace.map(|trace| trace.to_string()))
}
