//! The promise of the record to say who may know of whose presence, and when users were last connected.

use async_trait::async_trait;

use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::UserId;
use crate::sockets::connections::Connection;

/// How often the record notes that a user was connected, in milliseconds.
pub const SEEN_EVERY_MS: i64 = 60_000;
/// The most users who are told that another came online or went offline.
pub const MAX_NEIGHBOURS: usize = 200;
/// The most chats of a user, those with the newest activity, by which its neighbours are found.
pub const MAX_SHARED_CHATS: i64 = 1_000;

/// Who knows whom: users who share an accepted chat. In a group only those members count who were ever active there.
#[async_trait]
pub trait Acquaintances: Send + Sync {
    /// Those of the given users whom `viewer` knows, in their order; without a viewer all of them. The viewer itself is not
    /// among them.
    async fn visible(&self, viewer: Option<&UserId>, among: &[UserId]) -> Result<Vec<Acquaintance>, StoreError>;

    /// The live connections of users who know a user from chats of at most [`MAX_SMALL`](crate::chat::MAX_SMALL) members: of
    /// at most `limit` users, those with the newest activity in such a chat first.
    async fn neighbours(&self, user: &UserId, limit: usize, at: At) -> Result<Vec<Connection>, StoreError>;

    /// Notes that a user was connected at this time, unless one less than [`SEEN_EVERY_MS`] before, or a later one, is noted.
    async fn saw(&self, user: &UserId, seen_at: Time) -> Result<(), StoreError>;
}

/// A user as the record knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquaintance {
    /// Who it is.
    pub user: UserId,
    /// When it was last connected, if that is known; while it is connected, some time before.
    pub last_seen_at: Option<Time>,
}
