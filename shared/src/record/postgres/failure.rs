//! What the errors of Postgres mean.

use crate::error::StoreError;

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It lost against a concurrent one: nothing has changed, and it may be retried at once.
    Lost,
    /// It violated a unique constraint: nothing has changed.
    Duplicate(String),
    /// Anything else.
    Failed(StoreError),
}

impl Failure {
    /// A failed read. It changed nothing, so its outcome is never unknown.
    pub(crate) fn of_read(error: sqlx::Error) -> Self {
        Self::Failed(match class(&error) {
            Class::Duplicate | Class::Refused | Class::Broken => StoreError::Broken(error.to_string()),
            Class::Lost | Class::Unavailable | Class::Unknown => StoreError::Unavailable(error.to_string()),
        })
    }

    /// A failed write. If the connection ended, it may have been committed or not.
    pub(crate) fn of_write(error: sqlx::Error) -> Self {
        match class(&error) {
            Class::Lost => Self::Lost,
            Class::Duplicate => Self::Duplicate(error.to_string()),
            Class::Unavailable => Self::Failed(StoreError::Unavailable(error.to_string())),
            Class::Unknown => Self::Failed(StoreError::OutcomeUnknown(error.to_string())),
            Class::Refused => Self::Failed(StoreError::Refused(error.to_string())),
            Class::Broken => Self::Failed(StoreError::Broken(error.to_string())),
        }
    }

    /// The database works, and there is no connection for this call.
    pub(crate) fn overloaded(error: sqlx::Error) -> Self {
        Self::Failed(StoreError::Overloaded(error.to_string()))
    }

    /// There is no connection.
    pub(crate) fn unavailable(error: sqlx::Error) -> Self {
        Self::Failed(StoreError::Unavailable(error.to_string()))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost => Self::Unavailable("every attempt lost against a concurrent statement".into()),
            Failure::Duplicate(error) => Self::Refused(error),
            Failure::Failed(error) => error,
        }
    }
}

enum Class {
    Lost,
    Unavailable,
    Unknown,
    Duplicate,
    Refused,
    Broken,
}

fn class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(database) => match database.code().as_deref() {
            // Serialization failure, deadlock: rolled back, and may be retried at once.
            Some("40001" | "40P01") => Class::Lost,
            // Lock not available, cancelled by a timeout, read-only after a failover: rolled back.
            Some("55P03" | "57014" | "25006") => Class::Unavailable,
            // The server was shut down or crashed during the statement.
            Some("57P01" | "57P02") => Class::Unknown,
            // A pooler lost its connection to the server during the statement.
            Some(code) if code.starts_with("08") => Class::Unknown,
            Some("23505") => Class::Duplicate,
            Some(code) if ["53", "57", "58", "28", "3D", "42P01"].iter().any(|class| code.starts_with(class)) => {
                Class::Unavailable
            }
            // The same row twice in one statement; a value that is out of range or malformed; a violated constraint.
            Some(code) if ["21", "22", "23"].iter().any(|class| code.starts_with(class)) => Class::Refused,
            _ => Class::Broken,
        },
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Configuration(_) => Class::Unavailable,
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            Class::Unknown
        }
        _ => Class::Broken,
    }
}
