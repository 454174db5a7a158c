//! Taking rows whose push is due, in SQLite: one delivery per row, or one resync for a user with a backlog.

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use crate::clock::At;
use crate::cursor::Epoch;
use crate::delivery::backoff::max_backoff_ms;
use crate::delivery::dead_letters::Reason;
use crate::delivery::deliveries::{
    MAX_FRAMES_PER_USER, MAX_PUSH_DELAY_MS, MAX_STATEMENT_ROWS, MAX_STATEMENTS, Resync, RowKey, Taken,
};
use crate::delivery::{Delivery, PUSH_GRACE_MS};
use crate::ids::UserId;
use crate::inbox::notification::Notification;
use crate::record::sqlite::delivery::dead_letters::dead_letter_push;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{self, select_notifications};
use crate::record::sqlite::statement::{all, execute, first, value};
use crate::record::sqlite::store::SqliteRecord;

impl SqliteRecord {
    pub(crate) async fn take_due_with_backlog(&self, limit: usize, at: At) -> Result<Taken, Failure> {
        let limit = rows::limit(limit);
        let (taken, backlogged, mut backlog_rows, now_ms) = self
            .write(move |db| {
                let (epoch, now_ms) = (rows::epoch(db)?, at.process_ms());
                let backlogged = rows::json_list(&backlogged(db, limit, now_ms)?);
                let deliveries = take_rows(db, epoch, limit, &backlogged, now_ms)?;
                let resyncs = resyncs(db, &backlogged, now_ms)?;
                let backlog_rows = take_backlog(db, &backlogged, now_ms)?;
                Ok((Taken { deliveries, resyncs }, backlogged, backlog_rows, now_ms))
            })
            .await?;
        let mut statements = 1;
        while backlog_rows >= MAX_STATEMENT_ROWS && statements < MAX_STATEMENTS {
            let backlogged = backlogged.clone();
            backlog_rows = self.write(move |db| take_backlog(db, &backlogged, now_ms)).await?;
            statements += 1;
        }
        Ok(taken)
    }

    pub(crate) async fn try_take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, Failure> {
        let keys: Vec<Value> = keys
            .iter()
            .map(|RowKey { user, offset, fence_ms }| json!({"user": user, "offset": offset, "fence": fence_ms}))
            .collect();
        let keys = rows::json_list(&keys);
        self.write(move |db| take_keys(db, rows::epoch(db)?, &keys, at.process_ms())).await
    }

    pub(crate) async fn try_postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, Failure> {
        let rows: Vec<(UserId, i64, i64, i64)> = rows
            .iter()
            .map(|(RowKey { user, offset, fence_ms }, delay_ms)| ((*user).clone(), *offset, *fence_ms, *delay_ms))
            .collect();
        self.write(move |db| {
            let now_ms = at.process_ms();
            let sql = r#"UPDATE notifications SET push_at = ?4 + ?5 + ?6
                          WHERE user_id = ?1 AND "offset" = ?2 AND push_at = ?3 RETURNING push_at"#;
            let postpone = |(user, offset, fence_ms, delay_ms): &(UserId, i64, i64, i64)| {
                first(db, sql, params![user.as_str(), offset, fence_ms, now_ms, delay_ms, PUSH_GRACE_MS], value::<i64>)
            };
            rows.iter().map(postpone).collect()
        })
        .await
    }

    pub(crate) async fn mark_all_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), Failure> {
        let users: Vec<Value> = users.iter().map(|(user, through)| json!({"user": user, "through": through})).collect();
        let users = rows::json_list(&users);
        let sql = r#"UPDATE notifications SET offered_at = ?2, push_at = NULL
                      WHERE (user_id, "offset") IN (
                          SELECT n.user_id, n."offset" FROM json_each(?1) j JOIN notifications n
                              ON n.user_id = j.value ->> 'user' AND n."offset" <= j.value ->> 'through'
                           WHERE n.push_at IS NOT NULL LIMIT ?3)"#;
        for _ in 0..MAX_STATEMENTS {
            let users = users.clone();
            let marked = self
                .write(move |db| execute(db, sql, params![users, at.process_ms(), rows::limit(MAX_STATEMENT_ROWS)]))
                .await?;
            if marked < MAX_STATEMENT_ROWS {
                break;
            }
        }
        Ok(())
    }
}

/// The users with a backlog among those whose rows have been due longest. Counting a user's rows stops at the first row
/// too many for a frame each.
fn backlogged(db: &Connection, limit: i64, now_ms: i64) -> Result<Vec<String>, Failure> {
    all(
        db,
        "SELECT user_id
           FROM (SELECT DISTINCT user_id
                   FROM (SELECT user_id FROM notifications WHERE push_at <= ?1 ORDER BY push_at LIMIT ?2)) AS users
          WHERE ?3 < (SELECT count(*)
                        FROM (SELECT 1 FROM notifications n
                               WHERE n.user_id = users.user_id AND n.push_at <= ?1 LIMIT ?3 + 1))",
        params![now_ms, limit, rows::limit(MAX_FRAMES_PER_USER)],
        value,
    )
}

/// A row that can be taken.
struct Found {
    user: UserId,
    offset: i64,
    notification: Result<Notification, Failure>,
    arrived_at_ms: i64,
    is_gone: bool,
    attempts: i64,
    unread: i64,
}

impl Found {
    fn read(row: &Row<'_>, epoch: Epoch) -> Result<Self, Failure> {
        Ok(Self {
            user: UserId::stored(row.get("user_id")?),
            offset: row.get("offset")?,
            notification: rows::notification(row, epoch),
            arrived_at_ms: row.get("arrived_at")?,
            is_gone: row.get("is_gone")?,
            attempts: row.get("push_attempts")?,
            unread: row.get("unread")?,
        })
    }
}

