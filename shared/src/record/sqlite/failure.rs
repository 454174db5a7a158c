//! What the errors of SQLite mean.

use crate::error::StoreError;

/// Why a statement failed.
#[derive(Debug)]
pub(crate) struct Failure(StoreError);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self(match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                StoreError::Unavailable(error.to_string())
            }
            sqlx::Error::Database(ref database) => match database.code().and_then(|code| code.parse::<u32>().ok()) {
                // Primary result codes: 5 busy, 10 input or output, 13 full; 19 constraint, 20 type mismatch.
                Some(code) if [5, 10, 13].contains(&(code & 0xff)) => StoreError::Unavailable(error.to_string()),
                Some(code) if [19, 20].contains(&(code & 0xff)) => StoreError::Refused(error.to_string()),
                _ => StoreError::Broken(error.to_string()),
            },
            // A broken row is dead-lettered, but a missing column is the fault of the statement.
            sqlx::Error::ColumnNotFound(name) => unreachable!("the statement does not return {name}"),
            other => StoreError::Broken(other.to_string()),
        })
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self(error)
    }
}

impl From<Failure> for StoreError {
    fn from(Failure(error): Failure) -> Self {
        error
    }
}

impl Failure {
    /// What it means for the caller of the store.
    pub(crate) fn error(&self) -> &StoreError {
        &self.0
    }
}

/// A stored value that this program never writes.
pub(crate) fn broken(what: &str) -> Failure {
    Failure(StoreError::Broken(format!("{what} has a value that is never written there")))
}
