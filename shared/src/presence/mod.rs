//! Presence: who is connected now. The promise of the moment to keep a lease for each connection is here, and that of the
//! record to say who may know in [`acquaintances`]; what calls and frames do with them is in [`telling`] and
//! [`leaving`].

pub mod acquaintances;
pub mod leaving;
pub mod renewals;
pub mod telling;

use async_trait::async_trait;
use serde::Serialize;

use crate::clock::{At, Time};
use crate::ids::{ConnectionId, UserId};

/// How long a user counts as online after one of its connections has closed, in milliseconds: long enough to come back
/// from a reload or from another network.
pub const GRACE_MS: i64 = 30_000;
/// The most users that are asked about at once.
pub const MAX_ASKED: usize = 200;

/// Leases of connections. A user is online as long as one of its leases lasts.
///
/// Leases are data that is compared with `at`; no answer depends on whether a store has already removed what has ended. A
/// store that loses leases makes users offline until their next frame. No operation fails or takes longer than the moment's
/// timeout; `None` if the moment is unavailable or keeps no leases.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Lets the lease of a connection last for `lease_ms` from `at`, which is harmless to repeat, and never shortens it. A
    /// connection that has left is not renewed, whatever frames of it are still under way. Says whether the user was offline
    /// before: of concurrent calls, one is told so.
    async fn renew(&self, user: &UserId, connection: &ConnectionId, lease_ms: i64, at: At) -> Option<Renewed>;

    /// Shortens the lease of a connection to [`GRACE_MS`] from `at`; never lengthens it. Without a lease it has no
    /// effect. Says whether no other lease of the user lasts longer.
    async fn leave(&self, user: &UserId, connection: &ConnectionId, at: At) -> Option<Left>;

    /// Forgets the leases of a user if all have ended. Of all calls after that, concurrent or not, one learns that the user
    /// went offline.
    async fn settle(&self, user: &UserId, at: At) -> Option<Settled>;

    /// Forgets all leases of a user who is erased, so that no call learns that it went offline.
    async fn forget_user(&self, user: &UserId);

    /// Whether each of these users is online, in their order.
    async fn online(&self, users: &[UserId], at: At) -> Option<Vec<bool>>;
}

/// What renewing a lease has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The user was offline.
    CameOnline,
    /// The user was online already, or the connection has left.
    Unchanged,
}

/// Whether another device keeps the user online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The user goes offline when this lease ends, unless a connection comes.
    Last,
    /// Another lease lasts longer, or there was no lease.
    NotLast,
}

/// Whether a user went offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It did, and only this call is told so.
    WentOffline {
        /// When its last lease ended, in milliseconds since 1970.
        ended_at_ms: i64,
    },
    /// It is online.
    Online {
        /// How long its last lease will last, in milliseconds.
        lasts_ms: i64,
    },
    /// There is no lease: this was told before, or the leases were lost.
    Unknown,
}

/// Whether a user is online, as answers and events tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserPresence {
    /// Who it is.
    pub user_id: UserId,
    /// Whether it is online; `None` if the moment is unavailable.
    pub online: Option<bool>,
    /// When it was last connected, if that is known.
    pub last_seen_at: Option<Time>,
}
