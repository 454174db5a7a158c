//! Reading rows of SQLite, and reads that several operations share.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection as Db, Params, Row, params};
use serde_json::value::RawValue;

use crate::clock::Time;
use crate::cursor::{Cursor, Epoch};
use crate::ids::{ConnectionId, NotificationId, UserId};
use crate::inbox::Position;
use crate::inbox::bounds::{Bounds, Item, within};
use crate::inbox::notification::{Channels, Content, Notification, Priority};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::statement::{all, one};
use crate::sockets::connections::Connection;
use crate::telemetry::trace::TraceParent;

/// A column that is a count.
pub(crate) fn count(row: &Row<'_>, name: &str) -> Result<u64, Failure> {
    u64::try_from(row.get::<_, i64>(name)?).map_err(|_| broken(name))
}

/// A column that is text.
pub(crate) fn text<'a>(row: &'a Row<'_>, name: &str) -> Result<&'a str, Failure> {
    row.get_ref(name)?.as_str().map_err(|_| broken(name))
}

/// A column that is bytes.
pub(crate) fn blob<'a>(row: &'a Row<'_>, name: &str) -> Result<&'a [u8], Failure> {
    row.get_ref(name)?.as_blob().map_err(|_| broken(name))
}

/// The most rows of a statement, as the database takes it.
pub(crate) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// One row more than that, to see whether more follow.
pub(crate) fn one_more_than(count: usize) -> i64 {
    limit(count).saturating_add(1)
}

