//! What a log holds: sends and messages as they were accepted. Versions that run side by side share logs, so the text of an
//! entry only gains members, and another kind of entry needs a release that reads it before the one that writes it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::clock::Time;
use crate::ids::{ChatId, MessageId, NotificationId, SendId, UserId, sha256};
use crate::inbox::notification::{Channels, Content, NotificationWire, Priority};
use crate::telemetry::trace::TraceParent;

/// An entry of a log.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A send to one user.
    Send(LoggedSend),
    /// A message of a chat.
    Message(LoggedMessage),
}

/// A send to one user that was accepted fast. Serialises as the API's `Notification` without a place in the inbox.
#[derive(Debug, Clone)]
pub struct LoggedSend {
    /// Derived from caller, route and key.
    pub id: SendId,
    /// The caller.
    pub sender: UserId,
    /// SHA-256 of the request.
    pub fingerprint: [u8; 32],
    /// The body of the response, which every repeat gets byte for byte.
    pub answer: String,
    /// The only recipient.
    pub recipient: UserId,
    /// What the recipient receives.
    pub content: Arc<Content>,
    /// Whether open devices do not ring. Not part of its text: it is decided again when the send is written.
    pub silent: bool,
    /// How long the send, and with it its key, is kept, in milliseconds.
    pub retention_ms: i64,
    /// When it was accepted.
    pub accepted_at: Time,
}

/// A message that was accepted fast. Serialises as the API's `Message` without a `seq`.
#[derive(Debug, Clone)]
pub struct LoggedMessage {
    /// Derived from the chat, the sender and the client id.
    pub id: MessageId,
    /// Its chat.
    pub chat: ChatId,
    /// Who wrote it.
    pub sender: UserId,
    /// The sender's own id for it.
    pub client_id: String,
    /// What it says.
    pub body: String,
    /// A compact JSON object.
    pub data: Box<RawValue>,
    /// When it was accepted.
    pub accepted_at: Time,
    /// The span of the call that it came with.
    pub trace: Option<TraceParent>,
}

/// The text of an entry as JSON: either member.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Text {
    Send(SendText),
    Message(MessageText),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SendText {
    id: String,
    by: String,
    fingerprint: String,
    answer: String,
    to: String,
    #[serde(rename = "type")]
    kind: String,
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    data: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    action_url: Option<String>,
    priority: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channels: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    digest_ms: Option<i64>,
    kept: i64,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageText {
    id: String,
    chat: String,
    by: String,
    client: String,
    body: String,
    data: Box<RawValue>,
    at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

impl Entry {
    /// Reads an entry; `None` if no version wrote it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        // Raw values borrow the whole text, which an enum's tag forbids `from_slice` to do with bytes that are not checked.
        match serde_json::from_str(std::str::from_utf8(text).ok()?).ok()? {
            Text::Send(send) => send.read().map(Self::Send),
            Text::Message(message) => message.read().map(Self::Message),
        }
    }
}

impl Entry {
    /// The id of its send or message.
    pub fn id(&self) -> Uuid {
        match self {
            Self::Send(send) => send.id.as_uuid(),
            Self::Message(message) => message.id.as_uuid(),
        }
    }

    /// SHA-256 of what was asked for, the same for every repeat.
    pub fn request(&self) -> [u8; 32] {
        match self {
            Self::Send(send) => send.fingerprint,
            Self::Message(message) => sha256(serde_json::json!([message.body, message.data]).to_string().as_bytes()),
        }
    }

    /// The text under which a log keeps it.
    pub fn text(&self) -> String {
        match self {
            Self::Send(send) => send.text(),
            Self::Message(message) => message.text(),
        }
    }
}

impl LoggedSend {
    /// The notification's id.
    pub fn notification(&self) -> NotificationId {
        NotificationId::of(self.id, &self.recipient)
    }

    /// The text under which a log keeps it.
    pub fn text(&self) -> String {
        let content = &self.content;
        written(&Text::Send(SendText {
            id: self.id.to_string(),
            by: self.sender.to_string(),
            fingerprint: URL_SAFE_NO_PAD.encode(self.fingerprint),
            answer: self.answer.clone(),
            to: self.recipient.to_string(),
            kind: content.kind.clone(),
            title: content.title.clone(),
            body: content.body.clone(),
            data: content.data.clone(),
            action_url: content.action_url.clone(),
            priority: content.priority.name().to_owned(),
            expires_at: content.expires_at.map(|end| end.0),
            channels: content.channels.name().map(str::to_owned),
            digest_ms: content.digest_ms,
            kept: self.retention_ms,
            at: self.accepted_at.0,
            trace: content.trace.map(|trace| trace.to_string()),
        }))
    }
}

impl LoggedMessage {
    /// The text under which a log keeps it.
    pub fn text(&self) -> String {
        written(&Text::Message(MessageText {
            id: self.id.to_string(),
            chat: self.chat.to_string(),
            by: self.sender.to_string(),
            client: self.client_id.clone(),
            body: self.body.clone(),
            data: self.data.clone(),
            at: self.accepted_at.0,
            trace: self.trace.map(|trace| trace.to_string()),
        }))
    }
}

fn written(text: &Text) -> String {
    serde_json::to_string(text).expect("strings and numbers are JSON")
}

impl SendText {
    fn read(self) -> Option<LoggedSend> {
        Some(LoggedSend {
            id: SendId::parse(&self.id)?,
            sender: UserId::stored(self.by),
            fingerprint: URL_SAFE_NO_PAD.decode(self.fingerprint).ok()?.try_into().ok()?,
            answer: self.answer,
            recipient: UserId::stored(self.to),
            content: Arc::new(Content {
                kind: self.kind,
                title: self.title,
                body: self.body,
                data: self.data,
                action_url: self.action_url,
                priority: Priority::from_name(&self.priority)?,
                expires_at: self.expires_at.map(Time),
                collapse_key: None,
                channels: Channels::stored(self.channels.as_deref()),
                digest_ms: self.digest_ms,
                trace: read_trace(self.trace),
            }),
            silent: false,
            retention_ms: self.kept,
            accepted_at: Time(self.at),
        })
    }
}

impl MessageText {
    fn read(self) -> Option<LoggedMessage> {
        Some(LoggedMessage {
            id: MessageId::parse(&self.id)?,
            chat: ChatId::parse(&self.chat)?,
            sender: UserId::stored(self.by),
            client_id: self.client,
            body: self.body,
            data: self.data,
            accepted_at: Time(self.at),
            trace: read_trace(self.trace),
        })
    }
}

/// One that cannot be read is no reason not to write the entry.
fn read_trace(text: Option<String>) -> Option<TraceParent> {
    text.as_deref().and_then(TraceParent::parse)
}

impl Serialize for LoggedSend {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        NotificationWire::new(self.notification(), &self.content, self.accepted_at, None, self.silent, None)
            .serialize(serializer)
    }
}

