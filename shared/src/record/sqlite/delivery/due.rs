//! Taking what is due, in SQLite: a row each, and, of whom too much is due, all of it as one.

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::At;
use crate::cursor::Epoch;
use crate::delivery::dead_letters::Reason;
use crate::delivery::deliveries::{
    MAX_FRAMES_PER_USER, MAX_PUSH_DELAY_MS, MAX_STATEMENT_ROWS, MAX_STATEMENTS, Resync, RowKey, Taken, max_backoff_ms,
};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::inbox::{Delivery, PUSH_GRACE_MS};
use crate::record::sqlite::delivery::dead_letters::dead_letter_push;
use crate::record::sqlite::inbox::select_notifications;
use crate::record::sqlite::rows::{self, failed};
use crate::record::sqlite::{Connected, SqliteRecord, commit};

impl SqliteRecord {
    pub(crate) async fn take(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        let mut db = self.write().await?;
        let now_ms = at.process_ms();
        let limit = number(limit);
        let behind = rows::json_list(&behind(&mut db, limit, now_ms).await?);
        let deliveries = take_rows(&mut db, self.epoch, limit, &behind, now_ms).await?;
        let resyncs = resyncs(&mut db, &behind, now_ms).await?;
        let mut rest = take_rest(&mut db, &behind, now_ms).await?;
        commit(db).await?;
        let mut steps = 1;
        while rest >= MAX_STATEMENT_ROWS && steps < MAX_STATEMENTS {
            let mut db = self.write().await?;
            rest = take_rest(&mut db, &behind, now_ms).await?;
            commit(db).await?;
            steps += 1;
        }
        Ok(Taken { deliveries, resyncs })
    }

    pub(crate) async fn take_named(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        let keys: Vec<Value> = keys
            .iter()
            .map(|RowKey { user, offset, fence_ms }| json!({"user": user, "offset": offset, "fence": fence_ms}))
            .collect();
        let mut db = self.write().await?;
        let deliveries = take_keys(&mut db, self.epoch, &rows::json_list(&keys), at.process_ms()).await?;
        commit(db).await?;
        Ok(deliveries)
    }

    pub(crate) async fn postpone_rows(
        &self,
        rows: &[(RowKey<'_>, i64)],
        at: At,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let mut db = self.write().await?;
        let (now_ms, mut moved) = (at.process_ms(), Vec::new());
        for (key, wait_ms) in rows {
            let push_at = sqlx::query_scalar(
                r#"UPDATE notifications SET push_at = ?4 + ?5 + ?6
                    WHERE user_id = ?1 AND "offset" = ?2 AND push_at = ?3 RETURNING push_at"#,
            )
            .bind(key.user.as_str())
            .bind(key.offset)
            .bind(key.fence_ms)
            .bind(now_ms)
            .bind(wait_ms)
            .bind(PUSH_GRACE_MS)
            .fetch_optional(&mut *db)
            .await
            .map_err(failed)?;
            moved.push(push_at);
        }
        commit(db).await?;
        Ok(moved)
    }

    pub(crate) async fn resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        let users: Vec<Value> = users.iter().map(|(user, through)| json!({"user": user, "through": through})).collect();
        for _ in 0..MAX_STATEMENTS {
            let mut db = self.write().await?;
            let told = sqlx::query(
                r#"UPDATE notifications SET offered_at = ?2, push_at = NULL
                    WHERE (user_id, "offset") IN (
                        SELECT n.user_id, n."offset" FROM json_each(?1) j JOIN notifications n
                            ON n.user_id = j.value ->> 'user' AND n."offset" <= j.value ->> 'through'
                         WHERE n.push_at IS NOT NULL LIMIT ?3)"#,
            )
            .bind(rows::json_list(&users))
            .bind(at.process_ms())
            .bind(number(MAX_STATEMENT_ROWS))
            .execute(&mut *db)
            .await
            .map_err(failed)?;
            commit(db).await?;
            if told.rows_affected() < MAX_STATEMENT_ROWS as u64 {
                break;
            }
        }
        Ok(())
    }
}

/// Of those whose rows are due first, who has more due than gets a frame each.
async fn behind(db: &mut Connected, limit: i64, now_ms: i64) -> Result<Vec<String>, StoreError> {
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
    .bind(number(MAX_FRAMES_PER_USER))
    .fetch_all(db)
    .await
    .map_err(failed)
}

/// Takes the rows that are due first, but those of users who are behind.
async fn take_rows(
    db: &mut Connected,
    epoch: Epoch,
    limit: i64,
    behind: &str,
    now_ms: i64,
) -> Result<Vec<Delivery>, StoreError> {
    let found = sqlx::query(select_notifications!(
        r#"WHERE (n.user_id, n."offset") IN (SELECT user_id, "offset" FROM notifications
                                              WHERE push_at <= ?2 ORDER BY push_at LIMIT ?1)
             AND n.user_id NOT IN (SELECT value FROM json_each(?3))
           ORDER BY n.push_at"#
    ))
    .bind(limit)
    .bind(now_ms)
    .bind(behind)
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    take_found(db, epoch, &found, now_ms, wait_ms).await
}

