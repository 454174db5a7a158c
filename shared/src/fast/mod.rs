//! Fast accepts: the moment has a send or a message first, and a drain writes it to the record shortly after.
//!
//! The record decides before ([`FastRecord`]), so only the commit is saved. What was accepted waits in *logs* ([`log`]), each
//! of which belongs to some users and chats; [`mod@write`] writes them in their order. Every act of the record on an inbox or a
//! chat writes its log first ([`log_first`]), so nothing has to join the two, and the order of accepts holds across both.

pub mod accept;
pub mod in_use;
pub mod log;
pub mod log_first;
pub mod logged;
pub mod write;

use async_trait::async_trait;

use crate::chat::messages::{Appended, NewMessage};
use crate::clock::At;
use crate::error::StoreError;
use crate::fast::logged::{LoggedMessage, LoggedSend};
use crate::ids::{MessageId, SendId, UserId};
use crate::inbox::sends::FirstAnswer;
use crate::sockets::connections::Connection;

/// The promise of the record to decide on fast accepts, and to be written to from logs.
#[async_trait]
pub trait FastRecord: Send + Sync {
    /// Since when fast accepts are in use, in milliseconds since 1970; `None` if they never were.
    async fn fast_since(&self) -> Result<Option<i64>, StoreError>;

    /// Notes that fast accepts are in use. The first time counts.
    async fn use_fast(&self, at: At) -> Result<(), StoreError>;

    /// What decides on a send of this type to one user, in one statement.
    async fn check_send(&self, send: SendId, recipient: &UserId, kind: &str, at: At)
    -> Result<CheckedSend, StoreError>;

    /// What decides on a message, in one statement.
    async fn check_message(&self, new: &NewMessage<'_>, at: At) -> Result<CheckedMessage, StoreError>;

    /// Stores sends as [`Sends::append`](crate::inbox::sends::Sends::append) does, in their order and one transaction. Those
    /// that are stored change nothing. Their rows are due to be pushed at once. Returns those whose id belongs to another
    /// request.
    async fn write_sends(&self, sends: &[LoggedSend], at: At) -> Result<Vec<SendId>, StoreError>;

    /// Stores messages as [`Messages::append`](crate::chat::messages::Messages::append) does, in their order and one
    /// transaction, whether or not their senders may still write. Those that are stored change nothing, and those of a chat
    /// that has ended are dropped with it. They are due to be pushed at once. Returns those whose id belongs to another message.
    async fn write_messages(&self, messages: &[LoggedMessage], at: At) -> Result<Vec<MessageId>, StoreError>;
}

/// What the record knows of a send that is to be accepted.
#[derive(Debug)]
pub struct CheckedSend {
    /// The first answer, if the send is stored.
    pub first: Option<FirstAnswer>,
    /// The recipient's connections.
    pub connections: Vec<Connection>,
    /// Whether the recipient's preferences let open devices ring for this type.
    pub rings: bool,
}

/// What the record decides on a message that is to be accepted.
#[derive(Debug)]
pub enum CheckedMessage {
    /// It is stored, or its sender may not write.
    Decided(Appended),
    /// Its sender may write, and these connections are told of it.
    Admitted(Vec<Connection>),
    /// Only its commit decides: in a chat that was not accepted, a few messages are admitted; in one of more than
    /// [`MAX_SMALL`](crate::chat::MAX_SMALL) members, not every message is pushed.
    Undecided,
}
