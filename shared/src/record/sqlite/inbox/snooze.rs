//! Snoozes in SQLite.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use crate::clock::{At, Time};
use crate::cursor::Epoch;
use crate::delivery::{Delivery, PUSH_GRACE_MS};
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::Changed;
use crate::inbox::notification::Notification;
use crate::inbox::snooze::{Snoozed, Snoozes, Unsnoozed};
use crate::record::sqlite::delivery::rings::{Ring, Rings};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{self, select_notifications};
use crate::record::sqlite::statement::{all, execute, first, one, value};
use crate::record::sqlite::store::SqliteRecord;

#[async_trait]
impl Snoozes for SqliteRecord {
    async fn snooze(&self, user: &UserId, id: NotificationId, until: Time, at: At) -> Result<Snoozed, StoreError> {
        let user = user.clone();
        Ok(self.write(move |db| snooze(db, &user, id, until.0, at.process_ms())).await?)
    }

    async fn unsnooze(&self, limit: usize, at: At) -> Result<Unsnoozed, StoreError> {
        Ok(self.try_unsnooze(limit, at.process_ms()).await?)
    }
}

impl SqliteRecord {
    /// Checks with a reader first, so that other writes are not blocked if no snooze is over.
    async fn try_unsnooze(&self, limit: usize, now_ms: i64) -> Result<Unsnoozed, Failure> {
        let next_end_ms: Option<i64> = self
            .read(|db| {
                let sql = "SELECT min(snoozed_until) FROM notifications WHERE snoozed_until IS NOT NULL";
                one(db, sql, [], value)
            })
            .await?;
        if next_end_ms.is_none_or(|end_ms| end_ms > now_ms) {
            return Ok(Unsnoozed::default());
        }
        self.write(move |db| unsnooze(db, rows::epoch(db)?, limit, now_ms)).await
    }
}

/// A notification that can be snoozed.
struct Found {
    offset: i64,
    is_snoozed: bool,
    was_unread: bool,
    /// Until when it is kept.
    kept_until_ms: i64,
}

fn snooze(db: &Connection, user: &UserId, id: NotificationId, until_ms: i64, now_ms: i64) -> Result<Snoozed, Failure> {
    // Without an expiry, a notification is kept for as long as its send.
    let sql = r#"SELECT n."offset", n.snoozed_until IS NOT NULL, n.read_at IS NULL, coalesce(n.expires_at, s.keep_until)
                   FROM notifications n JOIN sends s ON s.id = n.send_id
                  WHERE n.id = ?2 AND n.user_id = ?1 AND (n.deleted_at IS NULL OR n.snoozed_until IS NOT NULL)
                    AND coalesce(n.expires_at > ?3, TRUE)"#;
    let found = first(db, sql, params![user.as_str(), id.as_bytes().as_slice(), now_ms], |row| {
        Ok(Found { offset: row.get(0)?, is_snoozed: row.get(1)?, was_unread: row.get(2)?, kept_until_ms: row.get(3)? })
    })?;
    let until_ms = until_ms.max(now_ms);
    let Some(found) = found else { return Ok(Snoozed::Unknown) };
    if until_ms >= found.kept_until_ms {
        return Ok(Snoozed::TooLate);
    }
    let before = rows::position(db, user, now_ms)?;
    let unchanged = Changed {
        prev: before.cursor(),
        cursor: before.cursor(),
        ids: Vec::new(),
        known: 1,
        unread: before.unread,
        connections: Vec::new(),
        web_push_is_due: false,
    };
    if found.is_snoozed {
        let sql = r#"UPDATE notifications SET snoozed_until = ?3 WHERE user_id = ?1 AND "offset" = ?2"#;
        execute(db, sql, params![user.as_str(), found.offset, until_ms])?;
        return Ok(Snoozed::Done(unchanged));
    }
    // It arrives anew as unread, and is no longer due; what Web Push has shown of it is closed.
    let sql = r#"UPDATE notifications
                    SET version = ?3, deleted_at = ?4, snoozed_until = ?5, read_at = NULL, push_at = NULL,
                        web_push_at = CASE WHEN web_pushed_at IS NOT NULL THEN ?4 END
                  WHERE user_id = ?1 AND "offset" = ?2 RETURNING web_push_at IS NOT NULL"#;
    let version = before.head + 1;
    let web_push_is_due = one(db, sql, params![user.as_str(), found.offset, version, now_ms, until_ms], value)?;
    let sql = "UPDATE inboxes SET head = head + 1, unread = unread - ?2 WHERE user_id = ?1";
    execute(db, sql, params![user.as_str(), i64::from(found.was_unread)])?;
    let after = rows::position(db, user, now_ms)?;
    let mut connections = rows::live_connections(db, &rows::json_list(&[user]), now_ms)?;
    Ok(Snoozed::Done(Changed {
        cursor: after.cursor(),
        ids: vec![id],
        unread: after.unread,
        connections: connections.remove(user).unwrap_or_default(),
        web_push_is_due,
        ..unchanged
    }))
}

