//! Reading rows of Postgres.

use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::postgres::PgRow;

use crate::clock::{At, Time};
use crate::cursor::{Cursor, Epoch};
use crate::delivery::Delivery;
use crate::error::StoreError;
use crate::ids::{ConnectionId, NotificationId, UserId};
use crate::inbox::Position;
use crate::inbox::notification::{Channels, Content, Notification, Priority};
use crate::sockets::connections::Connection;
use crate::telemetry::trace::TraceParent;

/// $1 of most statements: null means the server's clock.
pub(crate) fn at_ms(at: At) -> Option<i64> {
    match at {
        At::Server => None,
        At::Fixed(at_ms) => Some(at_ms),
    }
}

/// A column of a row. Panics if the statement does not return it.
pub(crate) fn column<'r, T>(row: &'r PgRow, name: &str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name).map_err(|error| match error {
        // A broken row is dead-lettered, but a missing column is the fault of the statement.
        sqlx::Error::ColumnNotFound(_) => unreachable!("the statement does not return {name}"),
        error => StoreError::Broken(error.to_string()),
    })
}

/// A column that is a count.
pub(crate) fn count(row: &PgRow, name: &str) -> Result<u64, StoreError> {
    u64::try_from(column::<i64>(row, name)?).map_err(|_| broken(name))
}

/// A stored value that this program never writes.
pub(crate) fn broken(what: &str) -> StoreError {
    StoreError::Broken(format!("{what} has a value that is never written there"))
}

pub(crate) fn epoch(row: &PgRow) -> Result<Epoch, StoreError> {
    Ok(Epoch(column::<i64>(row, "epoch")?.cast_unsigned()))
}

/// Columns: type, title, body, data, action_url, priority, expires_at, collapse_key, channels, digest_ms, traceparent.
pub(crate) fn content(row: &PgRow) -> Result<Content, StoreError> {
    Ok(Content {
        kind: column(row, "type")?,
        title: column(row, "title")?,
        body: column(row, "body")?,
        data: RawValue::from_string(column(row, "data")?).map_err(|_| broken("sends.data"))?,
        action_url: column(row, "action_url")?,
        priority: Priority::from_name(column(row, "priority")?).ok_or_else(|| broken("sends.priority"))?,
        expires_at: column::<Option<i64>>(row, "expires_at")?.map(Time),
        collapse_key: column(row, "collapse_key")?,
        channels: Channels::stored(column(row, "channels")?),
        digest_ms: column(row, "digest_ms")?,
        trace: trace(row)?,
    })
}

/// Column: traceparent.
pub(crate) fn trace(row: &PgRow) -> Result<Option<TraceParent>, StoreError> {
    Ok(column::<Option<&str>>(row, "traceparent")?.and_then(TraceParent::parse))
}

/// A row of `notifications` joined with its send. Columns: those of [`content`], and id, offset, created_at, read_at,
/// silent.
pub(crate) fn notification(row: &PgRow, epoch: Epoch) -> Result<Notification, StoreError> {
    Ok(Notification {
        id: NotificationId::from_uuid(column(row, "id")?),
        content: Arc::new(content(row)?),
        cursor: Cursor { epoch, offset: column(row, "offset")? },
        created_at: Time(column(row, "created_at")?),
        read_at: column::<Option<i64>>(row, "read_at")?.map(Time),
        silent: column::<Option<bool>>(row, "silent")?.unwrap_or(false),
    })
}

/// Columns: the id under the given name, user_id, connected_at, token_expires_at. `None` if the id is null, as in an
/// outer join without a match.
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

/// Adds a connection to the last delivery, or to a new one if that is not the connection's. The rows of one delivery
/// must be adjacent.
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

/// Users as a JSON list.
pub(crate) fn json_list(users: &[UserId]) -> String {
    serde_json::to_string(users).expect("a list of strings is JSON")
}

/// A number of rows as a parameter.
pub(crate) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
