//! Inboxes in SQLite.

mod change;
mod expire;
mod history;
mod retention;
pub(crate) mod sends;
mod snooze;

use async_trait::async_trait;
use rusqlite::{Row, params};

use crate::clock::At;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::bounds::Bounds;
use crate::inbox::notification::Notification;
use crate::inbox::{Change, Changed, Changes, CurrentState, Inbox, Listed, Page, Position};
use crate::record::sqlite::failure::Failure;
use crate::record::sqlite::rows::{self, select_notifications};
use crate::record::sqlite::statement::{execute, first, one, value};
use crate::record::sqlite::store::SqliteRecord;

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
        let user = user.clone();
        self.read(move |db| rows::position(db, &user, at.process_ms())).await
    }

    async fn try_unread_of_type(&self, user: &UserId, kind: &str, at: At) -> Result<i64, Failure> {
        let (user, kind) = (user.clone(), kind.to_owned());
        self.read(move |db| {
            let sql = "SELECT count(*) FROM notifications
                        WHERE user_id = ?1 AND type = ?3 AND read_at IS NULL AND deleted_at IS NULL
                          AND coalesce(expires_at > ?2, TRUE)";
            one(db, sql, params![user.as_str(), at.process_ms(), kind], value)
        })
        .await
    }

    async fn try_list(&self, user: &UserId, page: &Page, at: At) -> Result<Listed, Failure> {
        let (user, page) = (user.clone(), page.clone());
        self.read(move |db| {
            let now_ms = at.process_ms();
            let position = rows::position(db, &user, now_ms)?;
            let sql = select_notifications!(
                r#"WHERE n.user_id = ?1 AND n."offset" < ?3 AND NOT is_gone
                     AND (?4 IS NULL OR n.type = ?4) AND (NOT ?5 OR n.read_at IS NULL)
                   ORDER BY n."offset" DESC LIMIT ?6"#
            );
            let (before, kind) = (page.before.unwrap_or(i64::MAX), page.kind.as_deref());
            // One more than asked for, to see whether more follow.
            let limit = rows::one_more_than(page.bounds.items);
            let params = params![user.as_str(), now_ms, before, kind, page.unread, limit];
            let notification = |row: &Row<'_>| rows::notification(row, position.epoch);
            let (notifications, more) = rows::all_within(page.bounds, db, sql, params, notification)?;
            Ok(Listed { notifications, more, position })
        })
        .await
    }

    async fn try_find(&self, user: &UserId, id: NotificationId, at: At) -> Result<Option<Notification>, Failure> {
        let user = user.clone();
        self.read(move |db| {
            let epoch = rows::epoch(db)?;
            let sql = select_notifications!("WHERE n.user_id = ?1 AND n.id = ?3 AND NOT is_gone");
            let params = params![user.as_str(), at.process_ms(), id.as_bytes().as_slice()];
            first(db, sql, params, |row| rows::notification(row, epoch))
        })
        .await
    }

    async fn try_changes(
        &self,
        user: &UserId,
        since: Option<Cursor>,
        bounds: Bounds,
        at: At,
    ) -> Result<Option<Changes>, Failure> {
        let user = user.clone();
        self.read(move |db| {
            let now_ms = at.process_ms();
            let position = rows::position(db, &user, now_ms)?;
            if since.is_some_and(|since| !position.knows(since)) {
                return Ok(None);
            }
            let sql = select_notifications!(
                "WHERE n.user_id = ?1 AND n.version > ?3 AND (?4 OR NOT is_gone) ORDER BY n.version LIMIT ?5"
            );
            let (after, limit) = (since.map_or(0, |since| since.offset), rows::one_more_than(bounds.items));
            let params = params![user.as_str(), now_ms, after, since.is_some(), limit];
            let (changes, more) = rows::all_within(bounds, db, sql, params, |row| current_state(row, &position))?;
            Ok(Some(Changes { changes, complete: !more, position }))
        })
        .await
    }

    async fn try_change(&self, user: &UserId, change: &Change, at: At) -> Result<Option<Changed>, Failure> {
        let (user, change) = (user.clone(), change.clone());
        self.write(move |db| change::perform(db, &user, &change, at.process_ms())).await
    }

    async fn try_acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, Failure> {
        let user = user.clone();
        self.write(move |db| {
            let sql = "UPDATE inboxes SET acked = max(acked, ?2)
                        WHERE user_id = ?1 AND epoch = ?3 AND ?2 BETWEEN purged_through AND head";
            let settled = execute(db, sql, params![user.as_str(), cursor.offset, cursor.epoch.0.cast_signed()])?;
            if settled > 0 {
                // A device has shown what is settled, so that Web Push need not.
                let sql = r#"UPDATE notifications SET web_push_at = NULL
                              WHERE user_id = ?1 AND "offset" <= ?2 AND web_push_at IS NOT NULL
                                AND web_pushed_at IS NULL AND silent IS NOT TRUE"#;
                execute(db, sql, params![user.as_str(), cursor.offset])?;
            }
            // An inbox that never received anything has no row, and is at offset 0 all the same.
            Ok(settled > 0 || rows::position(db, &user, at.process_ms())?.knows(cursor))
        })
        .await
    }
}

fn current_state(row: &Row<'_>, position: &Position) -> Result<CurrentState, Failure> {
    let version = row.get("version")?;
    if row.get("is_gone")? {
        Ok(CurrentState::Deleted { version, id: rows::notification_id(row)? })
    } else {
        Ok(CurrentState::Present { version, notification: rows::notification(row, position.epoch)? })
    }
}