/// A notification whose snooze is over.
struct Ended {
    user: UserId,
    offset: i64,
    has_expired: bool,
    /// When a newer one of the same collapse key arrived that came after the snooze.
    replaced_at: Option<i64>,
}

impl Ended {
    fn read(row: &Row<'_>) -> Result<Self, Failure> {
        Ok(Self {
            user: UserId::stored(row.get("user_id")?),
            offset: row.get("offset")?,
            has_expired: row.get("has_expired")?,
            replaced_at: row.get("replaced_at")?,
        })
    }
}

fn unsnooze(db: &Connection, epoch: Epoch, limit: usize, now_ms: i64) -> Result<Unsnoozed, Failure> {
    let sql = r#"SELECT n.user_id, n."offset", coalesce(n.expires_at <= ?1, FALSE) AS has_expired,
                        (SELECT coalesce(newer.unsnoozed_at, newer.created_at) FROM notifications newer
                          WHERE newer.user_id = n.user_id AND newer.collapse_key = n.collapse_key
                            AND (newer.send_due_at, newer.send_accepted_at) >= (n.send_due_at, n.send_accepted_at)
                            AND newer."offset" > n.version
                          ORDER BY newer.send_due_at, newer.send_accepted_at LIMIT 1) AS replaced_at
                   FROM notifications n
                  WHERE n.snoozed_until <= ?1 ORDER BY n.snoozed_until, n.user_id, n."offset" LIMIT ?2"#;
    let ended = all(db, sql, params![now_ms, rows::limit(limit)], Ended::read)?;
    let snoozes = ended.len();
    let mut arriving: Vec<(UserId, Vec<i64>)> = Vec::new();
    for Ended { user, offset, has_expired, replaced_at } in ended {
        if has_expired || replaced_at.is_some() {
            bury(db, &user, offset, replaced_at, now_ms)?;
            continue;
        }
        match arriving.iter_mut().find(|(other, _)| *other == user) {
            Some((_, offsets)) => offsets.push(offset),
            None => arriving.push((user, vec![offset])),
        }
    }
    arriving.sort();
    let users: Vec<&UserId> = arriving.iter().map(|(user, _)| user).collect();
    let connections = rows::live_connections(db, &rows::json_list(&users), now_ms)?;
    let rings = Rings::read(db, &rows::json_list(&users))?;
    let (mut deliveries, mut web_push_at_ms) = (Vec::new(), None);
    for (user, offsets) in &arriving {
        let connections = connections.get(user).map(Vec::as_slice).unwrap_or_default();
        let push_at = (!connections.is_empty()).then_some(now_ms + PUSH_GRACE_MS);
        let head = rows::position(db, user, now_ms)?.head;
        arrive_anew(db, user, offsets, head, push_at, now_ms)?;
        let web_push_at = ring_anew(db, epoch, user, head, &rings, push_at.is_some(), now_ms)?;
        web_push_at_ms = [web_push_at_ms, web_push_at].into_iter().flatten().min();
        if push_at.is_some() {
            let arrived = arrived(db, epoch, user, head, now_ms)?;
            deliveries.extend(arrived.into_iter().map(|one| Delivery { connections: connections.to_vec(), ..one }));
        }
    }
    Ok(Unsnoozed { snoozes, deliveries, web_push_at_ms })
}

