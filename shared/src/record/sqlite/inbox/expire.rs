//! Making tombstones of expired notifications in SQLite.

use rusqlite::{Connection, params};

use crate::ids::{NotificationId, UserId};
use crate::inbox::Changed;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::{all, execute, one, value};
use crate::record::sqlite::store::SqliteRecord;

/// The expired notifications of one inbox, in order of arrival.
struct Expired {
    user: UserId,
    offsets: Vec<i64>,
    ids: Vec<NotificationId>,
    unread: i64,
}

impl SqliteRecord {
    /// Checks with a reader first, so that other writes are not blocked if nothing has expired.
    pub(super) async fn try_expire(&self, limit: usize, now_ms: i64) -> Result<Vec<(UserId, Changed)>, Failure> {
        let next_expiry_ms: Option<i64> = self
            .read(|db| {
                let sql =
                    "SELECT min(expires_at) FROM notifications WHERE expires_at IS NOT NULL AND deleted_at IS NULL";
                one(db, sql, [], value)
            })
            .await?;
        if next_expiry_ms.is_none_or(|expires_ms| expires_ms > now_ms) {
            return Ok(Vec::new());
        }
        self.write(move |db| {
            let by_user = expired(db, limit, now_ms)?;
            let users: Vec<&UserId> = by_user.iter().map(|expired| &expired.user).collect();
            let mut connections = rows::live_connections(db, &rows::json_list(&users), now_ms)?;
            let mut changes = Vec::with_capacity(by_user.len());
            for expired in by_user {
                let prev = rows::position(db, &expired.user, now_ms)?.cursor();
                make_tombstones(db, &expired, prev.offset, now_ms)?;
                let position = rows::position(db, &expired.user, now_ms)?;
                let changed = Changed {
                    prev,
                    cursor: position.cursor(),
                    known: expired.ids.len(),
                    ids: expired.ids,
                    unread: position.unread,
                    connections: connections.remove(&expired.user).unwrap_or_default(),
                    web_push_is_due: false,
                };
                changes.push((expired.user, changed));
            }
            Ok(changes)
        })
        .await
    }
}

/// Up to `limit` notifications that have expired, those that expired first, by their inboxes.
fn expired(db: &Connection, limit: usize, now_ms: i64) -> Result<Vec<Expired>, Failure> {
    let sql = r#"SELECT user_id, "offset", id, read_at FROM (
                     SELECT user_id, "offset", id, read_at FROM notifications
                      WHERE deleted_at IS NULL AND expires_at <= ?1 ORDER BY expires_at, user_id, "offset" LIMIT ?2)
                  ORDER BY user_id, "offset""#;
    let found = all(db, sql, params![now_ms, rows::limit(limit)], |row| {
        let user = UserId::stored(row.get("user_id")?);
        Ok((user, row.get("offset")?, rows::notification_id(row)?, row.get::<_, Option<i64>>("read_at")?))
    })?;
    let mut by_user: Vec<Expired> = Vec::new();
    for (user, offset, id, read_at) in found {
        if by_user.last().is_none_or(|last| last.user != user) {
            by_user.push(Expired { user, offsets: Vec::new(), ids: Vec::new(), unread: 0 });
        }
        let Some(last) = by_user.last_mut() else { continue };
        last.offsets.push(offset);
        last.ids.push(id);
        last.unread += i64::from(read_at.is_none());
    }
    Ok(by_user)
}

/// Makes tombstones of them. Each takes the next offset of the inbox, whose head is given.
fn make_tombstones(db: &Connection, expired: &Expired, head: i64, now_ms: i64) -> Result<(), Failure> {
    let user = expired.user.as_str();
    // `key` is the index in the list, from 0.
    let sql = r#"UPDATE notifications SET version = ?2 + 1 + j.key, deleted_at = ?4, push_at = NULL, web_push_at = NULL
                   FROM json_each(?3) j WHERE user_id = ?1 AND "offset" = j.value"#;
    execute(db, sql, params![user, head, rows::json_list(&expired.offsets), now_ms])?;
    let steps = i64::try_from(expired.ids.len()).map_err(|_| broken("an inbox"))?;
    let sql = "UPDATE inboxes SET head = head + ?2, unread = unread - ?3 WHERE user_id = ?1";
    execute(db, sql, params![user, steps, expired.unread])?;
    Ok(())
}
