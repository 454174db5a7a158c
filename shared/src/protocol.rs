//! Every frame on the wire: what clients may send over their sockets, the replies, and the events that the server
//! pushes.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::chat::draft::Draft;
use crate::chat::message::{Message, Said};
use crate::chat::{Chat, Summary};
use crate::clock::Time;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::fast::logged::{LoggedMessage, LoggedSend};
use crate::http::fields::Fields;
use crate::http::json;
use crate::ids::{ChatId, NotificationId, UserId};
use crate::inbox::notification::Notification;
use crate::inbox::{Change, ChangeKind};
use crate::presence::{MAX_ASKED, UserPresence};

/// The most bytes of a client's message. API Gateway bounds only its frames, of which a message may have several.
pub const MAX_MESSAGE_BYTES: usize = 32 * 1_024;
/// The most bytes of a frame to a client. A larger notification is announced by a `fetch` event.
pub const MAX_FRAME_BYTES: usize = 32 * 1_024;
/// The most bytes of a frame that tells of what was accepted fast: so many less that the reply to its sender, which has a
/// `ref`, fits too.
pub const MAX_LOGGED_FRAME_BYTES: usize = MAX_FRAME_BYTES - 1_024;
/// The most bytes of a `sync` reply over a socket, which API Gateway splits into several frames.
pub const MAX_SYNC_BYTES: usize = 96 * 1_024;
/// The greatest `seq` that a client can name: beyond it numbers in JavaScript are not exact.
pub const MAX_SEQ: i64 = (1 << 53) - 1;
/// The most ids in one frame.
pub const MAX_IDS: usize = 100;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Asks whether the connection is alive and the client's state is current.
    Ping,
    /// Asks for what changed after this cursor; without one, for the whole inbox.
    Sync(Option<Cursor>),
    /// Acknowledges everything up to this cursor.
    Ack(Cursor),
    /// Marks as read or unread, or deletes.
    Change(Change),
    /// Says something in a chat.
    SendMessage(ChatId, Draft),
    /// Marks a chat as read up to this message.
    ReadChat(ChatId, i64),
    /// Says whether the user is typing in a chat.
    Typing(ChatId, bool),
    /// Asks which of these users are online.
    Presence(Vec<UserId>),
    /// Extends the connection's life to that of the token behind this ticket.
    Auth(String),
}

impl Action {
    /// Its name in `action`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Sync(_) => "sync",
            Self::Ack(_) => "ack",
            Self::Change(change) => match change {
                Change::Read(_) => "read",
                Change::Unread(_) => "unread",
                Change::Delete(_) => "delete",
                Change::ReadAll { .. } => "readAll",
            },
            Self::SendMessage(..) => "sendMessage",
            Self::ReadChat(..) => "readChat",
            Self::Typing(..) => "typing",
            Self::Presence(_) => "presence",
            Self::Auth(_) => "auth",
        }
    }
}

/// A frame from a client.
#[derive(Debug)]
pub struct ClientFrame {
    /// `ref`: 1–64 characters of the client's choice, echoed in the reply. `None` if absent or invalid.
    pub reference: Option<String>,
    /// What the client asks for, or why the frame is invalid.
    pub action: Result<Action, Error>,
}

impl ClientFrame {
    /// Parses the text of a frame. Never fails, so that an error can be returned with the frame's reference.
    pub fn read(text: &str) -> Self {
        if text.len() > MAX_MESSAGE_BYTES {
            return Self { reference: None, action: Err(Error::PayloadTooLarge("a message must be at most 32 KB")) };
        }
        let mut fields = match json::object(text.as_bytes()) {
            Ok(members) => Fields::new(members),
            Err(problem) => {
                return Self { reference: None, action: Err(Error::InvalidJson(problem)) };
            }
        };
        let reference = fields.text("ref", 1, 64);
        Self { reference, action: action(fields) }
    }
}

/// What `action` may be.
const ACTIONS: &str =
    "must be ping, sync, ack, read, unread, readAll, delete, sendMessage, readChat, typing, presence or auth";

