//! A connection while somebody holds it, and what is asked of it: both end in time, whatever the database does. A
//! server that hangs keeps its connections open, and its own time-outs hang with it.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, Postgres};
use tokio::time::Instant;

/// How long an answer is waited for: longer than a server that lives works on any statement.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(6);

/// A connection out of the pool. One that was held for too long hangs: it is closed, since a pool would wait for it.
pub(crate) struct Held {
    connection: PoolConnection<Postgres>,
    since: Instant,
}

impl Held {
    pub(crate) fn new(connection: PoolConnection<Postgres>) -> Self {
        Self { connection, since: Instant::now() }
    }
}

impl Deref for Held {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.since.elapsed() >= ANSWER_TIMEOUT {
            self.connection.close_on_drop();
        }
    }
}

/// Whatever is asked of the database.
pub(crate) trait InTime<T>: Future<Output = Result<T, sqlx::Error>> + Send + Sized {
    /// Its answer; where none comes in time, the error of a connection that ended.
    fn in_time(self) -> impl Future<Output = Result<T, sqlx::Error>> + Send {
        async {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, self).await;
            answer.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
        }
    }
}

impl<T, F: Future<Output = Result<T, sqlx::Error>> + Send> InTime<T> for F {}
