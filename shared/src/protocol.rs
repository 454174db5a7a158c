//! Every frame on the wire: what a client may say over its socket, what it is answered, what it is told.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::clock::Time;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::http::fields::Fields;
use crate::http::json;
use crate::ids::NotificationId;
use crate::inbox::notification::Notification;
use crate::inbox::{Change, ChangeKind};

/// The most bytes of a frame to a client; what is larger is fetched.
pub const MAX_FRAME_BYTES: usize = 32 * 1_024;
/// The most bytes of a `sync` answered over a socket, which goes out in several frames.
pub const MAX_SYNC_BYTES: usize = 96 * 1_024;
/// The most ids that one frame names.
pub const MAX_IDS: usize = 100;

/// What a client asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Am I still connected, and is my view the present one?
    Ping,
    /// What changed after this cursor? Without one: everything there is.
    Sync(Option<Cursor>),
    /// Everything up to here was shown.
    Ack(Cursor),
    /// Mark as read, mark as unread, delete, or mark all as read.
    Change(Change),
    /// The socket stays open for as long as this ticket's token lives.
    Auth(String),
}

/// A frame from a client: what it asks, and the name by which it will know the answer.
#[derive(Debug)]
pub struct ClientFrame {
    /// 1–64 characters of the client's choice, echoed in the answer.
    pub reference: Option<String>,
    /// What is asked, or why that cannot be told.
    pub action: Result<Action, Error>,
}

impl ClientFrame {
    /// Reads the text of a frame.
    pub fn read(text: &str) -> Self {
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

fn action(mut fields: Fields) -> Result<Action, Error> {
    let name = fields.take("action");
    let action = match name.as_ref().and_then(Value::as_str) {
        Some("ping") => Some(Action::Ping),
        Some("sync") => Some(Action::Sync(fields.cursor("since")?)),
        Some("ack") => {
            let cursor = fields.cursor("cursor")?;
            fields.required("cursor", cursor).map(Action::Ack)
        }
        Some("read") => ids(&mut fields).map(Change::Read).map(Action::Change),
        Some("unread") => ids(&mut fields).map(Change::Unread).map(Action::Change),
        Some("delete") => ids(&mut fields).map(Change::Delete).map(Action::Change),
        Some("readAll") => Some(Action::Change(read_all(&mut fields)?)),
        Some("auth") => {
            let ticket = fields.text("ticket", 1, 64);
            fields.required("ticket", ticket).map(Action::Auth)
        }
        // Which members there may be only the action tells.
        _ => return Err(Error::field("action", "must be ping, sync, ack, read, unread, readAll, delete or auth")),
    };
    fields.finish()?;
    // Whatever is missing was noted as a problem, and `finish` failed.
    action.ok_or(Error::Internal)
}

/// The members of `readAll`, which are those of `POST /api/notifications/read-all` too.
pub fn read_all(fields: &mut Fields) -> Result<Change, Error> {
    Ok(Change::ReadAll { kind: fields.text("type", 1, 64), before: fields.cursor("before")? })
}

/// 1–100 strings; one that cannot be an id of ours is unknown, and unknown ones are skipped.
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

/// What a client is told without having asked; the same over every transport.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event<'a> {
    /// A notification arrived.
    Notification {
        /// The inbox after the arrival.
        cursor: Cursor,
        /// The inbox before it.
        prev: Cursor,
        /// What arrived.
        notification: &'a Notification,
        /// How many are unread with it.
        unread_count: i64,
        /// What it replaced.
        #[serde(skip_serializing_if = "<[NotificationId]>::is_empty")]
        replaces: &'a [NotificationId],
    },
    /// One of the user's devices changed something.
    Changed {
        /// The inbox after the whole change.
        cursor: Cursor,
        /// The inbox before it.
        prev: Cursor,
        /// What was changed.
        ids: &'a [NotificationId],
        /// To what.
        change: ChangeKind,
        /// How many are unread after it.
        unread_count: i64,
    },
    /// Something arrived that is too large for a frame: get it by its id.
    Fetch {
        /// The inbox after the arrival.
        cursor: Cursor,
        /// The inbox before it.
        prev: Cursor,
        /// What to get.
        id: NotificationId,
    },
    /// Too much changed to be told: sync from your own cursor.
    Resync,
}

/// The answer to a client's frame.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ReplyFrame<'a> {
    /// To `ping`.
    Pong {
        /// The client's name for its frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// Where the inbox stands.
        cursor: Cursor,
        /// A digest of what a sync would tell.
        etag: &'a str,
    },
    /// To `sync`.
    Sync {
        /// The client's name for its frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// What changed.
        #[serde(flatten)]
        sync: &'a Sync,
    },
    /// To what was done.
    Ok {
        /// The client's name for its frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// To `readAll`: how many it changed.
        #[serde(skip_serializing_if = "Option::is_none")]
        updated: Option<usize>,
        /// To `auth`: until when the socket may stay open.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Time>,
    },
    /// It was not done.
    Error {
        /// The client's name for its frame.
        #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<&'a str>,
        /// The contract's name for what is wrong.
        code: &'static str,
        /// What was required.
        message: String,
        /// Whether the same frame may succeed later.
        retryable: bool,
        /// After how long.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

impl<'a> ReplyFrame<'a> {
    /// The error frame for what is wrong.
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

/// What changed after a cursor, in order of change.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sync {
    /// The present state of whatever changed and still is.
    pub notifications: Vec<Notification>,
    /// What was deleted.
    pub deleted: Vec<NotificationId>,
    /// The caller's chats; only in a complete answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chats: Option<[(); 0]>,
    /// Whether those are all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chats_complete: Option<bool>,
    /// Emitted events of the last minutes; only in a complete answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<[(); 0]>,
    /// How many are unread now.
    pub unread_count: i64,
    /// From where to go on.
    pub cursor: Cursor,
    /// A digest of what a complete answer tells: the value of the header, quotes included.
    pub etag: String,
    /// Whether this is all.
    pub complete: bool,
}

/// A frame as text, ready for many sockets.
pub type Frame = Arc<str>;

/// Writes a frame.
pub fn frame(content: &impl Serialize) -> Frame {
    // Strings, numbers and maps with string keys always serialise.
    serde_json::to_string(content).expect("frames hold nothing that JSON cannot").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> (Option<String>, &'static str) {
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
    fn a_frame_that_is_no_frame_is_refused() {
        for text in ["", "null", "[]", "\"x\"", "{", "{\"action\":\"ping\",\"action\":\"ping\"}"] {
            assert_eq!(refusal(text), (None, "invalid_json"), "{text}");
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
            assert_eq!(refusal(text).1, "validation_failed", "{text}");
        }
        assert_eq!(refusal(r#"{"action":"ack","cursor":"NaN","ref":"r"}"#), (Some("r".into()), "bad_request"));
        let many = serde_json::json!({"action": "read", "ids": vec!["x"; 101]}).to_string();
        assert_eq!(refusal(&many).1, "validation_failed");
    }
}