fn action(mut fields: Fields) -> Result<Action, Error> {
    let name = fields.take("action");
    let action = match name.as_ref().and_then(Value::as_str) {
        Some("ping") => Some(Ok(Action::Ping)),
        Some("sync") => Some(Ok(Action::Sync(fields.cursor("since")?))),
        Some("ack") => {
            let cursor = fields.cursor("cursor")?;
            fields.required("cursor", cursor).map(Action::Ack).map(Ok)
        }
        Some("read") => ids(&mut fields).map(Change::Read).map(Action::Change).map(Ok),
        Some("unread") => ids(&mut fields).map(Change::Unread).map(Action::Change).map(Ok),
        Some("delete") => ids(&mut fields).map(Change::Delete).map(Action::Change).map(Ok),
        Some("readAll") => Some(Ok(Action::Change(read_all(&mut fields)?))),
        Some("sendMessage") => {
            let (chat, draft) = (chat_id(&mut fields), Draft::take(&mut fields));
            chat.zip(draft).map(|(chat, draft)| Ok(Action::SendMessage(chat?, draft)))
        }
        Some("readChat") => {
            let (chat, seq) = (chat_id(&mut fields), read_seq(&mut fields));
            chat.zip(seq).map(|(chat, seq)| Ok(Action::ReadChat(chat?, seq)))
        }
        Some("typing") => {
            let (chat, on) = (chat_id(&mut fields), fields.boolean("on"));
            let on = fields.required("on", on);
            chat.zip(on).map(|(chat, on)| Ok(Action::Typing(chat?, on)))
        }
        Some("presence") => fields.users("userIds", MAX_ASKED).map(Action::Presence).map(Ok),
        Some("auth") => {
            let ticket = fields.text("ticket", 1, 64);
            fields.required("ticket", ticket).map(Action::Auth).map(Ok)
        }
        // Other members are not checked: the action determines which are allowed.
        _ => return Err(Error::field("action", ACTIONS)),
    };
    fields.finish()?;
    // Every absence was recorded as a problem, so `finish` has failed if there is no action.
    action.ok_or(Error::Internal)?
}

/// Takes the id of a chat. One that is no id names no chat of anyone.
fn chat_id(fields: &mut Fields) -> Option<Result<ChatId, Error>> {
    let id = fields.text("chatId", 1, 64);
    fields.required("chatId", id).map(|id| ChatId::parse(&id).ok_or(Error::NotFound))
}

/// Takes `seq`, the message up to which a chat is read.
pub fn read_seq(fields: &mut Fields) -> Option<i64> {
    let seq = fields.whole_number("seq", 0, MAX_SEQ);
    fields.required("seq", seq)
}

/// Reads the members of `readAll`, which are also those of `POST /api/notifications/read-all`.
pub fn read_all(fields: &mut Fields) -> Result<Change, Error> {
    Ok(Change::ReadAll { kind: fields.text("type", 1, 64), before: fields.cursor("before")? })
}

/// Reads 1–100 strings. One that is not a valid id counts as unknown, and unknown ids are skipped.
fn ids(fields: &mut Fields) -> Option<Vec<NotificationId>> {
    let ids = fields.take("ids");
    let ids = fields.required("ids", ids)?;
    fields.checked("ids", ids, |ids| match ids {
        Value::Array(ids) if (1..=MAX_IDS).contains(&ids.len()) && ids.iter().all(Value::is_string) => {
            Ok(ids.iter().filter_map(|id| NotificationId::parse(id.as_str()?)).collect())
        }
        _ => Err("must be an array of 1 to 100 strings".into()),
    })
}

