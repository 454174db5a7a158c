//! The promise of the record to keep the subscriptions of users' browsers.

use async_trait::async_trait;

use super::subscription::Subscription;
use crate::error::StoreError;
use crate::ids::{SubscriptionId, UserId};

/// The most subscriptions of one user.
pub const MAX_SUBSCRIPTIONS: usize = 10;

/// All subscriptions. Each endpoint has one owner.
#[async_trait]
pub trait Subscriptions: Send + Sync {
    /// Stores a subscription of a user. One that is known with the same keys moves to this user and becomes the newest; one that
    /// another user has with other keys is left alone. Beyond [`MAX_SUBSCRIPTIONS`] the oldest go. `issued_at_s`: when the
    /// token of the caller was issued, in seconds since 1970; a revoked one stores nothing.
    async fn subscribe(
        &self,
        user: &UserId,
        issued_at_s: Option<i64>,
        subscription: &Subscription,
    ) -> Result<Subscribed, StoreError>;

    /// Deletes a subscription of this user; false if the user has none of that id.
    async fn unsubscribe(&self, user: &UserId, id: SubscriptionId) -> Result<bool, StoreError>;

    /// Deletes subscriptions that have ended, whoever owns them.
    async fn forget(&self, ended: &[SubscriptionId]) -> Result<(), StoreError>;
}

/// The result of subscribing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    /// It is stored.
    Done,
    /// Another user has the endpoint, with other keys.
    Taken,
    /// The token of the caller was revoked.
    Revoked,
}
