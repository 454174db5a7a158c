//! Rows as they come from SQLite, and the reads that several acts share.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Connected;
use crate::clock::Time;
use crate::cursor::{Cursor, Epoch};
use crate::error::StoreError;
use crate::ids::{ConnectionId, NotificationId, UserId};
use crate::inbox::Position;
use crate::inbox::notification::{Content, Notification, Priority};
use crate::sockets::connections::Connection;

/// What a failed statement means for whoever asked.
pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable(error.to_string())
        }
        sqlx::Error::Database(ref said) => match said.code().and_then(|code| code.parse::<u32>().ok()) {
            // Its primary codes: 5 busy, 10 input or output, 13 full; 19 against a constraint, 20 of another type.
            Some(code) if [5, 10, 13].contains(&(code & 0xff)) => StoreError::Unavailable(error.to_string()),
            Some(code) if [19, 20].contains(&(code & 0xff)) => StoreError::Refused(error.to_string()),
            _ => StoreError::Broken(error.to_string()),
        },
        // What is broken may be set aside, and this is no fault of the row.
        sqlx::Error::ColumnNotFound(name) => unreachable!("a statement of ours returns no {name}"),
        other => StoreError::Broken(other.to_string()),
    }
}

/// A value that is stored and is not what we store.
pub(crate) fn broken(what: &str) -> StoreError {
    StoreError::Broken(format!("{what} holds what was never written there"))
}

/// A column that counts.
pub(crate) fn count(row: &SqliteRow, name: &str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(name).map_err(failed)?).map_err(|_| broken(name))
}

/// A list as the JSON text that `json_each` takes apart.
pub(crate) fn json_list<T: serde::Serialize>(items: &[T]) -> String {
    // Strings and numbers always serialise.
    serde_json::to_string(items).expect("a list of strings and numbers is JSON")
}

/// Ids as a JSON list of hexadecimal strings, for `unhex`.
pub(crate) fn hex_list(ids: &[NotificationId]) -> String {
    let hex: Vec<String> = ids.iter().map(hex).collect();
    json_list(&hex)
}

/// An id as 32 hexadecimal digits.
pub(crate) fn hex(id: &NotificationId) -> String {
    id.to_string().replace('-', "")
}

/// What a row of `sends` says. Columns: type, title, body, data, action_url, priority, expires_at, collapse_key.
pub(crate) fn content(row: &SqliteRow) -> Result<Content, StoreError> {
    let data: String = row.try_get("data").map_err(failed)?;
    let priority: &str = row.try_get("priority").map_err(failed)?;
    Ok(Content {
        kind: row.try_get("type").map_err(failed)?,
        title: row.try_get("title").map_err(failed)?,
        body: row.try_get("body").map_err(failed)?,
        data: RawValue::from_string(data).map_err(|_| broken("sends.data"))?,
        action_url: row.try_get("action_url").map_err(failed)?,
        priority: Priority::named(priority).ok_or_else(|| broken("sends.priority"))?,
        expires_at: row.try_get::<Option<i64>, _>("expires_at").map_err(failed)?.map(Time),
        collapse_key: row.try_get("collapse_key").map_err(failed)?,
    })
}

/// A row of `notifications` joined with its send. Further columns: id, offset, created_at, read_at.
pub(crate) fn notification(row: &SqliteRow, epoch: Epoch) -> Result<Notification, StoreError> {
    Ok(Notification {
        id: notification_id(row)?,
        content: Arc::new(content(row)?),
        cursor: Cursor { epoch, offset: row.try_get("offset").map_err(failed)? },
        created_at: Time(row.try_get("created_at").map_err(failed)?),
        read_at: row.try_get::<Option<i64>, _>("read_at").map_err(failed)?.map(Time),
    })
}

/// Column: id.
pub(crate) fn notification_id(row: &SqliteRow) -> Result<NotificationId, StoreError> {
    let id: &[u8] = row.try_get("id").map_err(failed)?;
    NotificationId::from_bytes(id).ok_or_else(|| broken("notifications.id"))
}

/// Columns: id, user_id, connected_at, token_expires_at.
pub(crate) fn connection(row: &SqliteRow) -> Result<Connection, StoreError> {
    Ok(Connection {
        id: ConnectionId::new(row.try_get::<String, _>("id").map_err(failed)?),
        user: UserId::stored(row.try_get("user_id").map_err(failed)?),
        connected_at_ms: row.try_get("connected_at").map_err(failed)?,
        token_expires_at_ms: row.try_get("token_expires_at").map_err(failed)?,
    })
}

/// Where an inbox stands. What has expired is gone, though no tombstone yet.
pub(crate) async fn position(db: &mut Connected, user: &UserId, now_ms: i64) -> Result<Position, StoreError> {
    let row = sqlx::query(
        "SELECT coalesce(i.epoch, e.epoch) AS epoch, coalesce(i.head, 0) AS head, coalesce(i.acked, 0) AS acked,
                coalesce(i.purged_through, 0) AS purged_through, coalesce(i.unread, 0) - gone.unread AS unread,
                gone.expired
           FROM epoch e LEFT JOIN inboxes i ON i.user_id = ?1,
                (SELECT count(*) AS expired, count(*) FILTER (WHERE read_at IS NULL) AS unread FROM notifications
                  WHERE user_id = ?1 AND deleted_at IS NULL AND expires_at <= ?2) AS gone",
    )
    .bind(user.as_str())
    .bind(now_ms)
    .fetch_one(db)
    .await
    .map_err(failed)?;
    Ok(Position {
        epoch: Epoch(row.try_get::<i64, _>("epoch").map_err(failed)?.cast_unsigned()),
        head: row.try_get("head").map_err(failed)?,
        acked: row.try_get("acked").map_err(failed)?,
        purged_through: row.try_get("purged_through").map_err(failed)?,
        unread: row.try_get("unread").map_err(failed)?,
        expired: row.try_get("expired").map_err(failed)?,
    })
}

/// The connections of these users whose token has not ended, oldest first. `users`: a JSON list.
pub(crate) async fn connections_of(
    db: &mut Connected,
    users: &str,
    now_ms: i64,
) -> Result<HashMap<UserId, Vec<Connection>>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, user_id, connected_at, token_expires_at FROM connections
          WHERE user_id IN (SELECT value FROM json_each(?1)) AND token_expires_at > ?2
          ORDER BY connected_at, id",
    )
    .bind(users)
    .bind(now_ms)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let mut connections: HashMap<UserId, Vec<Connection>> = HashMap::new();
    for row in &rows {
        let connection = connection(row)?;
        connections.entry(connection.user.clone()).or_default().push(connection);
    }
    Ok(connections)
}

/// How many unread ones of these users have expired and still count in `inboxes.unread`. `users`: a JSON list.
pub(crate) async fn expired_unread(
    db: &mut Connected,
    users: &str,
    now_ms: i64,
) -> Result<HashMap<UserId, i64>, StoreError> {
    let rows = sqlx::query(
        "SELECT user_id, count(*) AS expired FROM notifications
          WHERE user_id IN (SELECT value FROM json_each(?1)) AND deleted_at IS NULL AND read_at IS NULL
            AND expires_at <= ?2
          GROUP BY user_id",
    )
    .bind(users)
    .bind(now_ms)
    .fetch_all(db)
    .await
    .map_err(failed)?;
    let expired = |row: &SqliteRow| Ok((UserId::stored(row.try_get("user_id")?), row.try_get("expired")?));
    rows.iter().map(expired).collect::<Result<_, sqlx::Error>>().map_err(failed)
}
