//! The promise of the record to remember what has yet to be sent by Web Push, until it was sent or nobody needs it.

use std::fmt;

use async_trait::async_trait;

use super::subscription::Subscription;
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ChatId, NotificationId, SubscriptionId, UserId};
use crate::inbox::notification::Notification;
use crate::preferences::Preferences;

/// How long an open device may take to acknowledge a notification before it is sent by Web Push, in milliseconds.
pub const ACK_MS: i64 = 60_000;
/// The same for priority high and critical.
pub const URGENT_ACK_MS: i64 = 10_000;
/// How long the messages of a chat are collected for a member who is not connected, in milliseconds.
pub const CHAT_DIGEST_MS: i64 = 30_000;
/// For how long a push is claimed at first, in milliseconds; doubled with each further claim.
pub const CLAIM_MS: i64 = 60_000;
/// The longest claim, in milliseconds.
pub const MAX_CLAIM_MS: i64 = 60 * 60 * 1_000;
/// The most notifications that a digest counts.
pub const MAX_COUNTED: i64 = 1_000;
/// The most digests of a user that are taken at once.
pub const MAX_DIGESTS: i64 = 50;
/// In how many unread messages of a chat a digest looks for those who wrote.
pub const MAX_EXAMINED_MESSAGES: i64 = 100;

/// What has yet to be sent by Web Push, and what was sent and is to be closed.
///
/// A notification of a user with a subscription falls due when it arrives: at once if the user has no connection or it is
/// silent, and otherwise after [`ACK_MS`] or [`URGENT_ACK_MS`], unless a device acknowledges it before. Once it was read or
/// deleted it is no longer due, and falls due again to be closed if it was sent.
///
/// The messages of a chat fall due together, [`CHAT_DIGEST_MS`] after the first, for each member who has a subscription, no
/// connection, and in a group has accepted, written or read there.
#[async_trait]
pub trait WebPushes: Send + Sync {
    /// Takes up to `limit` notifications that are due. Each is claimed: no other worker takes it before the claim has lapsed,
    /// and that of a dead worker comes back. What nobody needs any longer is no longer due and not returned.
    async fn take_pushes(&self, limit: usize, at: At) -> Result<Vec<DuePush>, StoreError>;

    /// Says what became of claimed notifications, in one transaction. One whose claim has lapsed is left alone, except that it
    /// counts as sent if it was. One that was read meanwhile and was sent is due to be closed.
    async fn settle_pushes(&self, settled: &[SettledPush<'_>], at: At) -> Result<(), StoreError>;

    /// Takes the digests that are due of up to `limit` users, up to [`MAX_DIGESTS`] of each, as
    /// [`take_pushes`](Self::take_pushes) takes notifications. Those of one user are adjacent.
    async fn take_digests(&self, limit: usize, at: At) -> Result<Vec<DueDigest>, StoreError>;

    /// Says what became of claimed digests, in one transaction. What arrived for one while it was claimed is told with the
    /// next, after its window.
    async fn settle_digests(&self, settled: &[SettledDigest<'_>], at: At) -> Result<(), StoreError>;
}

/// A claimed notification.
#[derive(Debug)]
pub struct DuePush {
    /// Its row and claim.
    pub key: PushKey,
    /// What is to be done.
    pub task: Task,
    /// How often it was taken before.
    pub attempt: u32,
    /// Whether a subscription took it in an earlier attempt.
    pub was_sent: bool,
    /// Where to; those that took it in an earlier attempt are missing, unless it is closed.
    pub subscriptions: Vec<Subscription>,
    /// What its user wants.
    pub preferences: Preferences,
}

/// A notification's row, at one point of its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushKey {
    /// The owner of the inbox.
    pub user: UserId,
    /// The row's arrival position.
    pub offset: i64,
    /// When the claim lapses, in milliseconds since 1970.
    pub fence_ms: i64,
}

/// What is to be done with a notification.
#[derive(Debug)]
pub enum Task {
    /// It is sent.
    Send {
        /// The notification.
        notification: Notification,
        /// How many notifications its user has not read.
        unread: i64,
        /// Whether it is the first one that is unread and not acknowledged. Who shows it then has shown all up to it.
        is_next: bool,
    },
    /// What was sent is closed.
    Close(Shown),
}

/// Under what a notification was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Which one.
    pub id: NotificationId,
    /// Its collapse key.
    pub collapse_key: Option<String>,
    /// The digest that told of it.
    pub digest: Option<DigestTag>,
}

/// What became of a notification.
#[derive(Debug)]
pub struct SettledPush<'a> {
    /// Its row and claim.
    pub key: &'a PushKey,
    /// The end of this attempt.
    pub end: PushEnd,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushEnd {
    /// It was sent, and nothing is left to do.
    Sent,
    /// Nothing was sent, and nothing is left to do.
    Dropped,
    /// No subscription took it.
    Failed,
    /// Some subscriptions are left.
    Later {
        /// In how many milliseconds it is due again.
        delay_ms: i64,
        /// Which subscriptions.
        left: Vec<SubscriptionId>,
        /// Whether others took it.
        has_sent: bool,
    },
    /// A digest tells of it.
    Digest {
        /// Which one.
        tag: DigestTag,
        /// When it is due if it is new, in milliseconds since 1970.
        due_at_ms: i64,
        /// How long what arrives while it is sent waits for the next.
        window_ms: i64,
    },
}

/// What a digest tells of. No user has two of the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DigestTag {
    /// Notifications of a type.
    Type(String),
    /// The messages of a chat.
    Chat(ChatId),
    /// Notifications of quiet hours.
    Quiet,
}

impl DigestTag {
    /// Reads a stored tag; `None` if it is one of a later version.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("type", kind)) => Some(Self::Type(kind.to_owned())),
            Some(("chat", id)) => ChatId::parse(id).map(Self::Chat),
            _ => (text == "quiet").then_some(Self::Quiet),
        }
    }
}

