//! Chats: who talks with whom, what was said in which order, and how far each member has read. The promises of the record
//! in [`chats`] and [`messages`], those of the moment in [`cache`] and [`audience`]; what calls and frames do with them is in [`joining`],
//! [`writing`], [`history`], [`reading`] and [`typing`].

pub mod audience;
pub mod cache;
pub mod chats;
pub mod decide;
pub mod draft;
pub mod fast;
pub mod history;
pub mod joining;
pub mod message;
pub mod messages;
pub mod reading;
pub mod typing;
pub mod window;
pub mod writing;

use serde::Serialize;

use crate::clock::Time;
use crate::error::Error;
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::{Item, json_bytes};

use self::message::Message;

/// The most members of a chat.
pub const MAX_MEMBERS: usize = 1_000;
/// The most participants that a [`Chat`] names.
pub const MAX_PARTICIPANTS: usize = 20;
/// In chats of more members, receipts, typing and presence are not pushed, and messages at most once a second.
pub const MAX_SMALL: i64 = 100;
/// In chats of more than [`MAX_SMALL`] members, the least time between two messages that are pushed, in milliseconds.
pub const MIN_PUSH_INTERVAL_MS: i64 = 1_000;
/// How many messages the creator of a direct chat may write before the other accepts.
pub const MAX_PENDING_MESSAGES: i64 = 3;

/// Whether a chat is between two users or among many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Of two users, who have one such chat.
    Direct,
    /// Of up to [`MAX_MEMBERS`].
    Group,
}

impl Kind {
    /// Its name in the API and in stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Direct, Self::Group].into_iter().find(|kind| kind.name() == name)
    }
}

/// Whether a direct chat was accepted. Groups always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Only its creator writes, and not much.
    Pending,
    /// All members write.
    Accepted,
    /// No member writes, until the one who declined accepts.
    Declined,
}

impl Status {
    /// Its name in the API and in stores.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Accepted => "ACCEPTED",
            Self::Declined => "DECLINED",
        }
    }

    /// The status of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Accepted, Self::Declined].into_iter().find(|status| status.name() == name)
    }
}

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Removes members too.
    Owner,
    /// Writes, adds members and changes the title.
    Member,
}

/// A member as a [`Chat`] names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// Who it is; `None` if that user was erased.
    pub user_id: Option<UserId>,
    /// What it may do.
    pub role: Role,
    /// The message up to which it has read.
    pub read_seq: i64,
}

/// A chat as all its members see it: what a `chat` event tells.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Chat {
    /// Its id.
    pub id: ChatId,
    /// Whether it is direct.
    pub kind: Kind,
    /// Of a group, if it has one.
    pub title: Option<String>,
    /// Whether it was accepted.
    pub status: Status,
    /// The first [`MAX_PARTICIPANTS`] by joining, among them the user for whom it was read.
    pub participants: Vec<Participant>,
    /// How many members it has.
    pub member_count: i64,
    /// Who created it; `None` if that user was erased.
    pub created_by: Option<UserId>,
    /// When it was created.
    pub created_at: Time,
    /// Grows by one with every change of title, members or status.
    pub version: i64,
    /// The `seq` of its last message; 0 without any.
    pub last_seq: i64,
}

/// A chat as one member sees it. Serialises as the API's `Chat`.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnChat {
    /// What all see.
    #[serde(flatten)]
    pub chat: Chat,
    /// The last message, unless it was cleared.
    pub last_message: Option<Message>,
    /// The message up to which the member has read.
    pub read_seq: i64,
    /// How many messages are unread.
    pub unread: i64,
    /// Whether the member has hidden it.
    pub hidden: bool,
    /// When it was created or last written in: the order of lists.
    #[serde(skip)]
    pub active_at: Time,
}

impl Item for OwnChat {
    fn json_bytes(&self) -> usize {
        json_bytes(self) + 1
    }
}

/// Where a chat stands for one member: what a sync tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Which chat.
    pub chat_id: ChatId,
    /// The `seq` of its last message.
    pub last_seq: i64,
    /// The message up to which the member has read.
    pub read_seq: i64,
    /// How many messages are unread.
    pub unread: i64,
    /// Whether it was accepted.
    pub status: Status,
    /// Of its title, members and status.
    pub version: i64,
}

/// Why a member may not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such chat, or the user is not a member: to the user it is the same.
    NotAMember,
    /// The member lacks the right.
    NotAllowed(&'static str),
    /// The chat's state does not admit it.
    Conflict(&'static str),
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotAMember => Self::NotFound,
            Refusal::NotAllowed(why) => Self::NotAllowed(why),
            Refusal::Conflict(why) => Self::Conflict(why),
        }
    }
}
