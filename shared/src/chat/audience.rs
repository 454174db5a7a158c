//! Who hears of typing in a chat, and the promise of the moment to remember that for a few seconds, since a user who types
//! says so every few seconds.

use async_trait::async_trait;

use crate::clock::At;
use crate::ids::{ChatId, UserId};
use crate::sockets::connections::Connection;

/// How long an audience is used at most, in milliseconds: as long as a device that has just connected may hear of no typing.
pub const AUDIENCE_MS: i64 = 10_000;
/// How long it is known that a chat has changed, in milliseconds: longer than an audience is used that was read before.
pub const CHANGE_MS: i64 = 2 * AUDIENCE_MS;
/// Later than the version of any chat: with it, a change refuses every audience. A Lua script can still count with it.
pub const EVERY_VERSION: i64 = i64::MAX >> 10;
/// The most connections of an audience that is remembered.
pub const MAX_REMEMBERED: usize = 200;

/// The members of a chat who hear of one another, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// The chat's version.
    pub version: i64,
    /// The members. None if there are none who hear, or if the member for whom it was read is not one of them.
    pub members: Vec<UserId>,
    /// Their connections.
    pub connections: Vec<Connection>,
}

impl Audience {
    /// The connections of all members but this one that are live; `None` if it is not among the members.
    pub fn others(&self, member: &UserId, now_ms: i64) -> Option<Vec<Connection>> {
        let is_other = |connection: &&Connection| connection.user != *member && connection.token_expires_at_ms > now_ms;
        self.members.contains(member).then(|| self.connections.iter().filter(is_other).cloned().collect())
    }
}

/// Audiences of chats, which may be out of date by [`AUDIENCE_MS`]: they decide over nothing that is stored.
///
/// A store may lose any at any time. No operation fails or takes longer than the moment's timeout.
#[async_trait]
pub trait Audiences: Send + Sync {
    /// Remembers the audience of a chat for [`AUDIENCE_MS`] from when it was read, this many milliseconds before `at`. Without
    /// effect if the chat is known to have a later version, or if an audience was read later.
    async fn remember(&self, chat: ChatId, audience: &Audience, age_ms: i64, at: At);

    /// The audience of a chat, if it was read less than this many milliseconds ago, and than [`AUDIENCE_MS`]; `None` if none is
    /// remembered.
    async fn recall(&self, chat: ChatId, max_age_ms: i64, at: At) -> Option<Audience>;

    /// Forgets the audience of a chat that has got a new version, unless it was read of that version. Audiences of earlier
    /// versions, which concurrent calls have read, are not remembered for the next [`CHANGE_MS`].
    async fn change(&self, chat: ChatId, version: i64, at: At);
}
