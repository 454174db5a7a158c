//! Inboxes in Postgres.

mod change;
mod expire;
mod history;
mod read;
mod retention;
mod sends;
mod snooze;

use async_trait::async_trait;

use crate::clock::At;
use crate::cursor::Cursor;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::bounds::Bounds;
use crate::inbox::notification::Notification;
use crate::inbox::{Change, Changed, Changes, Inbox, Listed, Page, Position};
use crate::record::postgres::failure::Failure;
use crate::record::postgres::store::PostgresRecord;
use crate::record::postgres::timeout::{Db, Run};

#[async_trait]
impl Inbox for PostgresRecord {
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
        self.change_or_lock(user, change, at).await
    }

    async fn acknowledge(&self, user: &UserId, cursor: Cursor, at: At) -> Result<bool, StoreError> {
        Ok(self.try_acknowledge(user, cursor, at).await?)
    }
}

/// Locks inboxes in the order of their users, in which every statement locks them. A later statement of the transaction then
/// reads rows that no other change can change.
async fn lock_inboxes(db: &mut Db<'_>, users: &[String]) -> Result<(), Failure> {
    let lock = sqlx::query("SELECT FROM inboxes WHERE user_id = ANY ($1) ORDER BY user_id FOR UPDATE");
    lock.bind(users).run(db).await?;
    Ok(())
}
