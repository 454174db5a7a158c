//! Statements with a timeout, on whatever stands between this process and Postgres. A server that hangs keeps its
//! connections open, and its own timeouts hang with it, so every wait for Postgres is limited here.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::Connection;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::query::Query;
use tokio::time::Instant;
use tracing::Span;

use super::failure::Failure;
use crate::config::Pooler;
use crate::telemetry::invocation::wait_for;
use crate::telemetry::waits::Place;

/// How long to wait for an answer: longer than a working server takes for any statement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);
/// Begins a transaction whose timeouts end with it, in one round trip.
const BEGIN_LIMITED: &str = "BEGIN; SET LOCAL statement_timeout = 5000; SET LOCAL lock_timeout = 3000; \
                             SET LOCAL idle_in_transaction_session_timeout = 5000";

/// How statements run on a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mode {
    /// With [`Pooler::Transaction`], statements are unnamed, and each runs in a transaction: its preparation and its
    /// execution are two requests, between which the pooler could hand the connection to another client, and the
    /// statement of that client would be executed.
    pub(crate) pooler: Pooler,
    /// Whether transactions set their own timeouts, since the role has none. A frozen function would otherwise keep
    /// what it has locked for as long as it is frozen.
    pub(crate) sets_timeouts: bool,
}

/// A connection, or a transaction on one, on which statements run.
pub(crate) struct Session<C: ?Sized> {
    mode: Mode,
    connection: C,
}

/// Any [`Session`]. Every statement runs on one of these.
pub(crate) type Db<'a> = Session<dyn DerefMut<Target = PgConnection> + Send + 'a>;

/// A pooled connection. One that was held for too long is taken to hang: it is closed instead of being returned, since
/// the pool would wait for it.
pub(crate) struct GuardedConnection {
    session: Session<PoolConnection<Postgres>>,
    since: Instant,
    /// The span of all statements on it.
    _acting: Span,
}

impl GuardedConnection {
    pub(crate) fn new(connection: PoolConnection<Postgres>, mode: Mode, acting: Span) -> Self {
        Self { session: Session { mode, connection }, since: Instant::now(), _acting: acting }
    }
}

impl Deref for GuardedConnection {
    type Target = Db<'static>;

    fn deref(&self) -> &Db<'static> {
        &self.session
    }
}

impl DerefMut for GuardedConnection {
    fn deref_mut(&mut self) -> &mut Db<'static> {
        &mut self.session
    }
}

impl Drop for GuardedConnection {
    fn drop(&mut self) {
        if self.since.elapsed() >= ANSWER_TIMEOUT {
            self.session.connection.close_on_drop();
        }
    }
}

/// A transaction, or a savepoint in one. Rolled back if it is dropped.
pub(crate) struct Transaction<'a> {
    session: Session<sqlx::Transaction<'a, Postgres>>,
}

impl<'a> Deref for Transaction<'a> {
    type Target = Db<'a>;

    fn deref(&self) -> &Db<'a> {
        &self.session
    }
}

impl<'a> DerefMut for Transaction<'a> {
    fn deref_mut(&mut self) -> &mut Db<'a> {
        &mut self.session
    }
}

/// Waits for the answer of the database. Without one in time, fails as if the connection had ended.
pub(crate) async fn with_timeout<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let _waiting = wait_for(Place::Record);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// As [`with_timeout`], for an operator's act that takes longer than any call.
pub(crate) async fn with_long_timeout<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let _waiting = wait_for(Place::Record);
    let answer = tokio::time::timeout(limit, answer).await;
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Begins a transaction, or a savepoint in the current one. A failure leaves nothing unknown.
pub(crate) async fn begin<'a>(db: &'a mut Db<'_>) -> Result<Transaction<'a>, Failure> {
    let (mode, connection) = (db.mode, &mut *db.connection);
    let sets_timeouts = mode.sets_timeouts && !connection.is_in_transaction();
    let begun = if sets_timeouts {
        with_timeout(connection.begin_with(BEGIN_LIMITED)).await
    } else {
        with_timeout(connection.begin()).await
    };
    let connection = begun.map_err(Failure::of_read)?;
    Ok(Transaction { session: Session { mode, connection } })
}

/// Commits a transaction.
pub(crate) async fn commit(transaction: Transaction<'_>) -> Result<(), Failure> {
    with_timeout(transaction.session.connection.commit()).await.map_err(Failure::of_write)
}

