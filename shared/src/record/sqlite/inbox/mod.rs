//! Inboxes in SQLite.

mod change;
mod expire;
mod history;
mod retention;
pub(crate) mod sends;

use async_trait::async_trait;
use futures_util::StreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::At;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::bounds::{Bounds, within};
use crate::inbox::notification::Notification;
use crate::inbox::{Change, Changed, Changes, CurrentState, Inbox, Listed, Page, Position};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{self, select_notifications};
use crate::record::sqlite::store::{SqliteRecord, commit};

#[async_trait]
impl Inbox for SqliteRecord {
    async fn position(&self, user: &UserId, at: At) -> Result<Position, StoreError> {
        Ok(self.try_position(user, at).await?)
    }

    async fn unread_of_type(&self, user: &UserId, kind: &str, at: At) -> Result<i64, StoreError> {
        Ok(self.try_unread_of_type(user, kind, at).await?)
    }

    async fn list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, StoreError> {
        Ok(self.try_list(user, page, at).await?)
    }

    async fn find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, StoreError> {
        Ok(self.try_find(user, id, at).await?)
    }

    async fn changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        bounds: Bounds,
        at: At,
    ) -> Result<Option<Changes>, StoreError> {
        Ok(self.try_changes(user, since, bounds, at).await?)
    }

    async fn change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, StoreError> {
        Ok(self.try_change(user, change, at).await?)
    }

    async fn acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, StoreError> {
        Ok(self.try_acknowledge(user, cursor, at).await?)
    }
}

impl SqliteRecord {
    async fn try_position(&self, user: &UserId, at: At) -> Result<Position, Failure> {
        rows::position(&mut *self.reader().await?, user, at.process_ms()).await
    }

    async fn try_unread_of_type(&self, user: &UserId, kind: &str, at: At) -> Result<i64, Failure> {
        let unread = sqlx::query_scalar(
            "SELECT count(*) FROM notifications
              WHERE user_id = ?1 AND type = ?3 AND read_at IS NULL AND deleted_at IS NULL
                AND coalesce(expires_at > ?2, TRUE)",
        );
        let unread = unread.bind(user.as_str()).bind(at.process_ms()).bind(kind);
        Ok(unread.fetch_one(&mut *self.reader().await?).await?)
    }

    async fn try_list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, Failure> {
        let now_ms = at.process_ms();
        let mut db = self.read().await?;
        let position = rows::position(&mut db, user, now_ms).await?;
        let found = sqlx::query(select_notifications!(
            r#"WHERE n.user_id = ?1 AND n."offset" < ?3 AND NOT is_gone
                 AND (?4 IS NULL OR n.type = ?4) AND (NOT ?5 OR n.read_at IS NULL)
               ORDER BY n."offset" DESC LIMIT ?6"#
        ))
        .bind(user.as_str())
        .bind(now_ms)
        .bind(page.before.unwrap_or(i64::MAX))
        .bind(page.kind.as_deref())
        .bind(page.unread)
        // One more than asked for, to see whether more follow.
        .bind(rows::one_more_than(page.bounds.items))
        .fetch(&mut *db);
        let found = found.map(|row| rows::notification(&row?, position.epoch));
        let (notifications, more) = within(page.bounds, found).await?;
        Ok(Listed { notifications, more, position })
    }

    async fn try_find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, Failure> {
        let row = sqlx::query(select_notifications!("WHERE n.user_id = ?1 AND n.id = ?3 AND NOT is_gone"))
            .bind(user.as_str())
            .bind(at.process_ms())
            .bind(id.as_bytes().as_slice())
            .fetch_optional(&mut *self.reader().await?)
            .await?;
        row.map(|row| rows::notification(&row, self.epoch)).transpose()
    }

    async fn try_changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        bounds: Bounds,
        at: At,
    ) -> Result<Option<Changes>, Failure> {
        let now_ms = at.process_ms();
        let mut db = self.read().await?;
        let position = rows::position(&mut db, user, now_ms).await?;
        if since.is_some_and(|since| !position.knows(since)) {
            return Ok(None);
        }
        let found = sqlx::query(select_notifications!(
            "WHERE n.user_id = ?1 AND n.version > ?3 AND (?4 OR NOT is_gone) ORDER BY n.version LIMIT ?5"
        ))
        .bind(user.as_str())
        .bind(now_ms)
        .bind(since.map_or(0, |since| since.offset))
        .bind(since.is_some())
        .bind(rows::one_more_than(bounds.items))
        .fetch(&mut *db);
        let found = found.map(|row| current_state(&row?, &position));
        let (changes, more) = within(bounds, found).await?;
        Ok(Some(Changes { changes, complete: !more, position }))
    }

    async fn try_change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, Failure> {
        let mut db = self.write().await?;
        let changed = change::perform(&mut db, user, change, at.process_ms()).await?;
        commit(db).await?;
        Ok(changed)
    }

    async fn try_acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, Failure> {
        let mut db = self.write().await?;
        let settled = sqlx::query(
            "UPDATE inboxes SET acked = max(acked, ?2)
              WHERE user_id = ?1 AND epoch = ?3 AND ?2 BETWEEN purged_through AND head",
        )
        .bind(user.as_str())
        .bind(cursor.offset)
        .bind(cursor.epoch.0.cast_signed())
        .execute(&mut *db)
        .await?;
        // An inbox that never received anything has no row, and is at offset 0 all the same.
        let known = settled.rows_affected() > 0 || rows::position(&mut db, user, at.process_ms()).await?.knows(cursor);
        commit(db).await?;
        Ok(known)
    }
}

fn current_state(row: &SqliteRow, position: &Position) -> Result<CurrentState, Failure> {
    let version = row.try_get("version")?;
    if row.try_get("is_gone")? {
        Ok(CurrentState::Deleted { version, id: rows::notification_id(row)? })
    } else {
        Ok(CurrentState::Present { version, notification: rows::notification(row, position.epoch)? })
    }
}
