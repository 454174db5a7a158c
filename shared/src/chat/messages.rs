//! The promise of the record to hold messages, and how far each member has read them.

use async_trait::async_trait;

use crate::chat::Refusal;
use crate::chat::message::Message;
use crate::clock::At;
use crate::error::StoreError;
use crate::ids::{ChatId, MessageId, UserId};
use crate::inbox::bounds::Bounds;
use crate::sockets::connections::Connection;
use crate::telemetry::trace::TraceParent;

/// How many connected members a message is pushed to at once; the drain pushes it to the others.
pub const MAX_PUSHED_MEMBERS: usize = 20;

/// Messages and read marks. In each chat `seq` has no gaps and is in the order of commits, so a reader who knows everything
/// up to a `seq` misses nothing by asking for what is after it.
#[async_trait]
pub trait Messages: Send + Sync {
    /// Appends a message and moves its sender's read mark to it, in one transaction that also decides whether the sender may
    /// write. A client id that was used takes no `seq`.
    ///
    /// If a member is connected, the message is due to be pushed after the grace period
    /// ([`PUSH_GRACE_MS`](crate::delivery::PUSH_GRACE_MS)), unless it is marked as pushed before.
    ///
    /// In a large chat, of more than [`MAX_SMALL`](crate::chat::MAX_SMALL) members, it waits if a message was pushed less
    /// than [`MIN_PUSH_INTERVAL_MS`](crate::chat::MIN_PUSH_INTERVAL_MS) ago: it is due at the end of that interval.
    async fn append(&self, new: &NewMessage<'_>, at: At) -> Result<Appended, StoreError>;

    /// What [`append`](Self::append) answers to a repeat: the message that has this id, if the sender is still a member.
    async fn first(&self, new: &NewMessage<'_>) -> Result<Option<Appended>, StoreError>;

    /// Messages in the order of `seq`, as far as the member sees them; `None` if the user is not a member.
    ///
    /// `known` are messages of the chat that the caller has already: a run in the order of `seq`, without gaps, or nothing.
    /// Those are not read if the last of them is stored with its `seq`, id and time, and none of them was erased since;
    /// otherwise none of them is used.
    async fn history(
        &self,
        chat: ChatId,
        member: &UserId,
        range: Range,
        bounds: Bounds,
        known: &[Message],
    ) -> Result<Option<History>, StoreError>;

    /// Moves a member's read mark up to a message, or to the last one if that is beyond it. It never moves back. `None` if the
    /// user is not a member.
    async fn read(&self, chat: ChatId, member: &UserId, seq: i64, at: At) -> Result<Option<Marked>, StoreError>;

    /// Marks messages as pushed to all members: they are no longer due.
    async fn mark_pushed(&self, messages: &[(ChatId, i64)]) -> Result<(), StoreError>;

    /// Marks a message as pushed to the members up to this number, and as due now for the others.
    async fn mark_partly_pushed(&self, chat: ChatId, seq: i64, through: i64, at: At) -> Result<(), StoreError>;

    /// Takes up to `limit` messages that are due. Each one's time moves ahead by 5 s, doubled with every time it was taken, so
    /// no other worker takes it meanwhile and those of a dead worker come back. A message that has no connected member left
    /// to be pushed to is no longer due and not returned.
    ///
    /// Of a large chat, one message at a time is returned until it was pushed to all members, and the next one not before the
    /// interval has passed. That is the chat's last message; those in between are no longer due, since members who receive
    /// it see the gap in `seq` and read them.
    async fn take_due_messages(&self, limit: usize, at: At) -> Result<Vec<DueMessage>, StoreError>;
}

/// A message to be appended.
#[derive(Debug, Clone)]
pub struct NewMessage<'a> {
    /// Derived from the chat, the sender and the client id.
    pub id: MessageId,
    /// Its chat.
    pub chat: ChatId,
    /// Who writes.
    pub sender: &'a UserId,
    /// The sender's own id for it.
    pub client_id: &'a str,
    /// What it says.
    pub body: &'a str,
    /// A compact JSON object.
    pub data: &'a str,
    /// The span of the call that it came with.
    pub trace: Option<TraceParent>,
}

/// The result of appending.
#[derive(Debug)]
pub enum Appended {
    /// It was stored.
    Stored {
        /// The message.
        message: Message,
        /// Whom to push it to.
        recipients: Recipients,
    },
    /// The client id was used before for this message.
    Known(Message),
    /// The client id was used before for another message.
    Reused,
    /// The sender may not write.
    Refused(Refusal),
}

impl Appended {
    /// The answer to a message whose id this one has already.
    pub fn repeat(first: Message, new: &NewMessage<'_>) -> Self {
        let is_same = first.body == new.body && first.data.get() == new.data;
        if is_same { Self::Known(first) } else { Self::Reused }
    }
}

/// The connections that a message is pushed to.
#[derive(Debug, Default)]
pub struct Recipients {
    /// Those of the sender and of the first connected members.
    pub connections: Vec<Connection>,
    /// The number of the last member among them, if further ones are connected.
    pub continues_after: Option<i64>,
    /// Whether there are none because the message waits for the next interval of a large chat.
    pub waits: bool,
    /// Whether members are told by Web Push before long.
    pub web_push_is_due: bool,
}

/// Which messages to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// The last ones.
    Last,
    /// The last ones before this `seq`.
    Before(i64),
    /// The first ones after this `seq`.
    After(i64),
}

/// A part of a chat's messages.
#[derive(Debug)]
pub struct History {
    /// In the order of `seq`.
    pub messages: Vec<Message>,
    /// Whether there are none further on in the direction of the range.
    pub complete: bool,
    /// The `seq` of the chat's last message.
    pub last_seq: i64,
    /// Whether the last of the known messages is stored, or there are none.
    pub has_confirmed: bool,
}

/// Where a read mark stands.
#[derive(Debug)]
pub struct Marked {
    /// Up to which message.
    pub seq: i64,
    /// How many are unread.
    pub unread: i64,
    /// Whether it was moved now.
    pub has_moved: bool,
    /// The member's own connections, if it was moved.
    pub own: Vec<Connection>,
    /// The connections of other members who get receipts of this one, if it was moved.
    pub others: Vec<Connection>,
    /// Whether what Web Push has shown of the chat is to be closed.
    pub web_push_is_due: bool,
}

/// A message to be pushed by a drain.
#[derive(Debug)]
pub struct DueMessage {
    /// The message.
    pub message: Message,
    /// Whom to push it to.
    pub recipients: Recipients,
    /// The span of the call that it came with.
    pub trace: Option<TraceParent>,
}
