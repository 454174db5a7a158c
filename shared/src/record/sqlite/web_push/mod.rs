//! Web Push in SQLite: subscriptions, and what has yet to be sent.

pub(crate) mod absent;
mod digests;
mod pushes;
mod subscriptions;

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{SubscriptionId, UserId};
use crate::record::sqlite::failure::{Failure, broken};
use crate::record::sqlite::rows;
use crate::record::sqlite::statement::all;
use crate::record::sqlite::store::SqliteRecord;
use crate::web_push::pushes::{DueDigest, DuePush, SettledDigest, SettledPush, WebPushes};
use crate::web_push::subscription::Subscription;
use crate::web_push::subscriptions::{Subscribed, Subscriptions};

#[async_trait]
impl Subscriptions for SqliteRecord {
    async fn subscribe(
        &self,
        user: &UserId,
        issued_at_s: Option<i64>,
        subscription: &Subscription,
    ) -> Result<Subscribed, StoreError> {
        Ok(self.try_subscribe(user, issued_at_s, subscription).await?)
    }

    async fn unsubscribe(&self, user: &UserId, id: SubscriptionId) -> Result<bool, StoreError> {
        Ok(self.try_unsubscribe(user, id).await?)
    }

    async fn forget(&self, ended: &[SubscriptionId]) -> Result<(), StoreError> {
        Ok(self.try_forget_subscriptions(ended).await?)
    }
}

#[async_trait]
impl WebPushes for SqliteRecord {
    async fn take_pushes(&self, limit: usize, at: At) -> Result<Vec<DuePush>, StoreError> {
        Ok(self.try_take_pushes(limit, at).await?)
    }

    async fn settle_pushes(&self, settled: &[SettledPush<'_>], at: At) -> Result<(), StoreError> {
        Ok(self.try_settle_pushes(settled, at).await?)
    }

    async fn take_digests(&self, limit: usize, at: At) -> Result<Vec<DueDigest>, StoreError> {
        Ok(self.try_take_digests(limit, at).await?)
    }

    async fn settle_digests(&self, settled: &[SettledDigest<'_>], at: At) -> Result<(), StoreError> {
        Ok(self.try_settle_digests(settled, at).await?)
    }
}

/// The subscriptions of a user, the oldest first, of those that are left. One that cannot be read counts as none.
fn subscriptions(db: &Connection, user: &UserId, left: Option<&str>) -> Result<Vec<Subscription>, Failure> {
    let left: Option<Vec<String>> =
        left.map(|left| serde_json::from_str(left).map_err(|_| broken("push_left"))).transpose()?;
    let sql = "SELECT endpoint, p256dh, auth FROM push_subscriptions WHERE user_id = ?1 ORDER BY number";
    let found = all(db, sql, params![user.as_str()], subscription)?;
    let is_left = |one: &Subscription| left.as_ref().is_none_or(|left| left.contains(&one.id.to_string()));
    Ok(found.into_iter().flatten().filter(is_left).collect())
}

fn subscription(row: &Row<'_>) -> Result<Option<Subscription>, Failure> {
    let (p256dh, auth) = (rows::blob(row, "p256dh")?, rows::blob(row, "auth")?);
    let subscription = Subscription::stored(rows::text(row, "endpoint")?, p256dh, auth);
    if let Err(part) = &subscription {
        tracing::error!(part, "a subscription to Web Push cannot be read");
    }
    Ok(subscription.ok())
}
