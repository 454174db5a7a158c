//! Connections that read, beside the one that writes and beside each other.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::connection::connect;
use super::failure::Failure;
use super::statement::execute;
use crate::error::StoreError;

/// How many acts read at the same time.
const MAX_READERS: usize = 4;
/// How long an act waits for a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections to one file, which are opened when they are first needed.
#[derive(Debug)]
pub(super) struct Readers {
    file: Arc<Path>,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(file: &Path) -> Self {
        Self { file: file.into(), idle: Arc::default(), permits: Arc::new(Semaphore::new(MAX_READERS)) }
    }

    /// Runs an act that sees one snapshot of the database, in a thread that may block.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let unavailable = |why: &str| Failure::from(StoreError::Unavailable(why.into()));
        let permit = timeout(CONNECTION_TIMEOUT, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Overloaded("all connections are in use".into()))?
            .map_err(|_| unavailable("the record is closed"))?;
        let (file, idle) = (Arc::clone(&self.file), Arc::clone(&self.idle));
        let read = tokio::task::spawn_blocking(move || {
            let known = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match known {
                Some(connection) => connection,
                None => connect(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
            };
            let read = in_snapshot(&connection, act);
            // After a failure it may still be in its transaction, and would see the same snapshot again.
            if connection.is_autocommit() || execute(&connection, "ROLLBACK", []).is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            drop(permit);
            read
        });
        match read.await {
            Ok(read) => read,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => Err(unavailable("the process ends")),
            },
        }
    }

    /// Returns once all acts have ended and all connections are closed. Later acts fail.
    pub(super) async fn close(&self) {
        let all = u32::try_from(MAX_READERS).unwrap_or(u32::MAX);
        // An error means that it was closed before.
        if let Ok(_permits) = self.permits.acquire_many(all).await {
            self.permits.close();
        }
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn in_snapshot<T>(db: &Connection, act: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
    execute(db, "BEGIN", [])?;
    let read = act(db)?;
    execute(db, "COMMIT", [])?;
    Ok(read)
}
