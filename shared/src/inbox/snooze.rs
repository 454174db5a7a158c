//! The promise of the record that a snoozed notification is gone until its time comes, and arrives anew then.

use async_trait::async_trait;

use crate::clock::{At, Time};
use crate::delivery::Delivery;
use crate::error::StoreError;
use crate::ids::{NotificationId, UserId};
use crate::inbox::Changed;

/// How far ahead a notification may be snoozed at most, in milliseconds: 365 days.
pub const MAX_SNOOZE_MS: i64 = 365 * 24 * 60 * 60 * 1_000;

/// What users snooze.
#[async_trait]
pub trait Snoozes: Send + Sync {
    /// Snoozes a notification until the given time, or only until now if that is in the past. Meanwhile it is a tombstone,
    /// which takes the next offset of the inbox, with one difference: it can be deleted and snoozed again, and no purge
    /// takes it. Snoozing it again only moves its time, which takes no offset and concerns no connection.
    async fn snooze(&self, user: &UserId, id: NotificationId, until: Time, at: At) -> Result<Snoozed, StoreError>;

    /// Ends up to `limit` snoozes that are over, those that ended first, in one transaction. Each notification arrives anew
    /// under its id: it is unread, takes the next offset of its inbox as its arrival, and is due to be pushed as after
    /// `append`. None are left if it returns 0 snoozes, unless a concurrent call is working on them.
    ///
    /// A notification that has expired meanwhile, or a newer one of whose collapse key arrived meanwhile, stays a tombstone
    /// for good. That takes no offset: devices know it as deleted.
    async fn unsnooze(&self, limit: usize, at: At) -> Result<Unsnoozed, StoreError>;
}

/// The result of snoozing.
#[derive(Debug)]
pub enum Snoozed {
    /// It is neither in the user's inbox nor snoozed.
    Unknown,
    /// By then it will have expired, or is too old to be kept. Nothing has changed.
    TooLate,
    /// It is snoozed. Nothing changed in the inbox if it was snoozed before.
    Done(Changed),
}

/// The result of ending snoozes.
#[derive(Debug, Default)]
pub struct Unsnoozed {
    /// How many snoozes ended.
    pub snoozes: usize,
    /// What can be pushed, by user and in the order of arrival.
    pub deliveries: Vec<Delivery>,
    /// When the first Web Push is due, in milliseconds since 1970; `None` if no user has a subscription.
    pub web_push_at_ms: Option<i64>,
}
