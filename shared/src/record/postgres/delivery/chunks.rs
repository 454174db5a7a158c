//! Materialising due chunks in Postgres: several plain chunks in one statement, and any other chunk on its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::postgres::PgRow;
use uuid::Uuid;

use crate::clock::At;
use crate::delivery::PUSH_GRACE_MS;
use crate::delivery::deliveries::{Materialised, batch_size};
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::notification::Content;
use crate::inbox::sends::Stored;
use crate::record::postgres::delivery::bisect;
use crate::record::postgres::delivery::materialise::{bind_recipients, deliveries, first_web_push, lock_heads, stored};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::rows::{self, at_ms, column, limit};
use crate::record::postgres::sql::{retried, sql};
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run, Transaction, begin, commit, rollback};

const CHUNK: &str = sql!("chunk.sql", "recipients.sql", "rings.sql", "materialise.sql");
const CHUNK_AND_COLLAPSE: &str = sql!("chunk.sql", "recipients.sql", "rings.sql", "collapse.sql");

/// How a chunk is materialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    /// In one statement, which fails if the database refuses any recipient.
    Together,
    /// With more statements, so that a refused recipient does not hold up the others.
    Bisect,
}

/// A chunk that this transaction has locked.
struct Chunk {
    send: SendId,
    n: i32,
    text: String,
    recipients: Result<Vec<UserId>, StoreError>,
    content: Result<Arc<Content>, StoreError>,
    is_started: bool,
    is_cancelled: bool,
    is_expired: bool,
}

impl Chunk {
    fn read(row: &PgRow) -> Result<Self, StoreError> {
        let state: &str = column(row, "state")?;
        Ok(Self {
            send: SendId::from_uuid(column(row, "send_id")?),
            n: column(row, "n")?,
            text: column(row, "recipients")?,
            recipients: recipients(row),
            content: rows::content(row).map(Arc::new),
            is_started: state == "started",
            is_cancelled: state == "cancelled",
            is_expired: column(row, "is_expired")?,
        })
    }

    /// Its recipients and content if it is plain: only plain chunks can share a statement.
    fn plain(&self) -> Option<(&[UserId], &Arc<Content>)> {
        let (recipients, content) = (self.recipients.as_ref().ok()?, self.content.as_ref().ok()?);
        let is_special = self.is_cancelled || self.is_expired || content.collapse_key.is_some();
        (!is_special).then_some((recipients.as_slice(), content))
    }
}

impl PostgresRecord {
    pub(crate) async fn materialise_due(&self, limit: usize, at: At) -> Result<Materialised, StoreError> {
        match retried!(self.try_materialise(limit, Strategy::Together, at)) {
            // Something in a chunk cannot be materialised: find out what, one chunk at a time.
            Err(StoreError::Refused(_) | StoreError::Broken(_)) => {
                retried!(self.try_materialise(1, Strategy::Bisect, at))
            }
            other => other,
        }
    }

    async fn try_materialise(&self, max_chunks: usize, strategy: Strategy, at: At) -> Result<Materialised, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = begin(&mut connection).await?;
        let mut chunks = lock(&mut transaction, max_chunks, at).await?;
        while let Some(cancelled) = chunks.first().filter(|chunk| chunk.is_cancelled) {
            // Cancelling a send cancels its chunks too, so this was done by hand. They must not be found again.
            cancel(&mut transaction, cancelled.send).await?;
            chunks = lock(&mut transaction, max_chunks, at).await?;
        }
        if chunks.is_empty() {
            commit(transaction).await?;
            return Ok(Materialised::default());
        }
        let count = batch_size(chunks.iter().map(|chunk| chunk.plain().map(|(recipients, _)| recipients.len()))).max(1);
        chunks.truncate(count);
        let done = if count > 1 {
            materialise_together(&mut transaction, &chunks, at).await
        } else {
            materialise_alone(&mut transaction, chunks.remove(0), strategy, at).await
        };
        match done {
            Ok(Stored { deliveries, web_push_at_ms }) => {
                commit(transaction).await?;
                Ok(Materialised { chunks: count, deliveries, web_push_at_ms })
            }
            Err(failure) => Err(roll_back(transaction, failure).await),
        }
    }
}

/// Locks the chunks that have been due longest and that no other transaction has locked.
async fn lock(db: &mut Db<'_>, max_chunks: usize, at: At) -> Result<Vec<Chunk>, Failure> {
    let found = sqlx::query(sql!(
        (" SELECT c.send_id, c.n, c.recipients, s.state, s.type, s.title, s.body, s.data, s.action_url, s.priority,
                s.expires_at, s.collapse_key, s.channels, s.digest_ms, s.traceparent,
                coalesce(s.expires_at <= (SELECT now_ms FROM clock), false) AS is_expired
           FROM send_chunks c JOIN sends s ON s.id = c.send_id
          WHERE c.state = 'waiting' AND c.due_at <= (SELECT now_ms FROM clock)
          ORDER BY c.due_at, c.send_id, c.n LIMIT $2
            FOR UPDATE OF c SKIP LOCKED")
    ))
    .bind(at_ms(at))
    .bind(limit(max_chunks))
    .all(db)
    .await?;
    found.iter().map(|row| Ok(Chunk::read(row)?)).collect()
}

/// Cancels the waiting chunks of a cancelled send.
async fn cancel(db: &mut Db<'_>, send: SendId) -> Result<(), Failure> {
    sqlx::query("UPDATE send_chunks SET state = 'cancelled' WHERE send_id = $1 AND state = 'waiting'")
        .bind(send.as_uuid())
        .run(db)
        .await?;
    Ok(())
}

/// Starts sends that are not cancelled. A started send stays started and needs no lock, so its chunks do not wait for
/// each other. Locks are taken in the order of the ids, so that two workers cannot deadlock.
async fn start(db: &mut Db<'_>, sends: &BTreeSet<Uuid>) -> Result<(), Failure> {
    if sends.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = sends.iter().copied().collect();
    let started = sqlx::query(
        "WITH locked AS MATERIALIZED (
             SELECT id FROM sends WHERE id = ANY($1) AND state <> 'cancelled' ORDER BY id FOR NO KEY UPDATE
         )
         UPDATE sends SET state = 'started' FROM locked WHERE sends.id = locked.id",
    )
    .bind(ids)
    .run(db)
    .await?;
    // A send was cancelled meanwhile; the retry finds it cancelled.
    if started < sends.len() { Err(Failure::Lost) } else { Ok(()) }
}

