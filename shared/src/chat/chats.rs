//! The promise of the record to hold chats and their members.

use async_trait::async_trait;

use crate::chat::audience::Audience;
use crate::chat::{Kind, OwnChat, Participant, Refusal, Summary};
use crate::clock::{At, Time};
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::Bounds;
use crate::page_key::PageKey;
use crate::sockets::connections::Connection;

/// Chats and their members. Every decision on membership is made in the transaction that acts on it.
#[async_trait]
pub trait Chats: Send + Sync {
    /// Creates a chat with its creator as the first member, or finds the one with the same id. Of concurrent calls one
    /// creates it. In a direct chat that exists, a caller who may accept it does so by asking.
    async fn create(&self, new: &NewChat<'_>, at: At) -> Result<Created, StoreError>;

    /// Performs a change of a member. One without effect moves no version and tells no one, so repeating it is harmless.
    async fn change(
        &self,
        chat: ChatId,
        member: &UserId,
        change: &Change,
        at: At,
    ) -> Result<Result<Changed, Refusal>, StoreError>;

    /// Hides a chat from a member until a later message, and clears what is in it; or shows it again with all of it. False
    /// if the user is not a member.
    async fn set_hidden(&self, chat: ChatId, member: &UserId, hidden: bool, at: At) -> Result<bool, StoreError>;

    /// A chat as a member sees it; `None` if the user is not a member.
    async fn find(&self, chat: ChatId, member: &UserId) -> Result<Option<OwnChat>, StoreError>;

    /// A page of a user's chats, newest activity first, and whether more follow.
    async fn list(&self, user: &UserId, page: &Page) -> Result<(Vec<OwnChat>, bool), StoreError>;

    /// A page of a chat's members in the order of joining, and whether more follow; `None` if the user is not a member.
    async fn members(
        &self,
        chat: ChatId,
        member: &UserId,
        page: &MemberPage,
    ) -> Result<Option<(Vec<Member>, bool)>, StoreError>;

    /// Where a user's chats stand that are not hidden, newest activity first, at most `limit`.
    async fn summaries(&self, user: &UserId, limit: usize) -> Result<Vec<Summary>, StoreError>;

    /// The members, and their connections, of a chat that hears of typing: accepted, and of at most
    /// [`MAX_SMALL`](crate::chat::MAX_SMALL) members; in a group only those members who were ever active there, as must be the
    /// user. Without members if the chat is none of these; `None` if the user is not a member.
    async fn audience(&self, chat: ChatId, member: &UserId, at: At) -> Result<Option<Audience>, StoreError>;
}

/// A chat to be created.
#[derive(Debug, Clone)]
pub struct NewChat<'a> {
    /// Its id, which follows from the pair, or from the creator's client id.
    pub id: ChatId,
    /// Whether it is direct.
    pub kind: Kind,
    /// Its title.
    pub title: Option<&'a str>,
    /// Its first member, and the owner of a group.
    pub creator: &'a UserId,
    /// The other members, each once, without the creator.
    pub others: &'a [UserId],
    /// SHA-256 over what the creator asked for, by which a client id that was used for something else is recognised.
    pub fingerprint: [u8; 32],
}

/// The result of creating a chat.
#[derive(Debug)]
pub enum Created {
    /// It was created.
    New(Changed),
    /// It existed, and was accepted by being asked for.
    Accepted(Changed),
    /// It existed.
    Known(OwnChat),
    /// Its id belongs to a group that was created with another request.
    Reused,
    /// It existed, and the creator is no longer a member.
    Left,
}

/// A change of a chat by one of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Accepts a direct chat; in a group it only says that the member wants to be there.
    Accept,
    /// Declines a direct chat.
    Decline,
    /// Changes the title of a group.
    Rename(String),
    /// Adds members to a group. Those who are there already are skipped.
    Add(Vec<UserId>),
    /// Removes members from a group. Those who are not there are skipped.
    Remove(Vec<UserId>),
    /// Leaves a group. If the owner does, the longest member owns it; with the last one it ends.
    Leave,
}

/// The effect of a change.
#[derive(Debug)]
pub struct Changed {
    /// The chat as the member who changed it sees it; `None` after leaving.
    pub chat: Option<OwnChat>,
    /// Whether anything has changed that members are to be told of.
    pub has_effect: bool,
    /// The connections of those who are members now.
    pub connections: Vec<Connection>,
    /// The connections of those who no longer are.
    pub removed: Vec<Connection>,
}

/// Which part of a user's chats to list.
#[derive(Debug, Clone)]
pub struct Page {
    /// Only those after this place.
    pub after: Option<PageKey<ChatId>>,
    /// How much to list.
    pub bounds: Bounds,
    /// Those that are hidden, instead of those that are not.
    pub hidden: bool,
}

/// Which part of a chat's members to list.
#[derive(Debug, Clone, Copy)]
pub struct MemberPage {
    /// Only those who joined after the one with this number.
    pub after: Option<i64>,
    /// How many to list.
    pub limit: usize,
}

/// A member as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number in the order of joining.
    pub number: i64,
    /// Who it is, and how far it has read.
    pub participant: Participant,
    /// When it joined.
    pub joined_at: Time,
}
