//! Materialising chunks that are due, in Postgres: several in one statement where nothing about them is special, and
//! otherwise one by itself.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection as _, Postgres, Transaction};
use uuid::Uuid;

use crate::clock::At;
use crate::delivery::deliveries::{Materialised, together};
use crate::error::StoreError;
use crate::ids::{NotificationId, SendId, UserId};
use crate::inbox::notification::Content;
use crate::inbox::{Delivery, PUSH_GRACE_MS};
use crate::record::postgres::delivery::bisect;
use crate::record::postgres::inbox::{deliveries, lock_heads, materialising};
use crate::record::postgres::rows::{self, Failure, at_ms, column};
use crate::record::postgres::timeout::InTime;
use crate::record::postgres::{PostgresRecord, repeated};

const CHUNK: &str = concat!(include_str!("chunk.sql"), include_str!("materialise.sql"));
const CHUNK_AND_COLLAPSE: &str = concat!(include_str!("chunk.sql"), include_str!("collapse.sql"));

/// How a chunk is materialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strategy {
    /// In one statement, which fails where one of its recipients does not go.
    Together,
    /// So that nobody holds up the others.
    Bisect,
}

/// A chunk that this transaction holds.
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

    /// Who gets a row of it and what it says, where nothing about it is special.
    fn plain(&self) -> Option<(&[UserId], &Arc<Content>)> {
        let (recipients, content) = (self.recipients.as_ref().ok()?, self.content.as_ref().ok()?);
        let is_special = self.is_cancelled || self.is_expired || content.collapse_key.is_some();
        (!is_special).then_some((recipients.as_slice(), content))
    }
}

impl PostgresRecord {
    pub(crate) async fn materialise_due(&self, limit: usize, at: At) -> Result<Materialised, StoreError> {
        match repeated!(self.try_materialise(limit, Strategy::Together, at)) {
            // Something in a chunk does not go: which, is found out with more statements, one chunk after the other.
            Err(StoreError::Refused(_) | StoreError::Broken(_)) => {
                repeated!(self.try_materialise(1, Strategy::Bisect, at))
            }
            other => other,
        }
    }

    async fn try_materialise(&self, limit: usize, way: Strategy, at: At) -> Result<Materialised, Failure> {
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().in_time().await.map_err(rows::write_failed)?;
        let mut chunks = hold(&mut transaction, limit, at).await?;
        while let Some(cancelled) = chunks.first().filter(|chunk| chunk.is_cancelled) {
            // Whoever cancels takes the chunks with it, so this was done by hand. It must not come again.
            pass_over(&mut transaction, cancelled.send).await?;
            chunks = hold(&mut transaction, limit, at).await?;
        }
        if chunks.is_empty() {
            transaction.commit().in_time().await.map_err(rows::write_failed)?;
            return Ok(Materialised::default());
        }
        let count = together(chunks.iter().map(|chunk| chunk.plain().map(|(recipients, _)| recipients.len()))).max(1);
        chunks.truncate(count);
        let done = if count > 1 {
            materialise_together(&mut transaction, &chunks, at).await
        } else {
            materialise_alone(&mut transaction, chunks.remove(0), way, at).await
        };
        match done {
            Ok(deliveries) => {
                transaction.commit().in_time().await.map_err(rows::write_failed)?;
                Ok(Materialised { chunks: count, deliveries })
            }
            Err(failure) => Err(let_go(transaction, failure).await),
        }
    }
}

/// The chunks that are due first, and that nobody else holds. They are held until the transaction ends.
async fn hold(db: &mut PgConnection, limit: usize, at: At) -> Result<Vec<Chunk>, Failure> {
    let found = sqlx::query(
        "WITH clock AS MATERIALIZED (
             SELECT coalesce($1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS now_ms
         )
         SELECT c.send_id, c.n, c.recipients, s.state, s.type, s.title, s.body, s.data, s.action_url, s.priority,
                s.expires_at, s.collapse_key, coalesce(s.expires_at <= (SELECT now_ms FROM clock), false) AS is_expired
           FROM send_chunks c JOIN sends s ON s.id = c.send_id
          WHERE c.state = 'waiting' AND c.due_at <= (SELECT now_ms FROM clock)
          ORDER BY c.due_at, c.send_id, c.n LIMIT $2
            FOR UPDATE OF c SKIP LOCKED",
    )
    .bind(at_ms(at))
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(db)
    .in_time()
    .await
    .map_err(rows::write_failed)?;
    found.iter().map(|row| Ok(Chunk::read(row)?)).collect()
}