/// A list as JSON text, for `json_each`.
pub(crate) fn json_list<T: serde::Serialize>(items: &[T]) -> String {
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

/// Rows of a statement until the bounds are reached, and whether there are more. Reads no further.
pub(crate) fn all_within<T: Item>(
    bounds: Bounds,
    db: &Db,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T, Failure>,
) -> Result<(Vec<T>, bool), Failure> {
    let mut statement = db.prepare_cached(sql)?;
    let found = statement.query_and_then(params, read)?;
    within(bounds, found)
}

/// The content of a row of `sends`. Columns: type, title, body, data, action_url, priority, expires_at, collapse_key,
/// channels, digest_ms, traceparent.
pub(crate) fn content(row: &Row<'_>) -> Result<Content, Failure> {
    let data: String = row.get("data")?;
    let priority = text(row, "priority")?;
    Ok(Content {
        kind: row.get("type")?,
        title: row.get("title")?,
        body: row.get("body")?,
        data: RawValue::from_string(data).map_err(|_| broken("sends.data"))?,
        action_url: row.get("action_url")?,
        priority: Priority::from_name(priority).ok_or_else(|| broken("sends.priority"))?,
        expires_at: row.get::<_, Option<i64>>("expires_at")?.map(Time),
        collapse_key: row.get("collapse_key")?,
        channels: Channels::stored(row.get::<_, Option<String>>("channels")?.as_deref()),
        digest_ms: row.get("digest_ms")?,
        trace: trace(row)?,
    })
}

/// Column: traceparent.
pub(crate) fn trace(row: &Row<'_>) -> Result<Option<TraceParent>, Failure> {
    let text: Option<String> = row.get("traceparent")?;
    Ok(text.as_deref().and_then(TraceParent::parse))
}

/// Selects the columns of [`notification`] and some more, without the content of tombstones. `?2` is the time.
macro_rules! select_notifications {
    ($rest:literal) => {
        concat!(
            r#"SELECT n.user_id, n."offset", n.version, n.id, n.created_at, n.read_at, n.silent, n.push_attempts,
                      n.deleted_at IS NOT NULL OR coalesce(n.expires_at <= ?2, FALSE) AS is_gone,
                      coalesce(n.unsnoozed_at, n.created_at) AS arrived_at,
                      s.type, s.title, s.body, s.data, s.action_url, s.priority, s.expires_at, s.collapse_key,
                      s.channels, s.digest_ms, s.traceparent, i.unread
                 FROM notifications n LEFT JOIN sends s ON s.id = n.send_id AND n.deleted_at IS NULL
                      JOIN inboxes i ON i.user_id = n.user_id "#,
            $rest
        )
    };
}
pub(crate) use select_notifications;

/// A row of `notifications` joined with its send. Columns: those of [`content`], and id, offset, created_at, read_at,
/// silent.
pub(crate) fn notification(row: &Row<'_>, epoch: Epoch) -> Result<Notification, Failure> {
    Ok(Notification {
        id: notification_id(row)?,
        content: Arc::new(content(row)?),
        cursor: Cursor { epoch, offset: row.get("offset")? },
        created_at: Time(row.get("created_at")?),
        read_at: row.get::<_, Option<i64>>("read_at")?.map(Time),
        silent: row.get::<_, Option<bool>>("silent")?.unwrap_or(false),
    })
}

/// Column: id.
pub(crate) fn notification_id(row: &Row<'_>) -> Result<NotificationId, Failure> {
    let id = blob(row, "id")?;
    NotificationId::from_bytes(id).ok_or_else(|| broken("notifications.id"))
}

/// Columns: id, user_id, connected_at, token_expires_at.
pub(crate) fn connection(row: &Row<'_>) -> Result<Connection, Failure> {
    Ok(Connection {
        id: ConnectionId::new(row.get::<_, String>("id")?),
        user: UserId::stored(row.get("user_id")?),
        connected_at_ms: row.get("connected_at")?,
        token_expires_at_ms: row.get("token_expires_at")?,
    })
}

/// The epoch of the database.
pub(crate) fn epoch(db: &Db) -> Result<Epoch, Failure> {
    one(db, "SELECT epoch FROM epoch", [], |row| Ok(Epoch(row.get::<_, i64>("epoch")?.cast_unsigned())))
}

/// The position of an inbox. Expired notifications do not count as unread, even before they are tombstones.
pub(crate) fn position(db: &Db, user: &UserId, now_ms: i64) -> Result<Position, Failure> {
    let sql = "SELECT coalesce(i.epoch, e.epoch) AS epoch, coalesce(i.head, 0) AS head, coalesce(i.acked, 0) AS acked,
                      coalesce(i.purged_through, 0) AS purged_through, coalesce(i.unread, 0) - expired.unread AS unread,
                      expired.expired
                 FROM epoch e LEFT JOIN inboxes i ON i.user_id = ?1,
                      (SELECT count(*) AS expired, count(*) FILTER (WHERE read_at IS NULL) AS unread FROM notifications
                        WHERE user_id = ?1 AND deleted_at IS NULL AND expires_at <= ?2) AS expired";
    one(db, sql, params![user.as_str(), now_ms], |row| {
        Ok(Position {
            epoch: Epoch(row.get::<_, i64>("epoch")?.cast_unsigned()),
            head: row.get("head")?,
            acked: row.get("acked")?,
            purged_through: row.get("purged_through")?,
            unread: row.get("unread")?,
            expired: row.get("expired")?,
        })
    })
}

/// The connections of these users whose token has not expired, oldest first. `users`: a JSON list.
pub(crate) fn live_connections(db: &Db, users: &str, now_ms: i64) -> Result<HashMap<UserId, Vec<Connection>>, Failure> {
    let sql = "SELECT id, user_id, connected_at, token_expires_at FROM connections
                WHERE user_id IN (SELECT value FROM json_each(?1)) AND token_expires_at > ?2
                ORDER BY connected_at, id";
    let mut connections: HashMap<UserId, Vec<Connection>> = HashMap::new();
    for connection in all(db, sql, params![users, now_ms], connection)? {
        connections.entry(connection.user.clone()).or_default().push(connection);
    }
    Ok(connections)
}

/// How many unread notifications of these users have expired and still count in `inboxes.unread`. `users`: a JSON list.
pub(crate) fn expired_unread(db: &Db, users: &str, now_ms: i64) -> Result<HashMap<UserId, i64>, Failure> {
    let sql = "SELECT user_id, count(*) AS expired FROM notifications
                WHERE user_id IN (SELECT value FROM json_each(?1)) AND deleted_at IS NULL AND read_at IS NULL
                  AND expires_at <= ?2
                GROUP BY user_id";
    let expired = |row: &Row<'_>| Ok((UserId::stored(row.get("user_id")?), row.get("expired")?));
    Ok(all(db, sql, params![users, now_ms], expired)?.into_iter().collect())
}
