//! Statements with a timeout. A server that hangs keeps its connections open, and its own timeouts hang with it, so
//! every wait for Postgres is limited here.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgRow, Postgres};
use sqlx::query::Query;
use sqlx::{Connection, Transaction};
use tokio::time::Instant;

use super::failure::Failure;

/// How long to wait for an answer: longer than a working server takes for any statement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// A pooled connection. One that was held for too long is taken to hang: it is closed instead of being returned, since
/// the pool would wait for it.
pub(crate) struct GuardedConnection {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl GuardedConnection {
    pub(crate) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection, since: Instant::now() }
    }
}

impl Deref for GuardedConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for GuardedConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for GuardedConnection {
    fn drop(&mut self) {
        if self.since.elapsed() >= ANSWER_TIMEOUT {
            self.connection.close_on_drop();
        }
    }
}

/// Waits for the answer of the database. Without one in time, fails as if the connection had ended.
pub(crate) async fn with_timeout<T>(answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, answer).await;
    answer.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Begins a transaction.
pub(crate) async fn begin(db: &mut PgConnection) -> Result<Transaction<'_, Postgres>, Failure> {
    with_timeout(db.begin()).await.map_err(Failure::of_write)
}

/// Commits a transaction.
pub(crate) async fn commit(transaction: Transaction<'_, Postgres>) -> Result<(), Failure> {
    with_timeout(transaction.commit()).await.map_err(Failure::of_write)
}

/// Rolls a transaction back.
pub(crate) async fn rollback(transaction: Transaction<'_, Postgres>) -> Result<(), Failure> {
    with_timeout(transaction.rollback()).await.map_err(Failure::of_write)
}

/// Running a statement, with the timeout inside. The first four write: if the connection ends, their outcome is
/// unknown. The `read_` twins change nothing, so their failure leaves nothing unknown.
pub(crate) trait Run: Sized {
    /// All rows.
    fn all(self, db: &mut PgConnection) -> impl Future<Output = Result<Vec<PgRow>, Failure>> + Send;
    /// The only row.
    fn one(self, db: &mut PgConnection) -> impl Future<Output = Result<PgRow, Failure>> + Send;
    /// The only row, if there is one.
    fn optional(self, db: &mut PgConnection) -> impl Future<Output = Result<Option<PgRow>, Failure>> + Send;
    /// How many rows it affected.
    fn run(self, db: &mut PgConnection) -> impl Future<Output = Result<usize, Failure>> + Send;
    /// All rows of a read.
    fn read_all(self, db: &mut PgConnection) -> impl Future<Output = Result<Vec<PgRow>, Failure>> + Send;
    /// The only row of a read.
    fn read_one(self, db: &mut PgConnection) -> impl Future<Output = Result<PgRow, Failure>> + Send;
    /// The only row of a read, if there is one.
    fn read_optional(self, db: &mut PgConnection) -> impl Future<Output = Result<Option<PgRow>, Failure>> + Send;
}

impl Run for Query<'_, Postgres, PgArguments> {
    async fn all(self, db: &mut PgConnection) -> Result<Vec<PgRow>, Failure> {
        with_timeout(self.fetch_all(db)).await.map_err(Failure::of_write)
    }

    async fn one(self, db: &mut PgConnection) -> Result<PgRow, Failure> {
        with_timeout(self.fetch_one(db)).await.map_err(Failure::of_write)
    }

    async fn optional(self, db: &mut PgConnection) -> Result<Option<PgRow>, Failure> {
        with_timeout(self.fetch_optional(db)).await.map_err(Failure::of_write)
    }

    async fn run(self, db: &mut PgConnection) -> Result<usize, Failure> {
        let done = with_timeout(self.execute(db)).await.map_err(Failure::of_write)?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    async fn read_all(self, db: &mut PgConnection) -> Result<Vec<PgRow>, Failure> {
        with_timeout(self.fetch_all(db)).await.map_err(Failure::of_read)
    }

    async fn read_one(self, db: &mut PgConnection) -> Result<PgRow, Failure> {
        with_timeout(self.fetch_one(db)).await.map_err(Failure::of_read)
    }

    async fn read_optional(self, db: &mut PgConnection) -> Result<Option<PgRow>, Failure> {
        with_timeout(self.fetch_optional(db)).await.map_err(Failure::of_read)
    }
}