impl fmt::Display for DigestTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(kind) => write!(f, "type:{kind}"),
            Self::Chat(id) => write!(f, "chat:{id}"),
            Self::Quiet => f.write_str("quiet"),
        }
    }
}

/// A claimed digest.
#[derive(Debug)]
pub struct DueDigest {
    /// Its row and claim.
    pub key: DigestKey,
    /// What it tells of, as far as that is unread.
    pub content: DigestContent,
    /// How often it was taken before.
    pub attempt: u32,
    /// Whether quiet hours have held it. Such digests are told together, under the tag of [`DigestTag::Quiet`].
    pub is_held: bool,
    /// Whether something was sent that is not closed: by an earlier attempt, or of a chat.
    pub is_shown: bool,
    /// Where to; those that took it in an earlier attempt are missing.
    pub subscriptions: Vec<Subscription>,
    /// What its user wants.
    pub preferences: Preferences,
}

/// A digest's row, at one point of its life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestKey {
    /// Whose it is.
    pub user: UserId,
    /// What it tells of.
    pub tag: DigestTag,
    /// When the claim lapses, in milliseconds since 1970.
    pub fence_ms: i64,
    /// How much has arrived for it.
    pub arrivals: i64,
    /// The arrival positions of the notifications that it tells of.
    pub told: Vec<i64>,
}

/// What a digest tells of.
#[derive(Debug)]
pub enum DigestContent {
    /// Notifications.
    Notifications {
        /// How many, at most [`MAX_COUNTED`].
        count: i64,
        /// The last one; `None` if there are none.
        newest: Option<Notification>,
        /// How many notifications the user has not read.
        unread: i64,
    },
    /// Messages of a chat.
    Messages {
        /// How many; 0 also if the user has left the chat.
        count: i64,
        /// What the last one says; `None` if there are none.
        newest: Option<String>,
        /// Who wrote them, each once, who wrote last first; of the last [`MAX_EXAMINED_MESSAGES`].
        senders: Vec<UserId>,
        /// The title of a group.
        title: Option<String>,
        /// Whether the user is connected by now.
        is_connected: bool,
    },
}

/// What became of a digest.
#[derive(Debug)]
pub struct SettledDigest<'a> {
    /// Its row and claim.
    pub key: &'a DigestKey,
    /// The end of this attempt.
    pub end: DigestEnd,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DigestEnd {
    /// It was sent. That of a chat remains, to be closed.
    Sent,
    /// Nothing was sent, or it was closed.
    Dropped,
    /// No subscription took it.
    Failed,
    /// Its user does not want it now. What was sent before of a chat remains, to be closed.
    Unwanted,
    /// Some subscriptions are left. If more has arrived meanwhile, all of them are asked.
    Later {
        /// In how many milliseconds it is due again.
        delay_ms: i64,
        /// Which subscriptions.
        left: Vec<SubscriptionId>,
        /// Whether others took it.
        has_sent: bool,
    },
    /// It waits for the end of quiet hours, in milliseconds since 1970.
    Held(i64),
}

/// How long a push is claimed that was taken so often before, in milliseconds. Postgres computes it in SQL.
#[cfg(any(feature = "sqlite", test))]
pub(crate) fn claim_ms(attempts: i64) -> i64 {
    (CLAIM_MS << attempts.clamp(0, 10)).min(MAX_CLAIM_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_read_as_it_was_written() {
        let chat = ChatId::from_uuid(uuid::Uuid::from_u128(5));
        for tag in [DigestTag::Type("a:b".into()), DigestTag::Chat(chat), DigestTag::Quiet] {
            assert_eq!(DigestTag::parse(&tag.to_string()), Some(tag));
        }
        for text in ["", "quiet:", "chat:x", "later:x"] {
            assert_eq!(DigestTag::parse(text), None, "{text}");
        }
    }

    #[test]
    fn claims_grow_up_to_an_hour() {
        assert_eq!([0, 1, 5, 6, i64::MAX].map(claim_ms), [60_000, 120_000, 1_920_000, 3_600_000, 3_600_000]);
    }
}