/// Leaves a tombstone for good, from now on as if deleted, expired or replaced now.
fn bury(db: &Connection, user: &UserId, offset: i64, replaced_at: Option<i64>, now_ms: i64) -> Result<(), Failure> {
    let sql = r#"UPDATE notifications SET snoozed_until = NULL, deleted_at = ?3, collapsed_at = ?4
                  WHERE user_id = ?1 AND "offset" = ?2"#;
    execute(db, sql, params![user.as_str(), offset, now_ms, replaced_at])?;
    Ok(())
}

/// Gives notifications of an inbox, whose head is given, the next offsets as their arrivals. Nothing of their first arrival
/// counts any more.
fn arrive_anew(
    db: &Connection,
    user: &UserId,
    offsets: &[i64],
    head: i64,
    push_at: Option<i64>,
    now_ms: i64,
) -> Result<(), Failure> {
    let moves: Vec<Value> = (head + 1..).zip(offsets).map(|(new, old)| json!({"old": old, "new": new})).collect();
    let sql = r#"UPDATE notifications
                    SET "offset" = j.value ->> 'new', version = j.value ->> 'new', deleted_at = NULL,
                        snoozed_until = NULL, unsnoozed_at = ?3, offered_at = NULL, push_attempts = 0, push_at = ?4,
                        web_push_attempts = 0, web_push_left = NULL, web_push_digest = NULL, web_pushed_at = NULL,
                        web_push_failed_at = NULL
                   FROM json_each(?2) j WHERE user_id = ?1 AND "offset" = j.value ->> 'old'"#;
    execute(db, sql, params![user.as_str(), rows::json_list(&moves), now_ms, push_at])?;
    let sql = "UPDATE inboxes SET head = head + ?2, unread = unread + ?2 WHERE user_id = ?1";
    execute(db, sql, params![user.as_str(), rows::limit(offsets.len())])?;
    Ok(())
}

/// Decides how what arrived in an inbox after this head rings. Returns when the first Web Push is due.
fn ring_anew(
    db: &Connection,
    epoch: Epoch,
    user: &UserId,
    head: i64,
    rings: &Rings,
    is_connected: bool,
    now_ms: i64,
) -> Result<Option<i64>, Failure> {
    let mut first = None;
    let sql = select_notifications!(r#"WHERE n.user_id = ?1 AND n."offset" > ?3"#);
    // One that cannot be read rings as it did.
    let arrived = all(db, sql, params![user.as_str(), now_ms, head], |row| Ok(rows::notification(row, epoch).ok()))?;
    for Notification { content, cursor, .. } in arrived.into_iter().flatten() {
        let Ring { is_silent, web_push_at } = rings.of(user, &content, is_connected, now_ms);
        let sql = r#"UPDATE notifications SET silent = ?3, web_push_at = ?4 WHERE user_id = ?1 AND "offset" = ?2"#;
        execute(db, sql, params![user.as_str(), cursor.offset, is_silent, web_push_at])?;
        first = [first, web_push_at].into_iter().flatten().min();
    }
    Ok(first)
}

/// The deliveries of what arrived in an inbox after this head, still without connections. Each with the unread count as of
/// its arrival.
fn arrived(db: &Connection, epoch: Epoch, user: &UserId, head: i64, now_ms: i64) -> Result<Vec<Delivery>, Failure> {
    let position = rows::position(db, user, now_ms)?;
    let sql = select_notifications!(r#"WHERE n.user_id = ?1 AND n."offset" > ?3 ORDER BY n."offset""#);
    let found = all(db, sql, params![user.as_str(), now_ms, head], |row| Ok(rows::notification(row, epoch)))?;
    // One that cannot be read is left to the drain, which dead-letters it once it is due.
    let readable = found.into_iter().filter_map(Result::ok);
    let delivery = |notification: Notification| Delivery {
        user: user.clone(),
        arrived_at_ms: now_ms,
        unread: position.unread - (position.head - notification.cursor.offset),
        replaces: Vec::new(),
        connections: Vec::new(),
        fence_ms: now_ms + PUSH_GRACE_MS,
        attempt: 0,
        notification,
    };
    Ok(readable.map(delivery).collect())
}