/// An event that the server pushes, the same over every transport.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event<'a> {
    /// A notification arrived.
    Notification {
        /// The inbox after the arrival.
        cursor: Cursor,
        /// The inbox before it.
        prev: Cursor,
        /// The notification that arrived.
        notification: &'a Notification,
        /// How many notifications are unread after the arrival.
        unread_count: i64,
        /// The older notifications of the same collapse key that it replaced.
        #[serde(skip_serializing_if = "<[NotificationId]>::is_empty")]
        replaces: &'a [NotificationId],
        /// True, or absent, if devices show it without ringing.
        #[serde(skip_serializing_if = "Option::is_none")]
        silent: Option<bool>,
    },
    /// A notification was accepted fast, and has no place in the inbox yet. It arrives once more when it has.
    #[serde(rename = "notification")]
    LoggedNotification {
        /// Always null.
        cursor: (),
        /// Always null.
        prev: (),
        /// The notification, whose `cursor` is null.
        notification: &'a LoggedSend,
        /// Always null.
        unread_count: (),
        /// True, or absent, if devices show it without ringing.
        #[serde(skip_serializing_if = "Option::is_none")]
        silent: Option<bool>,
    },
    /// Notifications were changed by one of the user's devices, or expired.
    Changed {
        /// The inbox after the whole change.
        cursor: Cursor,
        /// The inbox before it.
        prev: Cursor,
        /// The notifications that changed.
        ids: &'a [NotificationId],
        /// What happened to them.
        change: ChangeKind,
        /// How many notifications are unread after the change.
        unread_count: i64,
    },
    /// A notification arrived that is too large for a frame: the client fetches it by its id.
    Fetch {
        /// The inbox after the arrival.
        cursor: Cursor,
        /// The inbox before it.
        prev: Cursor,
        /// The notification to fetch.
        id: NotificationId,
    },
    /// A message was said in a chat.
    Message {
        /// Its chat.
        chat_id: ChatId,
        /// Its place in the chat.
        seq: i64,
        /// The message.
        message: &'a Message,
    },
    /// A message was accepted fast, and has no place in the chat yet. It is told once more when it has.
    #[serde(rename = "message")]
    LoggedMessage {
        /// Its chat.
        chat_id: ChatId,
        /// Always null.
        seq: (),
        /// The message, whose `seq` is null.
        message: &'a LoggedMessage,
    },
    /// A message was said that is too large for a frame: the client fetches it from the chat's history.
    #[serde(rename = "fetch")]
    FetchMessage {
        /// Its chat.
        chat_id: ChatId,
        /// Its place in the chat.
        seq: i64,
    },
    /// A member has read up to a message.
    Receipt {
        /// The chat.
        chat_id: ChatId,
        /// The member.
        user_id: &'a UserId,
        /// The message.
        seq: i64,
    },
    /// A chat was created, or its title, members or status changed.
    Chat {
        /// As it is now.
        chat: &'a Chat,
    },
    /// The user is no longer a member of a chat.
    #[serde(rename = "chat")]
    RemovedFromChat {
        /// The chat.
        chat_id: ChatId,
        /// Always true.
        removed: bool,
    },
    /// A member began or stopped typing.
    Typing {
        /// The chat.
        chat_id: ChatId,
        /// The member.
        user_id: &'a UserId,
        /// Whether it is typing. Without a further event it stops after 5 s.
        on: bool,
    },
    /// Users came online or went offline whom the user knows.
    Presence {
        /// Who.
        users: &'a [UserPresence],
    },
    /// An event stream ends: the client opens another from its own cursor.
    Reconnect,
    /// Too much changed for separate events: the client syncs from its own cursor.
    Resync,
}

/// The reply to a client's frame.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ReplyFrame<'a> {
    /// To `ping`.
    Pong {
        /// The `ref` of the client's frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// The head of the inbox.
        cursor: Cursor,
        /// A digest of what a complete sync would return.
        etag: &'a str,
    },
    /// To `sync`.
    Sync {
        /// The `ref` of the client's frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// What changed.
        #[serde(flatten)]
        sync: &'a Sync,
    },
    /// To `sendMessage`.
    Sent {
        /// The `ref` of the client's frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// As it was accepted.
        message: &'a Said,
    },
    /// To `sendMessage` if the message is too large for a frame: the client fetches it from the chat's history.
    #[serde(rename = "fetch")]
    SentTooLarge {
        /// The `ref` of the client's frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// The chat.
        chat_id: ChatId,
        /// The place of the message; `None` while it has none.
        seq: Option<i64>,
    },
    /// To `presence`.
    Presence {
        /// The `ref` of the client's frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// Those that the user knows, in the order asked.
        users: &'a [UserPresence],
    },
    /// To any other action that succeeded.
    Ok {
        /// The `ref` of the client's frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// To `readAll`: how many notifications it changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        updated: Option<usize>,
        /// To `readChat`: how many messages are unread.
        #[serde(skip_serializing_if = "Option::is_none")]
        unread: Option<i64>,
        /// To `auth`: when the connection ends.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Time>,
    },
    /// To an action that failed.
    Error {
        /// The `ref` of the client's frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// [`Error::code`].
        code: &'static str,
        /// The error's text.
        message: String,
        /// Whether the same frame may succeed later.
        retryable: bool,
        /// The wait after which it may succeed, in milliseconds; absent without such a hint.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

impl<'a> ReplyFrame<'a> {
    /// The frame that reports an error.
    pub fn error(reference: Option<&'a str>, error: &Error) -> Self {
        Self::Error {
            reference,
            code: error.code(),
            message: error.to_string(),
            retryable: error.is_retryable(),
            retry_after_ms: error.retry_after_ms(),
        }
    }
}

/// What changed in an inbox after a cursor, in order of change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// The notifications that changed and are still in the inbox, as they are now.
    pub notifications: Vec<Notification>,
    /// The notifications that were deleted or have expired.
    pub deleted: Vec<NotificationId>,
    /// The caller's chats, newest activity first; only in a complete response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chats: Option<Vec<Summary>>,
    /// Whether these are all chats; only in a complete response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chats_complete: Option<bool>,
    /// Emitted events of the last minutes, oldest first; only in a complete response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Box<RawValue>>>,
    /// How many notifications are unread.
    pub unread_count: i64,
    /// The cursor of the next sync.
    pub cursor: Cursor,
    /// A digest of what a complete sync returns: the value of the `ETag` header, quotes included.
    pub etag: String,
    /// Whether these are all changes. If not, the client syncs again from `cursor`.
    pub complete: bool,
}