/// Takes the rows that have been due longest, except those of users with a backlog.
fn take_rows(
    db: &Connection,
    epoch: Epoch,
    limit: i64,
    backlogged: &str,
    now_ms: i64,
) -> Result<Vec<Delivery>, Failure> {
    let sql = select_notifications!(
        r#"WHERE (n.user_id, n."offset") IN (SELECT user_id, "offset" FROM notifications
                                              WHERE push_at <= ?2 ORDER BY push_at LIMIT ?1)
             AND n.user_id NOT IN (SELECT value FROM json_each(?3))
           ORDER BY n.push_at"#
    );
    let found = all(db, sql, params![limit, now_ms, backlogged], |row| Found::read(row, epoch))?;
    take_found(db, found, now_ms, delay_when_due_ms)
}

/// Takes the rows with these users, offsets and fences. `keys`: a JSON list.
fn take_keys(db: &Connection, epoch: Epoch, keys: &str, now_ms: i64) -> Result<Vec<Delivery>, Failure> {
    let sql = select_notifications!(
        r#"WHERE (n.user_id, n."offset", n.push_at) IN (SELECT value ->> 'user', value ->> 'offset', value ->> 'fence'
                                                          FROM json_each(?1))
           ORDER BY n.user_id, n."offset""#
    );
    let found = all(db, sql, params![keys, now_ms], |row| Found::read(row, epoch))?;
    take_found(db, found, now_ms, delay_by_key_ms)
}

/// Takes rows: each one's `push_at` moves ahead by `delay_ms` of its earlier attempts, or is cleared if there is
/// nothing left to push.
fn take_found(
    db: &Connection,
    found: Vec<Found>,
    now_ms: i64,
    delay_ms: fn(i64) -> i64,
) -> Result<Vec<Delivery>, Failure> {
    let users: Vec<&UserId> = found.iter().map(|row| &row.user).collect();
    let users = rows::json_list(&users);
    let connections = rows::live_connections(db, &users, now_ms)?;
    let expired = rows::expired_unread(db, &users, now_ms)?;
    let sql = r#"UPDATE notifications SET push_at = ?3, push_attempts = push_attempts + 1
                  WHERE user_id = ?1 AND "offset" = ?2"#;
    let mut take = db.prepare_cached(sql)?;
    let mut deliveries = Vec::new();
    for Found { user, offset, notification, arrived_at_ms, is_gone, attempts, unread } in found {
        let Ok(notification) = notification else {
            dead_letter_push(db, &user, offset, Reason::Unreadable, now_ms)?;
            continue;
        };
        let is_pushable = !is_gone && notification.read_at.is_none();
        let connections = connections.get(&user).filter(|_| is_pushable).cloned().unwrap_or_default();
        let fence_ms = now_ms + delay_ms(attempts);
        let push_at = (!connections.is_empty()).then_some(fence_ms);
        take.execute(params![user.as_str(), offset, push_at])?;
        if !connections.is_empty() {
            let unread = unread - expired.get(&user).copied().unwrap_or(0);
            let attempt = u32::try_from(attempts.saturating_add(1)).unwrap_or(u32::MAX);
            deliveries.push(Delivery {
                user,
                notification,
                arrived_at_ms,
                unread,
                replaces: Vec::new(),
                connections,
                fence_ms,
                attempt,
            });
        }
    }
    Ok(deliveries)
}

/// A resync for each user with a backlog and a connection.
fn resyncs(db: &Connection, backlogged: &str, now_ms: i64) -> Result<Vec<Resync>, Failure> {
    let mut resyncs = Vec::new();
    for (user, connections) in rows::live_connections(db, backlogged, now_ms)? {
        let through = rows::position(db, &user, now_ms)?.head;
        resyncs.push(Resync { user, through, connections });
    }
    Ok(resyncs)
}

/// Takes as many rows of the backlog as one statement may change; returns how many.
fn take_backlog(db: &Connection, backlogged: &str, now_ms: i64) -> Result<usize, Failure> {
    let sql = r#"UPDATE notifications AS n
                    SET push_attempts = push_attempts + 1,
                        push_at = CASE
                            WHEN read_at IS NULL AND deleted_at IS NULL AND coalesce(expires_at > ?2, TRUE)
                                 AND EXISTS (SELECT 1 FROM connections c
                                              WHERE c.user_id = n.user_id AND c.token_expires_at > ?2)
                            THEN ?2 + min(?4, ?3 * (1 << min(push_attempts, 16)))
                        END
                  WHERE (n.user_id, n."offset") IN (
                      SELECT user_id, "offset" FROM notifications
                       WHERE user_id IN (SELECT value FROM json_each(?1)) AND push_at <= ?2 LIMIT ?5)"#;
    let max_rows = rows::limit(MAX_STATEMENT_ROWS);
    execute(db, sql, params![backlogged, now_ms, PUSH_GRACE_MS, MAX_PUSH_DELAY_MS, max_rows])
}

/// The delay until a row that was taken by its key is due again, in milliseconds, after `attempts` earlier attempts: so
/// long that the queue would have retried it before.
fn delay_by_key_ms(attempts: i64) -> i64 {
    let attempt = u32::try_from(attempts.saturating_add(1)).unwrap_or(u32::MAX);
    PUSH_GRACE_MS + max_backoff_ms(attempt)
}

/// The delay until a row or message that was taken as due is due again, in milliseconds, after `attempts` earlier attempts.
pub(crate) fn delay_when_due_ms(attempts: i64) -> i64 {
    PUSH_GRACE_MS.saturating_mul(1 << attempts.clamp(0, 16)).min(MAX_PUSH_DELAY_MS)
}
