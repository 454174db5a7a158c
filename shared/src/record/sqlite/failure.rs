//! What the errors of SQLite mean.

use rusqlite::ErrorCode;

use crate::error::StoreError;

/// Why a statement failed.
#[derive(Debug)]
pub(crate) struct Failure(StoreError);

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        Self(match error {
            rusqlite::Error::SqliteFailure(code, _) => match code.code {
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::SystemIoFailure
                | ErrorCode::DiskFull
                | ErrorCode::CannotOpen => StoreError::Unavailable(text),
                ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch => StoreError::Refused(text),
                _ => StoreError::Broken(text),
            },
            // A broken row is dead-lettered, but a missing column is the fault of the statement.
            rusqlite::Error::InvalidColumnName(name) => unreachable!("the statement does not return {name}"),
            _ => StoreError::Broken(text),
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