/// The text of a frame. Clones share it, since one frame may go to many sockets.
pub type Frame = Arc<str>;

/// Serialises a frame.
pub fn frame(content: &impl Serialize) -> Frame {
    serde_json::to_string(content).expect("strings, numbers and maps with string keys are JSON").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_error(text: &str) -> (Option<String>, &'static str) {
        let frame = ClientFrame::read(text);
        (frame.reference, frame.action.expect_err(text).code())
    }

    #[test]
    fn a_frame_is_read_with_its_reference() {
        let frame = ClientFrame::read(r#"{"action":"sync","since":"00000000000000aa.7","ref":"r1"}"#);
        assert_eq!(frame.reference.as_deref(), Some("r1"));
        assert!(matches!(frame.action, Ok(Action::Sync(Some(cursor))) if cursor.offset == 7));
    }

    #[test]
    fn unknown_ids_are_skipped() {
        let known = "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1";
        let frame = ClientFrame::read(&format!(r#"{{"action":"read","ids":["x","{known}","../.."]}}"#));
        assert!(
            matches!(frame.action, Ok(Action::Change(Change::Read(ids))) if ids[0].to_string() == known && ids.len() == 1)
        );
    }

    #[test]
    fn a_malformed_frame_is_refused() {
        for text in ["", "null", "[]", "\"x\"", "{", "{\"action\":\"ping\",\"action\":\"ping\"}"] {
            assert_eq!(parse_error(text), (None, "invalid_json"), "{text}");
        }
        for text in [
            "{}",
            r#"{"action":{}}"#,
            r#"{"action":"$connect"}"#,
            r#"{"action":"__proto__"}"#,
            r#"{"action":"ping","to":"bob"}"#,
            r#"{"action":"ack"}"#,
            r#"{"action":"ack","cursor":7}"#,
            r#"{"action":"read"}"#,
            r#"{"action":"read","ids":[]}"#,
            r#"{"action":"read","ids":[7]}"#,
            r#"{"action":"auth"}"#,
            r#"{"action":"ping","ref":""}"#,
            r#"{"action":"readAll","type":7}"#,
        ] {
            assert_eq!(parse_error(text).1, "validation_failed", "{text}");
        }
        assert_eq!(parse_error(r#"{"action":"ack","cursor":"NaN","ref":"r"}"#), (Some("r".into()), "bad_request"));
        let large = |length: usize| format!("{{\"action\":\"{}\"}}", "x".repeat(length - 13));
        assert_eq!(parse_error(&large(MAX_MESSAGE_BYTES)).1, "validation_failed");
        assert_eq!(parse_error(&large(MAX_MESSAGE_BYTES + 1)), (None, "payload_too_large"));
        let many = serde_json::json!({"action": "read", "ids": vec!["x"; 101]}).to_string();
        assert_eq!(parse_error(&many).1, "validation_failed");
    }
}
