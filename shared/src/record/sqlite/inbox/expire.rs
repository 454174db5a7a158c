//! Making tombstones of expired notifications in SQLite.

use sqlx::Row;

use crate::ids::{NotificationId, UserId};
use crate::inbox::Changed;
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::store::{SqliteRecord, commit};

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
        let next_expiry_ms: Option<i64> = sqlx::query_scalar(
            "SELECT min(expires_at) FROM notifications WHERE expires_at IS NOT NULL AND deleted_at IS NULL",
        )
        .fetch_one(&mut *self.reader().await?)
        .await?;
        if next_expiry_ms.is_none_or(|expires_ms| expires_ms > now_ms) {
            return Ok(Vec::new());
        }
        let mut db = self.write().await?;
        let found = sqlx::query(
            r#"SELECT user_id, "offset", id, read_at FROM (
                   SELECT user_id, "offset", id, read_at FROM notifications
                    WHERE deleted_at IS NULL AND expires_at <= ?1 ORDER BY expires_at, user_id, "offset" LIMIT ?2)
                ORDER BY user_id, "offset""#,
        )
        .bind(now_ms)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&mut *db)
        .await?;
        let mut by_user: Vec<Expired> = Vec::new();
        for row in &found {
            let user = UserId::stored(row.try_get("user_id")?);
            if by_user.last().is_none_or(|last| last.user != user) {
                by_user.push(Expired { user, offsets: Vec::new(), ids: Vec::new(), unread: 0 });
            }
            let Some(last) = by_user.last_mut() else { continue };
            last.offsets.push(row.try_get("offset")?);
            last.ids.push(rows::notification_id(row)?);
            last.unread += i64::from(row.try_get::<Option<i64>, _>("read_at")?.is_none());
        }
        let users: Vec<&UserId> = by_user.iter().map(|expired| &expired.user).collect();
        let mut connections = rows::live_connections(&mut db, &rows::json_list(&users), now_ms).await?;
        let mut changes = Vec::with_capacity(by_user.len());
        for expired in by_user {
            let prev = rows::position(&mut db, &expired.user, now_ms).await?.cursor();
            // `key` is the index in the list, from 0.
            sqlx::query(
                r#"UPDATE notifications SET version = ?2 + 1 + j.key, deleted_at = ?4, push_at = NULL
                     FROM json_each(?3) j WHERE user_id = ?1 AND "offset" = j.value"#,
            )
            .bind(expired.user.as_str())
            .bind(prev.offset)
            .bind(rows::json_list(&expired.offsets))
            .bind(now_ms)
            .execute(&mut *db)
            .await?;
            sqlx::query("UPDATE inboxes SET head = head + ?2, unread = unread - ?3 WHERE user_id = ?1")
                .bind(expired.user.as_str())
                .bind(i64::try_from(expired.ids.len()).map_err(|_| broken("an inbox"))?)
                .bind(expired.unread)
                .execute(&mut *db)
                .await?;
            let position = rows::position(&mut db, &expired.user, now_ms).await?;
            let changed = Changed {
                prev,
                cursor: position.cursor(),
                known: expired.ids.len(),
                ids: expired.ids,
                unread: position.unread,
                connections: connections.remove(&expired.user).unwrap_or_default(),
            };
            changes.push((expired.user, changed));
        }
        commit(db).await?;
        Ok(changes)
    }
}
