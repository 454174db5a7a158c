//! Web Push in Postgres: subscriptions, and what has yet to be sent.

pub(crate) mod digests;
mod pushes;
mod subscriptions;

use async_trait::async_trait;
use sqlx::postgres::PgRow;

use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{SubscriptionId, UserId};
use crate::record::postgres::rows::{broken, column};
use crate::record::postgres::sql::retried;
use crate::record::postgres::store::PostgresRecord;
use crate::web_push::pushes::{DueDigest, DuePush, SettledDigest, SettledPush, WebPushes};
use crate::web_push::subscription::Subscription;
use crate::web_push::subscriptions::{Subscribed, Subscriptions};

#[async_trait]
impl Subscriptions for PostgresRecord {
    async fn subscribe(
        &self,
        user: &UserId,
        issued_at_s: Option<i64>,
        subscription: &Subscription,
    ) -> Result<Subscribed, StoreError> {
        retried!(self.try_subscribe(user, issued_at_s, subscription))
    }

    async fn unsubscribe(&self, user: &UserId, id: SubscriptionId) -> Result<bool, StoreError> {
        retried!(self.try_unsubscribe(user, id))
    }

    async fn forget(&self, ended: &[SubscriptionId]) -> Result<(), StoreError> {
        retried!(self.try_forget_subscriptions(ended))
    }
}

#[async_trait]
impl WebPushes for PostgresRecord {
    async fn take_pushes(&self, limit: usize, at: At) -> Result<Vec<DuePush>, StoreError> {
        retried!(self.try_take_pushes(limit, at))
    }

    async fn settle_pushes(&self, settled: &[SettledPush<'_>], at: At) -> Result<(), StoreError> {
        retried!(self.try_settle_pushes(settled, at))
    }

    async fn take_digests(&self, limit: usize, at: At) -> Result<Vec<DueDigest>, StoreError> {
        retried!(self.try_take_digests(limit, at))
    }

    async fn settle_digests(&self, settled: &[SettledDigest<'_>], at: At) -> Result<(), StoreError> {
        retried!(self.try_settle_digests(settled, at))
    }
}

/// Columns: endpoint, p256dh, auth; all null for a user without a subscription. One that cannot be read counts as none.
fn subscription(row: &PgRow) -> Result<Option<Subscription>, StoreError> {
    let Some(endpoint) = column::<Option<&str>>(row, "endpoint")? else { return Ok(None) };
    let subscription = Subscription::stored(endpoint, column(row, "p256dh")?, column(row, "auth")?);
    if let Err(part) = &subscription {
        tracing::error!(part, "a subscription to Web Push cannot be read");
    }
    Ok(subscription.ok())
}

/// Subscriptions as the list in which a row keeps those that are left.
fn list(left: &[SubscriptionId]) -> String {
    serde_json::to_string(left).expect("a list of ids is JSON")
}

/// Column: push_left, such a list; null stands for all.
fn left(row: &PgRow) -> Result<Option<Vec<SubscriptionId>>, StoreError> {
    let Some(text) = column::<Option<&str>>(row, "push_left")? else { return Ok(None) };
    let ids: Vec<String> = serde_json::from_str(text).map_err(|_| broken("push_left"))?;
    Ok(Some(ids.iter().filter_map(|id| SubscriptionId::parse(id)).collect()))
}

/// Adds the subscription of a row, if it is among those that are left.
fn add_left(row: &PgRow, subscriptions: &mut Vec<Subscription>) -> Result<(), StoreError> {
    let left = left(row)?;
    let subscription = subscription(row)?;
    subscriptions.extend(subscription.filter(|one| left.as_ref().is_none_or(|left| left.contains(&one.id))));
    Ok(())
}
