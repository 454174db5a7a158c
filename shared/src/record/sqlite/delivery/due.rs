//! Taking rows whose push is due, in SQLite: one delivery per row, or one resync for a user with a backlog.

use serde_json::{Value, json};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::clock::At;
use crate::cursor::Epoch;
use crate::delivery::backoff::max_backoff_ms;
use crate::delivery::dead_letters::Reason;
use crate::delivery::deliveries::{
    MAX_FRAMES_PER_USER, MAX_PUSH_DELAY_MS, MAX_STATEMENT_ROWS, MAX_STATEMENTS, Resync, RowKey, Taken,
};
use crate::delivery::{Delivery, PUSH_GRACE_MS};
use crate::ids::UserId;
use crate::record::sqlite::delivery::dead_letters::dead_letter_push;
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{self, select_notifications};
use crate::record::sqlite::store::{SqliteRecord, commit};

impl SqliteRecord {
    pub(crate) async fn take_due_with_backlog(&self, limit: usize, at: At) -> Result<Taken, Failure> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let limit = rows::limit(limit);
        let backlogged = rows::json_list(&backlogged(&mut db, limit, now_ms).await?);
        let deliveries = take_rows(&mut db, self.epoch, limit, &backlogged, now_ms).await?;
        let resyncs = resyncs(&mut db, &backlogged, now_ms).await?;
        let mut backlog_rows = take_backlog(&mut db, &backlogged, now_ms).await?;
        commit(db).await?;
        let mut statements = 1;
        while backlog_rows >= MAX_STATEMENT_ROWS && statements < MAX_STATEMENTS {
            let mut db = self.write().await?;
            backlog_rows = take_backlog(&mut db, &backlogged, now_ms).await?;
            commit(db).await?;
            statements += 1;
        }
        Ok(Taken { deliveries, resyncs })
    }

    pub(crate) async fn try_take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, Failure> {
        let keys: Vec<Value> = keys
            .iter()
            .map(|RowKey { user, offset, fence_ms }| json!({"user": user, "offset": offset, "fence": fence_ms}))
            .collect();
        let mut db = self.write().await?;
        let deliveries = take_keys(&mut db, self.epoch, &rows::json_list(&keys), at.process_ms()).await?;
        commit(db).await?;
        Ok(deliveries)
    }

    pub(crate) async fn try_postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, Failure> {
        let mut db = self.write().await?;
        let (now_ms, mut new_fences) = (at.process_ms(), Vec::new());
        for (key, delay_ms) in rows {
            let push_at = sqlx::query_scalar(
                r#"UPDATE notifications SET push_at = ?4 + ?5 + ?6
                    WHERE user_id = ?1 AND "offset" = ?2 AND push_at = ?3 RETURNING push_at"#,
            )
            .bind(key.user.as_str())
            .bind(key.offset)
            .bind(key.fence_ms)
            .bind(now_ms)
            .bind(delay_ms)
            .bind(PUSH_GRACE_MS)
            .fetch_optional(&mut *db)
            .await?;
            new_fences.push(push_at);
        }
        commit(db).await?;
        Ok(new_fences)
    }

    pub(crate) async fn mark_all_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), Failure> {
        let users: Vec<Value> = users.iter().map(|(user, through)| json!({"user": user, "through": through})).collect();
        for _ in 0..MAX_STATEMENTS {
            let mut db = self.write().await?;
            let marked = sqlx::query(
                r#"UPDATE notifications SET offered_at = ?2, push_at = NULL
                    WHERE (user_id, "offset") IN (
                        SELECT n.user_id, n."offset" FROM json_each(?1) j JOIN notifications n
                            ON n.user_id = j.value ->> 'user' AND n."offset" <= j.value ->> 'through'
                         WHERE n.push_at IS NOT NULL LIMIT ?3)"#,
            )
            .bind(rows::json_list(&users))
            .bind(at.process_ms())
            .bind(rows::limit(MAX_STATEMENT_ROWS))
            .execute(&mut *db)
            .await?;
            commit(db).await?;
            if marked.rows_affected() < MAX_STATEMENT_ROWS as u64 {
                break;
            }
        }
        Ok(())
    }
}

/// The users with a backlog among those whose rows have been due longest. Counting a user's rows stops at the first row
/// too many for a frame each.
async fn backlogged(db: &mut SqliteConnection, limit: i64, now_ms: i64) -> Result<Vec<String>, Failure> {
    sqlx::query_scalar(
        "SELECT user_id
           FROM (SELECT DISTINCT user_id
                   FROM (SELECT user_id FROM notifications WHERE push_at <= ?1 ORDER BY push_at LIMIT ?2)) AS users
          WHERE ?3 < (SELECT count(*)
                        FROM (SELECT 1 FROM notifications n
                               WHERE n.user_id = users.user_id AND n.push_at <= ?1 LIMIT ?3 + 1))",
    )
    .bind(now_ms)
    .bind(limit)
    .bind(rows::limit(MAX_FRAMES_PER_USER))
    .fetch_all(db)
    .await
    .map_err(Failure::from)
}