/// Takes the rows of a user that stand at these offsets and are due then and at no other time. `keys`: a JSON list.
async fn take_keys(db: &mut Connected, epoch: Epoch, keys: &str, now_ms: i64) -> Result<Vec<Delivery>, StoreError> {
    let found = sqlx::query(select_notifications!(
        r#"WHERE (n.user_id, n."offset", n.push_at) IN (SELECT value ->> 'user', value ->> 'offset', value ->> 'fence'
                                                          FROM json_each(?1))
           ORDER BY n.user_id, n."offset""#
    ))
    .bind(keys)
    .bind(now_ms)
    .fetch_all(&mut *db)
    .await
    .map_err(failed)?;
    take_found(db, epoch, &found, now_ms, net_ms).await
}

/// Takes rows: each one's `push_at` moves ahead by what `wait_ms` makes of the times it was taken before, or goes where
/// nothing is left to push.
async fn take_found(
    db: &mut Connected,
    epoch: Epoch,
    found: &[SqliteRow],
    now_ms: i64,
    wait_ms: fn(i64) -> i64,
) -> Result<Vec<Delivery>, StoreError> {
    let users: Result<Vec<String>, sqlx::Error> = found.iter().map(|row| row.try_get("user_id")).collect();
    let users = rows::json_list(&users.map_err(failed)?);
    let connections = rows::connections_of(db, &users, now_ms).await?;
    let expired = rows::expired_unread(db, &users, now_ms).await?;
    let (mut deliveries, mut next) = (Vec::new(), Vec::new());
    for row in found {
        let user = UserId::stored(row.try_get("user_id").map_err(failed)?);
        let Ok(notification) = rows::notification(row, epoch) else {
            let offset = row.try_get("offset").map_err(failed)?;
            dead_letter_push(db, &user, offset, Reason::Unreadable, now_ms).await?;
            continue;
        };
        let is_gone: bool = row.try_get("is_gone").map_err(failed)?;
        let wanted = !is_gone && notification.read_at.is_none();
        let connections = connections.get(&user).filter(|_| wanted).cloned().unwrap_or_default();
        let attempts: i64 = row.try_get("push_attempts").map_err(failed)?;
        let fence_ms = now_ms + wait_ms(attempts);
        let push_at = (!connections.is_empty()).then_some(fence_ms);
        next.push(json!({"user": user, "offset": notification.cursor.offset, "pushAt": push_at}));
        if !connections.is_empty() {
            let unread = row.try_get::<i64, _>("unread").map_err(failed)? - expired.get(&user).copied().unwrap_or(0);
            let attempt = u32::try_from(attempts.saturating_add(1)).unwrap_or(u32::MAX);
            let replaces = Vec::new();
            deliveries.push(Delivery { user, notification, unread, replaces, connections, fence_ms, attempt });
        }
    }
    set_push_at(db, &next).await?;
    Ok(deliveries)
}

/// Who is told to sync: of those who are behind, whoever has a connection.
async fn resyncs(db: &mut Connected, behind: &str, now_ms: i64) -> Result<Vec<Resync>, StoreError> {
    let mut resyncs = Vec::new();
    for (user, connections) in rows::connections_of(db, behind, now_ms).await? {
        let through = rows::position(db, &user, now_ms).await?.head;
        resyncs.push(Resync { user, through, connections });
    }
    Ok(resyncs)
}

/// Takes what is due of users who are behind, as much of it as one statement may change; returns how much that was.
async fn take_rest(db: &mut Connected, behind: &str, now_ms: i64) -> Result<usize, StoreError> {
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
    .bind(behind)
    .bind(now_ms)
    .bind(PUSH_GRACE_MS)
    .bind(MAX_PUSH_DELAY_MS)
    .bind(number(MAX_STATEMENT_ROWS))
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(usize::try_from(taken.rows_affected()).unwrap_or(usize::MAX))
}

/// How long a row that was taken by its key, and `attempts` times before, waits until it comes back by itself.
fn net_ms(attempts: i64) -> i64 {
    let attempt = u32::try_from(attempts.saturating_add(1)).unwrap_or(u32::MAX);
    PUSH_GRACE_MS + max_backoff_ms(attempt)
}

/// How long a row that was taken `attempts` times before waits for whoever takes it next.
fn wait_ms(attempts: i64) -> i64 {
    PUSH_GRACE_MS.saturating_mul(1 << attempts.clamp(0, 16)).min(MAX_PUSH_DELAY_MS)
}

async fn set_push_at(db: &mut Connected, next: &[Value]) -> Result<(), StoreError> {
    sqlx::query(
        r#"UPDATE notifications SET push_at = j.value ->> 'pushAt', push_attempts = push_attempts + 1
             FROM json_each(?1) j WHERE user_id = j.value ->> 'user' AND "offset" = j.value ->> 'offset'"#,
    )
    .bind(rows::json_list(next))
    .execute(db)
    .await
    .map_err(failed)?;
    Ok(())
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
