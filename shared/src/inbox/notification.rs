//! A notification: the content of a send, in one user's inbox.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::clock::Time;
use crate::cursor::Cursor;
use crate::ids::NotificationId;
use crate::telemetry::trace::TraceParent;

/// How urgent a notification is. Decides the order in which waiting deliveries are claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// May be delayed.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Should not be delayed.
    High,
    /// Comes before everything else.
    Critical,
}

impl Priority {
    /// All priorities with their names in the API.
    pub const NAMES: [(&str, Self); 4] =
        [("low", Self::Low), ("normal", Self::Normal), ("high", Self::High), ("critical", Self::Critical)];

    /// The priority of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find_map(|(known, priority)| (known == name).then_some(priority))
    }

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a notification rings on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channels {
    /// Open devices, and Web Push where none acknowledges it.
    #[default]
    All,
    /// Open devices only.
    Realtime,
    /// Web Push only; open devices show it in silence.
    Push,
}

impl Channels {
    /// The name under which it is stored; `None` for [`Channels::All`].
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Realtime => Some("realtime"),
            Self::Push => Some("push"),
        }
    }

    /// What was stored under a name. A channel of a later version counts as all.
    pub fn stored(name: Option<&str>) -> Self {
        match name {
            Some("realtime") => Self::Realtime,
            Some("push") => Self::Push,
            _ => Self::All,
        }
    }
}

/// Whether this is a valid `type`.
pub fn is_type(kind: &str) -> bool {
    (1..=64).contains(&kind.len()) && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte))
}

/// What each recipient of a send gets.
#[derive(Debug, Clone)]
pub struct Content {
    /// Its `type`: 1–64 characters of `A-Z a-z 0-9 _ . : -`.
    pub kind: String,
    /// 1–200 characters, a single line.
    pub title: String,
    /// Up to 4,000 characters.
    pub body: Option<String>,
    /// A compact JSON object of at most 16 KB.
    pub data: Box<RawValue>,
    /// A path on the application's own origin, or an https URL.
    pub action_url: Option<String>,
    /// Its priority.
    pub priority: Priority,
    /// From when on it is no longer in any inbox.
    pub expires_at: Option<Time>,
    /// 1–64 characters. In each inbox, a newer notification replaces older unread ones of the same key.
    pub collapse_key: Option<String>,
    /// What it rings on.
    pub channels: Channels,
    /// For how long, in milliseconds, the first Web Push of this type to a user waits for others to be told with it.
    pub digest_ms: Option<i64>,
    /// The span of the call that sent it, below which what is done for it later belongs. Told to no recipient.
    pub trace: Option<TraceParent>,
}

impl Content {
    /// Whether open devices do not ring, for a user whose preferences let its type ring on them or not.
    pub fn is_silent(&self, rings: bool) -> bool {
        self.channels == Channels::Push || !rings && self.priority != Priority::Critical
    }
}

/// One notification in one user's inbox. Serialises as the API's `Notification`.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Derived from the send and the user, so that every copy has the same id.
    pub id: NotificationId,
    /// Its content, shared by all recipients of the send.
    pub content: Arc<Content>,
    /// Its arrival position in the inbox, which changes only when it arrives anew after a snooze.
    pub cursor: Cursor,
    /// When it first arrived in the inbox: with its send, or shortly after it (for recipients beyond the first 200) or its
    /// due time (for a scheduled send).
    pub created_at: Time,
    /// When it was marked as read; `None` if it is unread.
    pub read_at: Option<Time>,
    /// Whether open devices do not ring: by its channels, or by the preferences of its user when it arrived.
    pub silent: bool,
}

/// What the API and the frames tell of a notification.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NotificationWire<'a> {
    id: NotificationId,
    r#type: &'a str,
    title: &'a str,
    body: Option<&'a str>,
    data: &'a RawValue,
    action_url: Option<&'a str>,
    priority: Priority,
    created_at: Time,
    read_at: Option<Time>,
    expires_at: Option<Time>,
    collapse_key: Option<&'a str>,
    silent: bool,
    cursor: Option<Cursor>,
}

impl<'a> NotificationWire<'a> {
    /// `cursor`: `None` while the notification has no place in the inbox.
    pub(crate) fn new(
        id: NotificationId,
        content: &'a Content,
        created_at: Time,
        read_at: Option<Time>,
        silent: bool,
        cursor: Option<Cursor>,
    ) -> Self {
        Self {
            id,
            r#type: &content.kind,
            title: &content.title,
            body: content.body.as_deref(),
            data: &content.data,
            action_url: content.action_url.as_deref(),
            priority: content.priority,
            created_at,
            read_at,
            expires_at: content.expires_at,
            collapse_key: content.collapse_key.as_deref(),
            silent,
            cursor,
        }
    }
}

impl Serialize for Notification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { id, content, cursor, created_at, read_at, silent } = self;
        NotificationWire::new(*id, content, *created_at, *read_at, *silent, Some(*cursor)).serialize(serializer)
    }
}