/// Takes the rows that have been due longest, except those of users with a backlog.
async fn take_rows(
    db: &mut SqliteConnection,
    epoch: Epoch,
    limit: i64,
    backlogged: &str,
    now_ms: i64,
) -> Result<Vec<Delivery>, Failure> {
    let found = sqlx::query(select_notifications!(
        r#"WHERE (n.user_id, n."offset") IN (SELECT user_id, "offset" FROM notifications
                                              WHERE push_at <= ?2 ORDER BY push_at LIMIT ?1)
             AND n.user_id NOT IN (SELECT value FROM json_each(?3))
           ORDER BY n.push_at"#
    ))
    .bind(limit)
    .bind(now_ms)
    .bind(backlogged)
    .fetch_all(&mut *db)
    .await?;
    take_found(db, epoch, &found, now_ms, delay_when_due_ms).await
}

/// Takes the rows with these users, offsets and fences. `keys`: a JSON list.
async fn take_keys(db: &mut SqliteConnection, epoch: Epoch, keys: &str, now_ms: i64) -> Result<Vec<Delivery>, Failure> {
    let found = sqlx::query(select_notifications!(
        r#"WHERE (n.user_id, n."offset", n.push_at) IN (SELECT value ->> 'user', value ->> 'offset', value ->> 'fence'
                                                          FROM json_each(?1))
           ORDER BY n.user_id, n."offset""#
    ))
    .bind(keys)
    .bind(now_ms)
    .fetch_all(&mut *db)
    .await?;
    take_found(db, epoch, &found, now_ms, delay_by_key_ms).await
}

/// Takes rows: each one's `push_at` moves ahead by `delay_ms` of its earlier attempts, or is cleared if there is
/// nothing left to push.
async fn take_found(
    db: &mut SqliteConnection,
    epoch: Epoch,
    found: &[SqliteRow],
    now_ms: i64,
    delay_ms: fn(i64) -> i64,
) -> Result<Vec<Delivery>, Failure> {
    let users: Result<Vec<String>, sqlx::Error> = found.iter().map(|row| row.try_get("user_id")).collect();
    let users = rows::json_list(&users?);
    let connections = rows::live_connections(db, &users, now_ms).await?;
    let expired = rows::expired_unread(db, &users, now_ms).await?;
    let (mut deliveries, mut next) = (Vec::new(), Vec::new());
    for row in found {
        let user = UserId::stored(row.try_get("user_id")?);
        let Ok(notification) = rows::notification(row, epoch) else {
            let offset = row.try_get("offset")?;
            dead_letter_push(db, &user, offset, Reason::Unreadable, now_ms).await?;
            continue;
        };
        let is_gone: bool = row.try_get("is_gone")?;
        let is_pushable = !is_gone && notification.read_at.is_none();
        let connections = connections.get(&user).filter(|_| is_pushable).cloned().unwrap_or_default();
        let attempts: i64 = row.try_get("push_attempts")?;
        let fence_ms = now_ms + delay_ms(attempts);
        let push_at = (!connections.is_empty()).then_some(fence_ms);
        next.push(json!({"user": user, "offset": notification.cursor.offset, "pushAt": push_at}));
        if !connections.is_empty() {
            let unread = row.try_get::<i64, _>("unread")? - expired.get(&user).copied().unwrap_or(0);
            let attempt = u32::try_from(attempts.saturating_add(1)).unwrap_or(u32::MAX);
            let replaces = Vec::new();
            deliveries.push(Delivery { user, notification, unread, replaces, connections, fence_ms, attempt });
        }
    }
    set_push_at(db, &next).await?;
    Ok(deliveries)
}

/// A resync for each user with a backlog and a connection.
async fn resyncs(db: &mut SqliteConnection, backlogged: &str, now_ms: i64) -> Result<Vec<Resync>, Failure> {
    let mut resyncs = Vec::new();
    for (user, connections) in rows::live_connections(db, backlogged, now_ms).await? {
        let through = rows::position(db, &user, now_ms).await?.head;
        resyncs.push(Resync { user, through, connections });
    }
    Ok(resyncs)
}

/// Takes as many rows of the backlog as one statement may change; returns how many.
async fn take_backlog(db: &mut SqliteConnection, backlogged: &str, now_ms: i64) -> Result<usize, Failure> {
    let taken = sqlx::query(
        r#"UPDATE notifications AS n
              SET push_attempts = push_attempts + 1,
                  push_at = CASE
                      WHEN read_at IS NULL AND deleted_at IS NULL AND coalesce(expires_at > ?2, TRUE)
                           AND EXISTS (SELECT 1 FROM connections c
                                        WHERE c.user_id = n.user_id AND c.token_expires_at > ?2)
                      THEN ?2 + min(?4, ?3 * (1 << min(push_attempts, 16)))
                  END
            WHERE (n.user_id, n."offset") IN (
                SELECT user_id, "offset" FROM notifications
                 WHERE user_id IN (SELECT value FROM json_each(?1)) AND push_at <= ?2 LIMIT ?5)"#,
    )
    .bind(backlogged)
    .bind(now_ms)
    .bind(PUSH_GRACE_MS)
    .bind(MAX_PUSH_DELAY_MS)
    .bind(rows::limit(MAX_STATEMENT_ROWS))
    .execute(db)
    .await?;
    Ok(usize::try_from(taken.rows_affected()).unwrap_or(usize::MAX))
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

async fn set_push_at(db: &mut SqliteConnection, next: &[Value]) -> Result<(), Failure> {
    sqlx::query(
        r#"UPDATE notifications SET push_at = j.value ->> 'pushAt', push_attempts = push_attempts + 1
             FROM json_each(?1) j WHERE user_id = j.value ->> 'user' AND "offset" = j.value ->> 'offset'"#,
    )
    .bind(rows::json_list(next))
    .execute(db)
    .await?;
    Ok(())
}