impl Serialize for LoggedMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
            id: MessageId,
            chat_id: ChatId,
            seq: Option<i64>,
            sender_id: &'a UserId,
            client_id: &'a str,
            body: &'a str,
            data: &'a RawValue,
            created_at: Time,
            durability: &'static str,
        }
        Wire {
            id: self.id,
            chat_id: self.chat,
            seq: None,
            sender_id: &self.sender,
            client_id: &self.client_id,
            body: &self.body,
            data: &self.data,
            created_at: self.accepted_at,
            durability: "redis",
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn send() -> LoggedSend {
        let data = RawValue::from_string(r#"{"n":1e400,"s":"\u00e4"}"#.into()).unwrap();
        LoggedSend {
            id: SendId::of_key(&UserId::new("service").unwrap(), "/send", "k"),
            sender: UserId::new("service").unwrap(),
            fingerprint: [7; 32],
            answer: r#"{"sendId":"…"}"#.into(),
            recipient: UserId::new("alice").unwrap(),
            content: Arc::new(Content {
                kind: "LIKE".into(),
                title: "Hi 🔔".into(),
                body: Some("line\nline".into()),
                data,
                action_url: None,
                priority: Priority::High,
                expires_at: Some(Time(99)),
                collapse_key: None,
                channels: Channels::Push,
                digest_ms: Some(60_000),
                trace: TraceParent::parse(TRACE),
            }),
            silent: true,
            retention_ms: 1_000,
            accepted_at: Time(5),
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let Some(Entry::Send(read)) = Entry::parse(send().text().as_bytes()) else { panic!() };
        assert_eq!(read.text(), send().text());
        let message = LoggedMessage {
            id: MessageId::from_uuid(uuid::Uuid::from_u128(1)),
            chat: ChatId::from_uuid(uuid::Uuid::from_u128(2)),
            sender: UserId::new("alice").unwrap(),
            client_id: "c-1".into(),
            body: "hi".into(),
            data: RawValue::from_string("{}".into()).unwrap(),
            accepted_at: Time(6),
            trace: TraceParent::parse(TRACE),
        };
        let Some(Entry::Message(read)) = Entry::parse(message.text().as_bytes()) else { panic!() };
        assert_eq!(read.text(), message.text());
        let frame = serde_json::to_value(&message).unwrap();
        assert_eq!((&frame["seq"], &frame["durability"]), (&serde_json::Value::Null, &"redis".into()));
    }

    #[test]
    fn members_of_later_versions_are_ignored_and_other_texts_are_no_entries() {
        let later = send().text().replacen("\"by\"", "\"later\":[1],\"by\"", 1);
        assert!(matches!(Entry::parse(later.as_bytes()), Some(Entry::Send(_))));
        // An earlier one wrote no trace, and one that cannot be read is ignored.
        for (text, with) in [(format!(",\"trace\":\"{TRACE}\""), ""), (TRACE.to_owned(), "canary")] {
            let other = send().text().replacen(&text, with, 1);
            let Some(Entry::Send(read)) = Entry::parse(other.as_bytes()) else { panic!("{other}") };
            assert_eq!((read.content.trace, other.contains(TRACE)), (None, false), "{other}");
        }
        for text in ["", "{}", "null", r#"{"other":{}}"#, r#"{"send":{"id":"x"}}"#, "\u{0}"] {
            assert!(Entry::parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(Entry::parse(&[0xff, 0xfe]).is_none());
        let wrong = send().text().replace("\"high\"", "\"urgent\"");
        assert!(Entry::parse(wrong.as_bytes()).is_none());
    }
}