/// Materialises plain chunks in one statement.
async fn materialise_together(db: &mut Db<'_>, chunks: &[Chunk], at: At) -> Result<Stored, Failure> {
    let waiting = chunks.iter().filter(|chunk| !chunk.is_started).map(|chunk| chunk.send.as_uuid());
    start(db, &waiting.collect()).await?;
    let (mut users, mut ids, mut sends) = (Vec::new(), Vec::new(), Vec::new());
    let mut contents: HashMap<Uuid, &Arc<Content>> = HashMap::new();
    for (send, (recipients, content)) in chunks.iter().filter_map(|chunk| Some((chunk.send, chunk.plain()?))) {
        users.extend(recipients.iter().map(|user| user.as_str().to_owned()));
        ids.extend(recipients.iter().map(|user| NotificationId::of(send, user).as_uuid()));
        sends.extend(recipients.iter().map(|_| send.as_uuid()));
        contents.insert(send.as_uuid(), content);
    }
    let chunk_sends: Vec<Uuid> = chunks.iter().map(|chunk| chunk.send.as_uuid()).collect();
    let numbers: Vec<i32> = chunks.iter().map(|chunk| chunk.n).collect();
    let found = sqlx::query(sql!("chunks.sql", "rings.sql", "chunk_rows.sql"))
        .bind(at_ms(at))
        .bind(users)
        .bind(ids)
        .bind(sends)
        .bind(PUSH_GRACE_MS)
        .bind(chunk_sends)
        .bind(numbers)
        .all(db)
        .await?;
    let content = |row: &PgRow| {
        let send: Uuid = column(row, "send_id")?;
        contents.get(&send).map(|content| Arc::clone(content)).ok_or_else(|| rows::broken("notifications.send_id"))
    };
    Ok(Stored { deliveries: deliveries(&found, content)?, web_push_at_ms: first_web_push(&found)? })
}

/// Materialises one chunk.
async fn materialise_alone(db: &mut Db<'_>, chunk: Chunk, strategy: Strategy, at: At) -> Result<Stored, Failure> {
    let Chunk { send, n, is_started, is_expired, .. } = chunk;
    let (recipients, content) = match (chunk.recipients, chunk.content) {
        (Ok(recipients), Ok(content)) => (recipients, content),
        (recipients, _) if strategy == Strategy::Bisect => {
            let recipients = recipients.map_or(1, |recipients| recipients.len());
            bisect::dead_letter_chunk(db, send, n, &chunk.text, recipients, at).await?;
            return Ok(Stored::default());
        }
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    if is_expired {
        sqlx::query("UPDATE send_chunks SET state = 'expired' WHERE send_id = $1 AND n = $2")
            .bind(send.as_uuid())
            .bind(n)
            .run(db)
            .await?;
        return Ok(Stored::default());
    }
    if !is_started {
        start(db, &BTreeSet::from([send.as_uuid()])).await?;
    }
    match strategy {
        Strategy::Together => materialise_at_once(db, send, n, &content, &recipients, at).await,
        Strategy::Bisect => bisect::materialise_chunk(db, send, n, &content, recipients, at).await,
    }
}

/// Materialises a chunk in one statement. If it may replace notifications, the heads are locked first.
async fn materialise_at_once(
    db: &mut Db<'_>,
    send: SendId,
    n: i32,
    content: &Arc<Content>,
    recipients: &[UserId],
    at: At,
) -> Result<Stored, Failure> {
    let sql = if content.collapse_key.is_some() {
        lock_heads(db, recipients).await?;
        CHUNK_AND_COLLAPSE
    } else {
        CHUNK
    };
    let found = bind_recipients(sql, send, content, recipients, at).bind(n).all(db).await?;
    Ok(stored(&found, content)?)
}

/// Unlocks the chunks before the retry looks for them: a dropped transaction is rolled back only some time later.
async fn roll_back(transaction: Transaction<'_>, failure: Failure) -> Failure {
    if let Err(error) = rollback(transaction).await {
        tracing::debug!(?error, "rollback failed; the transaction ended on its own");
    }
    failure
}

fn recipients(chunk: &PgRow) -> Result<Vec<UserId>, StoreError> {
    let recipients: Vec<String> =
        serde_json::from_str(column(chunk, "recipients")?).map_err(|_| rows::broken("send_chunks.recipients"))?;
    Ok(recipients.into_iter().map(UserId::stored).collect())
}
