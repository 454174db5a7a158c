//! Delivery: the way of a notification from its stored row to the user's devices. Materialising, pushing, the queue of what
//! is left, retries, dead letters, and waking the drain. What a notification is and how it is stored is the inbox's.

pub mod backoff;
pub mod dead_letters;
pub mod deliveries;
pub mod fair_share;
pub mod lambda;
pub mod offer;
pub mod queue;
pub mod redriving;
pub mod resync;
pub mod wake;
pub mod work;

use crate::ids::{NotificationId, UserId};
use crate::inbox::notification::Notification;
use crate::sockets::connections::Connection;

/// How long the row of a user with connections waits for its push, in milliseconds, before the drain takes it over.
pub const PUSH_GRACE_MS: i64 = 5_000;

/// A notification on its way to the sockets of its user.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The owner of the inbox.
    pub user: UserId,
    /// What is pushed.
    pub notification: Notification,
    /// When it arrived, in milliseconds since 1970: not when it first did, if it was snoozed since.
    pub arrived_at_ms: i64,
    /// How many notifications the user has not read, this one included.
    pub unread: i64,
    /// What it replaced on arrival, in the offsets before its own; empty when it is pushed again.
    pub replaces: Vec<NotificationId>,
    /// The user's connections, without those whose token has expired.
    pub connections: Vec<Connection>,
    /// The row's `push_at`, in milliseconds since 1970: when the drain takes it over unless it is offered before.
    pub fence_ms: i64,
    /// How often it was pushed before.
    pub attempt: u32,
}
