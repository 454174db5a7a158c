//! A message: what a member said, at one place in the chat's order.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::clock::Time;
use crate::fast::logged::LoggedMessage;
use crate::ids::{ChatId, MessageId, UserId};
use crate::inbox::bounds::{Item, json_bytes};

/// A stored message. Serialises as the API's `Message`.
#[derive(Debug, Clone)]
pub struct Message {
    /// Derived from the chat, the sender and the client id, so that every copy has the same id.
    pub id: MessageId,
    /// Its chat.
    pub chat: ChatId,
    /// Its place in the chat: from 1, without gaps, the same for all members.
    pub seq: i64,
    /// Who wrote it; `None` if that user was erased.
    pub sender: Option<UserId>,
    /// The sender's own id for it; `None` if the sender was erased.
    pub client_id: Option<String>,
    /// 1–4,000 characters; empty if the sender was erased.
    pub body: String,
    /// A compact JSON object of at most 16 KB.
    pub data: Box<RawValue>,
    /// When it was stored.
    pub created_at: Time,
    /// Whether its sender was erased, and its content with it.
    pub is_erased: bool,
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            id: MessageId,
            chat_id: ChatId,
            seq: i64,
            sender_id: Option<&'a UserId>,
            client_id: Option<&'a str>,
            body: &'a str,
            data: &'a RawValue,
            created_at: Time,
            durability: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            erased: Option<bool>,
        }
        Wire {
            id: self.id,
            chat_id: self.chat,
            seq: self.seq,
            sender_id: self.sender.as_ref(),
            client_id: self.client_id.as_deref(),
            body: &self.body,
            data: &self.data,
            created_at: self.created_at,
            durability: "durable",
            erased: self.is_erased.then_some(true),
        }
        .serialize(serializer)
    }
}

/// A message, stored or in a log. Serialises as the API's `Message`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Said {
    /// It has its place in the chat.
    Stored(Message),
    /// It was accepted fast.
    Logged(LoggedMessage),
}

impl Said {
    /// Its chat.
    pub fn chat(&self) -> ChatId {
        match self {
            Self::Stored(message) => message.chat,
            Self::Logged(message) => message.chat,
        }
    }

    /// Its place there; `None` while it has none.
    pub fn seq(&self) -> Option<i64> {
        match self {
            Self::Stored(message) => Some(message.seq),
            Self::Logged(_) => None,
        }
    }
}

impl Item for Message {
    fn json_bytes(&self) -> usize {
        json_bytes(self) + 1
    }
}
