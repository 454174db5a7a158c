//! Rows as they come from Postgres, and what its errors mean.

use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::clock::{At, Time};
use crate::cursor::{Cursor, Epoch};
use crate::error::StoreError;
use crate::ids::{ConnectionId, NotificationId, UserId};
use crate::inbox::notification::{Content, Notification, Priority};
use crate::inbox::{Delivery, Position};
use crate::sockets::connections::Connection;

/// Why a statement did not do what it should.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another was faster; nothing was changed, and it may be tried again at once.
    Lost,
    /// Anything else.
    Failed(StoreError),
}

impl Failure {
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Lost => StoreError::Unavailable("it lost against others again and again".into()),
            Self::Failed(error) => error,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// What a failed read means.
pub(crate) fn read_failed(error: sqlx::Error) -> StoreError {
    match class(&error) {
        Class::Refused | Class::Broken => StoreError::Broken(error.to_string()),
        Class::Lost | Class::Unavailable | Class::Unknown => StoreError::Unavailable(error.to_string()),
    }
}

/// What a failed write means. Where the connection ended, nobody knows whether it was committed.
pub(crate) fn write_failed(error: sqlx::Error) -> Failure {
    match class(&error) {
        Class::Lost => Failure::Lost,
        Class::Unavailable => StoreError::Unavailable(error.to_string()).into(),
        Class::Unknown => StoreError::OutcomeUnknown(error.to_string()).into(),
        Class::Refused => StoreError::Refused(error.to_string()).into(),
        Class::Broken => StoreError::Broken(error.to_string()).into(),
    }
}

/// What it means that there is no connection.
pub(crate) fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

enum Class {
    Lost,
    Unavailable,
    Unknown,
    Refused,
    Broken,
}

fn class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(said) => match said.code().as_deref() {
            // Serialization failure, deadlock: undone, and free to try again.
            Some("40001" | "40P01") => Class::Lost,
            // Lock not available, canceled by a time-out, read-only after a failover: undone.
            Some("55P03" | "57014" | "25006") => Class::Unavailable,
            // Shut down or crashed while it worked.
            Some("57P01" | "57P02") => Class::Unknown,
            Some(code) if ["08", "53", "57", "58", "28", "3D", "42P01"].iter().any(|class| code.starts_with(class)) => {
                Class::Unavailable
            }
            // Twice in one statement, out of range or malformed, against a constraint.
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

/// The first parameter of every statement: null asks for the server's clock.
pub(crate) fn at_ms(at: At) -> Option<i64> {
    match at {
        At::Server => None,
        At::Fixed(at_ms) => Some(at_ms),
    }
}

/// Column of a row, which our own statements name.
pub(crate) fn column<'r, T>(row: &'r PgRow, name: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name).map_err(|error| match error {
        // What is broken may be set aside, and this is no fault of the row.
        sqlx::Error::ColumnNotFound(_) => unreachable!("a statement of ours returns no {name}"),
        error => StoreError::Broken(error.to_string()),
    })
}

/// A column that counts.
pub(crate) fn count(row: &PgRow, name: &str) -> Result<u64, StoreError> {
    u64::try_from(column::<i64>(row, name)?).map_err(|_| broken(name))
}

/// A value that is stored and is not what we store.
pub(crate) fn broken(what: &str) -> StoreError {
    StoreError::Broken(format!("{what} holds what was never written there"))
}

pub(crate) fn epoch(row: &PgRow) -> Result<Epoch, StoreError> {
    Ok(Epoch(column::<i64>(row, "epoch")?.cast_unsigned()))
}

/// Columns: type, title, body, data, action_url, priority, expires_at, collapse_key.
pub(crate) fn content(row: &PgRow) -> Result<Content, StoreError> {
    Ok(Content {
        kind: column(row, "type")?,
        title: column(row, "title")?,
        body: column(row, "body")?,
        data: RawValue::from_string(column(row, "data")?).map_err(|_| broken("sends.data"))?,
        action_url: column(row, "action_url")?,
        priority: Priority::named(column(row, "priority")?).ok_or_else(|| broken("sends.priority"))?,
        expires_at: column::<Option<i64>>(row, "expires_at")?.map(Time),
        collapse_key: column(row, "collapse_key")?,
    })
}

/// A row of `notifications` joined with its send. Further columns: id, offset, created_at, read_at.
pub(crate) fn notification(row: &PgRow, epoch: Epoch) -> Result<Notification, StoreError> {
    Ok(Notification {
        id: NotificationId::from_uuid(column(row, "id")?),
        content: Arc::new(content(row)?),
        cursor: Cursor { epoch, offset: column(row, "offset")? },
        created_at: Time(column(row, "created_at")?),
        read_at: column::<Option<i64>>(row, "read_at")?.map(Time),
    })
}

/// Columns: the id under the given name, user_id, connected_at, token_expires_at. `None` where the id is null, as an
/// outer join leaves it.
pub(crate) fn connection(row: &PgRow, id: &str) -> Result<Option<Connection>, StoreError> {
    let Some(id) = column::<Option<String>>(row, id)? else { return Ok(None) };
    Ok(Some(Connection {
        id: ConnectionId::new(id),
        user: UserId::stored(column(row, "user_id")?),
        connected_at_ms: column(row, "connected_at")?,
        token_expires_at_ms: column(row, "token_expires_at")?,
    }))
}

/// Columns: epoch, head, acked, purged_through, unread, expired.
pub(crate) fn position(row: &PgRow) -> Result<Position, StoreError> {
    Ok(Position {
        epoch: epoch(row)?,
        head: column(row, "head")?,
        acked: column(row, "acked")?,
        purged_through: column(row, "purged_through")?,
        unread: column(row, "unread")?,
        expired: column(row, "expired")?,
    })
}

/// Adds a connection to the delivery that the rows before began, or begins the next one.
pub(crate) fn gather(
    deliveries: &mut Vec<Delivery>,
    connection: Connection,
    begin: impl FnOnce() -> Result<Delivery, StoreError>,
    is_same: impl Fn(&Delivery) -> bool,
) -> Result<(), StoreError> {
    if !deliveries.last().is_some_and(&is_same) {
        deliveries.push(begin()?);
    }
    if let Some(delivery) = deliveries.last_mut() {
        delivery.connections.push(connection);
    }
    Ok(())
}