/// Rolls a transaction back.
pub(crate) async fn rollback(transaction: Transaction<'_>) -> Result<(), Failure> {
    with_timeout(transaction.session.connection.rollback()).await.map_err(Failure::of_write)
}

/// Running a statement, with the timeout inside. The first four write: if the connection ends, their outcome is
/// unknown. The `read_` twins change nothing, so their failure leaves nothing unknown.
pub(crate) trait Run: Sized {
    /// All rows.
    fn all(self, db: &mut Db<'_>) -> impl Future<Output = Result<Vec<PgRow>, Failure>> + Send;
    /// The only row.
    fn one(self, db: &mut Db<'_>) -> impl Future<Output = Result<PgRow, Failure>> + Send;
    /// The only row, if there is one.
    fn optional(self, db: &mut Db<'_>) -> impl Future<Output = Result<Option<PgRow>, Failure>> + Send;
    /// How many rows it affected.
    fn run(self, db: &mut Db<'_>) -> impl Future<Output = Result<usize, Failure>> + Send;
    /// All rows of a read.
    fn read_all(self, db: &mut Db<'_>) -> impl Future<Output = Result<Vec<PgRow>, Failure>> + Send;
    /// The only row of a read.
    fn read_one(self, db: &mut Db<'_>) -> impl Future<Output = Result<PgRow, Failure>> + Send;
    /// The only row of a read, if there is one.
    fn read_optional(self, db: &mut Db<'_>) -> impl Future<Output = Result<Option<PgRow>, Failure>> + Send;
}

/// Runs a query in one of its ways. Behind a pooler that needs it, in a transaction of its own.
macro_rules! run {
    ($this:expr, $db:expr, $failure:path, |$query:ident, $connection:ident| $answer:expr) => {{
        let (query, db) = ($this, $db);
        match db.mode.pooler {
            Pooler::None => {
                let ($query, $connection) = (query, &mut *db.connection);
                $answer.await.map_err($failure)
            }
            Pooler::Transaction if db.connection.is_in_transaction() => {
                let ($query, $connection) = (query.persistent(false), &mut *db.connection);
                $answer.await.map_err($failure)
            }
            Pooler::Transaction => {
                let mut transaction = begin(db).await?.session.connection;
                let ($query, $connection) = (query.persistent(false), &mut *transaction);
                match $answer.await {
                    Ok(answer) => with_timeout(transaction.commit()).await.map(|()| answer).map_err($failure),
                    Err(error) => {
                        // A function that is frozen after its answer could not end it. Without an answer of the
                        // database the connection is of no more use.
                        if matches!(error, sqlx::Error::Database(_)) {
                            let _ = with_timeout(transaction.rollback()).await;
                        }
                        Err($failure(error))
                    }
                }
            }
        }
    }};
}

impl Run for Query<'_, Postgres, PgArguments> {
    async fn all(self, db: &mut Db<'_>) -> Result<Vec<PgRow>, Failure> {
        run!(self, db, Failure::of_write, |query, connection| with_timeout(query.fetch_all(connection)))
    }

    async fn one(self, db: &mut Db<'_>) -> Result<PgRow, Failure> {
        run!(self, db, Failure::of_write, |query, connection| with_timeout(query.fetch_one(connection)))
    }

    async fn optional(self, db: &mut Db<'_>) -> Result<Option<PgRow>, Failure> {
        run!(self, db, Failure::of_write, |query, connection| with_timeout(query.fetch_optional(connection)))
    }

    async fn run(self, db: &mut Db<'_>) -> Result<usize, Failure> {
        let done = run!(self, db, Failure::of_write, |query, connection| with_timeout(query.execute(connection)))?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn read_all(self, db: &mut Db<'_>) -> Result<Vec<PgRow>, Failure> {
        run!(self, db, Failure::of_read, |query, connection| with_timeout(query.fetch_all(connection)))
    }

    async fn read_one(self, db: &mut Db<'_>) -> Result<PgRow, Failure> {
        run!(self, db, Failure::of_read, |query, connection| with_timeout(query.fetch_one(connection)))
    }

    async fn read_optional(self, db: &mut Db<'_>) -> Result<Option<PgRow>, Failure> {
        run!(self, db, Failure::of_read, |query, connection| with_timeout(query.fetch_optional(connection)))
    }
}