/// Settles what waits of a send that was cancelled.
async fn pass_over(db: &mut PgConnection, send: SendId) -> Result<(), Failure> {
    sqlx::query("UPDATE send_chunks SET state = 'cancelled' WHERE send_id = $1 AND state = 'waiting'")
        .bind(send.as_uuid())
        .execute(db)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
    Ok(())
}

/// Starts sends, as far as they are not cancelled: what has started stays so, and needs no lock, so that its chunks do
/// not wait for each other. Those that wait for others do so in one order.
async fn start(db: &mut PgConnection, sends: &BTreeSet<Uuid>) -> Result<(), Failure> {
    if sends.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = sends.iter().copied().collect();
    let started = sqlx::query(
        "WITH found AS MATERIALIZED (
             SELECT id FROM sends WHERE id = ANY($1) AND state <> 'cancelled' ORDER BY id FOR NO KEY UPDATE
         )
         UPDATE sends SET state = 'started' FROM found WHERE sends.id = found.id",
    )
    .bind(ids)
    .execute(db)
    .in_time()
    .await
    .map_err(rows::write_failed)?;
    // One was cancelled meanwhile: whoever looks again finds it so.
    if started.rows_affected() < sends.len() as u64 { Err(Failure::Lost) } else { Ok(()) }
}

/// Materialises plain chunks in one statement.
async fn materialise_together(db: &mut PgConnection, chunks: &[Chunk], at: At) -> Result<Vec<Delivery>, Failure> {
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
    let found = sqlx::query(include_str!("chunks.sql"))
        .bind(at_ms(at))
        .bind(users)
        .bind(ids)
        .bind(sends)
        .bind(PUSH_GRACE_MS)
        .bind(chunk_sends)
        .bind(numbers)
        .fetch_all(db)
        .in_time()
        .await
        .map_err(rows::write_failed)?;
    let content = |row: &PgRow| {
        let send: Uuid = column(row, "send_id")?;
        contents.get(&send).map(|content| Arc::clone(content)).ok_or_else(|| rows::broken("notifications.send_id"))
    };
    Ok(deliveries(&found, content)?)
}

/// Materialises a chunk by itself.
async fn materialise_alone(
    db: &mut PgConnection,
    chunk: Chunk,
    way: Strategy,
    at: At,
) -> Result<Vec<Delivery>, Failure> {
    let Chunk { send, n, is_started, is_expired, .. } = chunk;
    let (recipients, content) = match (chunk.recipients, chunk.content) {
        (Ok(recipients), Ok(content)) => (recipients, content),
        (recipients, _) if way == Strategy::Bisect => {
            let recipients = recipients.map_or(1, |recipients| recipients.len());
            bisect::dead_letter_chunk(db, send, n, &chunk.text, recipients, at).await?;
            return Ok(Vec::new());
        }
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    if is_expired {
        sqlx::query("UPDATE send_chunks SET state = 'expired' WHERE send_id = $1 AND n = $2")
            .bind(send.as_uuid())
            .bind(n)
            .execute(db)
            .in_time()
            .await
            .map_err(rows::write_failed)?;
        return Ok(Vec::new());
    }
    if !is_started {
        start(db, &BTreeSet::from([send.as_uuid()])).await?;
    }
    match way {
        Strategy::Together => materialise_at_once(db, send, n, &content, &recipients, at).await,
        Strategy::Bisect => bisect::materialise_chunk(db, send, n, &content, recipients, at).await,
    }
}

/// Materialises a chunk in one statement, before which the heads are locked where something may be replaced.
async fn materialise_at_once(
    db: &mut PgConnection,
    send: SendId,
    n: i32,
    content: &Arc<Content>,
    recipients: &[UserId],
    at: At,
) -> Result<Vec<Delivery>, Failure> {
    let sql = if content.collapse_key.is_some() {
        lock_heads(db, recipients).await?;
        CHUNK_AND_COLLAPSE
    } else {
        CHUNK
    };
    let found = materialising(sql, send, content, recipients, at).bind(n).fetch_all(db).in_time().await;
    Ok(deliveries(&found.map_err(rows::write_failed)?, |_| Ok(Arc::clone(content)))?)
}

/// Lets go of the chunks before somebody looks for them again: a transaction that is dropped ends a little later.
async fn let_go(transaction: Transaction<'_, Postgres>, failure: Failure) -> Failure {
    if let Err(error) = transaction.rollback().in_time().await {
        tracing::debug!(%error, "it has ended by itself");
    }
    failure
}

fn recipients(chunk: &PgRow) -> Result<Vec<UserId>, StoreError> {
    let recipients: Vec<String> =
        serde_json::from_str(column(chunk, "recipients")?).map_err(|_| rows::broken("send_chunks.recipients"))?;
    Ok(recipients.into_iter().map(UserId::stored).collect())
}
