//! Changing an inbox in SQLite: find the rows that change, and give each the next offset.

use rusqlite::{Connection, Row, params};

use crate::ids::{NotificationId, UserId};
use crate::inbox::{Change, Changed, Position};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::{all, execute, one, value};

/// Performs a change within an act that writes. `None` if its cursor is not part of the inbox's history.
pub(crate) fn perform(
    db: &Connection,
    user: &UserId,
    change: &Change,
    now_ms: i64,
) -> Result<Option<Changed>, Failure> {
    let position = rows::position(db, user, now_ms)?;
    if let Change::ReadAll { before: Some(before), .. } = change
        && !position.knows(*before)
    {
        return Ok(None);
    }
    let known = known(db, user, change, now_ms)?;
    let affected = affected(db, user, change, now_ms)?;
    if let Change::Delete(ids) = change {
        end_snoozes(db, user, ids, now_ms)?;
    }
    let unchanged = Changed {
        prev: position.cursor(),
        cursor: position.cursor(),
        ids: Vec::new(),
        known,
        unread: position.unread,
        connections: Vec::new(),
        web_push_is_due: false,
    };
    if affected.ids.is_empty() {
        return Ok(Some(unchanged));
    }
    apply(db, user, change, &position, &affected, now_ms)?;
    let sql = r#"SELECT EXISTS (SELECT 1 FROM json_each(?2) j JOIN notifications n
                                    ON n.user_id = ?1 AND n."offset" = j.value AND n.web_push_at IS NOT NULL)"#;
    let web_push_is_due = one(db, sql, params![user.as_str(), rows::json_list(&affected.offsets)], value)?;
    let after = rows::position(db, user, now_ms)?;
    let mut connections = rows::live_connections(db, &rows::json_list(&[user]), now_ms)?;
    Ok(Some(Changed {
        cursor: after.cursor(),
        ids: affected.ids,
        unread: after.unread,
        connections: connections.remove(user).unwrap_or_default(),
        web_push_is_due,
        ..unchanged
    }))
}

/// How many of the given ids are this user's.
fn known(db: &Connection, user: &UserId, change: &Change, now_ms: i64) -> Result<usize, Failure> {
    let (ids, also_deleted) = match change {
        Change::Read(ids) | Change::Unread(ids) => (ids, false),
        Change::Delete(ids) => (ids, true),
        Change::ReadAll { .. } => return Ok(0),
    };
    let sql = "SELECT count(*) FROM notifications
                WHERE user_id = ?1 AND id IN (SELECT unhex(value) FROM json_each(?2))
                  AND (?3 OR deleted_at IS NULL AND coalesce(expires_at > ?4, TRUE))";
    let known: i64 = one(db, sql, params![user.as_str(), rows::hex_list(ids), also_deleted, now_ms], value)?;
    usize::try_from(known).map_err(|_| broken("a count"))
}

/// Deletes those of these that are snoozed. They are tombstones already, which take no offset.
fn end_snoozes(db: &Connection, user: &UserId, ids: &[NotificationId], now_ms: i64) -> Result<(), Failure> {
    let sql = "UPDATE notifications SET snoozed_until = NULL, deleted_at = ?3
                WHERE user_id = ?1 AND id IN (SELECT unhex(value) FROM json_each(?2)) AND snoozed_until IS NOT NULL";
    execute(db, sql, params![user.as_str(), rows::hex_list(ids), now_ms])?;
    Ok(())
}

/// The rows that a change makes different, in order of arrival.
struct Affected {
    offsets: Vec<i64>,
    ids: Vec<NotificationId>,
    /// By how much the unread count rises; negative if it falls.
    more_unread: i64,
}

fn affected(db: &Connection, user: &UserId, change: &Change, now_ms: i64) -> Result<Affected, Failure> {
    macro_rules! in_inbox {
        ($which:literal) => {
            concat!(
                r#"SELECT "offset", id, read_at FROM notifications
                    WHERE user_id = ?1 AND deleted_at IS NULL AND coalesce(expires_at > ?2, TRUE) AND "#,
                $which,
                r#" ORDER BY "offset""#
            )
        };
    }
    let row =
        |row: &Row<'_>| Ok((row.get("offset")?, rows::notification_id(row)?, row.get::<_, Option<i64>>("read_at")?));
    let by_id = |sql: &'static str, ids: &[NotificationId]| {
        all(db, sql, params![user.as_str(), now_ms, rows::hex_list(ids)], row)
    };
    let rows = match change {
        Change::Read(ids) => {
            by_id(in_inbox!("read_at IS NULL AND id IN (SELECT unhex(value) FROM json_each(?3))"), ids)
        }
        Change::Unread(ids) => {
            by_id(in_inbox!("read_at IS NOT NULL AND id IN (SELECT unhex(value) FROM json_each(?3))"), ids)
        }
        Change::Delete(ids) => by_id(in_inbox!("id IN (SELECT unhex(value) FROM json_each(?3))"), ids),
        Change::ReadAll { kind, before } => {
            let sql = in_inbox!(r#"read_at IS NULL AND (?3 IS NULL OR type = ?3) AND "offset" <= ?4"#);
            let before = before.map_or(i64::MAX, |before| before.offset);
            all(db, sql, params![user.as_str(), now_ms, kind.as_deref(), before], row)
        }
    }?;
    let mut affected = Affected { offsets: Vec::new(), ids: Vec::new(), more_unread: 0 };
    for (offset, id, read_at) in rows {
        affected.offsets.push(offset);
        affected.ids.push(id);
        let was_unread = read_at.is_none();
        let is_unread = matches!(change, Change::Unread(_));
        affected.more_unread += i64::from(is_unread) - i64::from(was_unread);
    }
    Ok(affected)
}

/// Changes the rows. Each takes the next offset as its version.
fn apply(
    db: &Connection,
    user: &UserId,
    change: &Change,
    position: &Position,
    affected: &Affected,
    now_ms: i64,
) -> Result<(), Failure> {
    // `key` is the index in the list, from 0. A notification that is read or deleted is no longer due; what
    // Web Push has shown of it is closed.
    macro_rules! update {
        ($set:literal) => {
            concat!(
                "UPDATE notifications SET version = ?2 + 1 + j.key, ",
                $set,
                r#" FROM json_each(?3) j WHERE user_id = ?1 AND "offset" = j.value"#
            )
        };
    }
    let (sql, changed_at) = match change {
        Change::Read(_) | Change::ReadAll { .. } => (
            update!("read_at = ?4, push_at = NULL, web_push_at = CASE WHEN web_pushed_at IS NOT NULL THEN ?4 END"),
            Some(now_ms),
        ),
        Change::Unread(_) => (update!("read_at = ?4"), None),
        Change::Delete(_) => (
            update!("deleted_at = ?4, push_at = NULL, web_push_at = CASE WHEN web_pushed_at IS NOT NULL THEN ?4 END"),
            Some(now_ms),
        ),
    };
    execute(db, sql, params![user.as_str(), position.head, rows::json_list(&affected.offsets), changed_at])?;
    let steps = i64::try_from(affected.ids.len()).map_err(|_| broken("an inbox"))?;
    let sql = "UPDATE inboxes SET head = head + ?2, unread = unread + ?3 WHERE user_id = ?1";
    execute(db, sql, params![user.as_str(), steps, affected.more_unread])?;
    Ok(())
}
