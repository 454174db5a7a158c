//! A notification: what a send says (its content) and how it stands in one user's inbox.

use std::sync::Arc;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::clock::Time;
use crate::cursor::Cursor;
use crate::ids::NotificationId;

/// How urgently a notification wants to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// May wait.
    Low,
    /// What is not said otherwise.
    #[default]
    Normal,
    /// Someone waits for it.
    High,
    /// Something burns.
    Critical,
}

impl Priority {
    /// All of them, as callers write them.
    pub const NAMES: [(&str, Self); 4] =
        [("low", Self::Low), ("normal", Self::Normal), ("high", Self::High), ("critical", Self::Critical)];

    /// The priority of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.into_iter().find_map(|(known, priority)| (known == name).then_some(priority))
    }

    /// As callers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a send says to each of its recipients.
#[derive(Debug, Clone)]
pub struct Content {
    /// 1–64 of `A–Z a–z 0–9 _ . : -`.
    pub kind: String,
    /// 1–200 characters, one line.
    pub title: String,
    /// Up to 4,000 characters.
    pub body: Option<String>,
    /// A JSON object, compact, at most 16 KB.
    pub data: Box<RawValue>,
    /// A path on the application's own origin, or an https URL.
    pub action_url: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// From when on it is in no inbox any more.
    pub expires_at: Option<Time>,
    /// 1–64 characters: a newer one replaces an unread older one of the same key in the same inbox.
    pub collapse_key: Option<String>,
}

/// One notification as it stands in one user's inbox; serialises as the contract's `Notification`.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Follows from the send and the user, so that every copy has the same.
    pub id: NotificationId,
    /// What it says; shared by all recipients of one send.
    pub content: Arc<Content>,
    /// Where it arrived in the inbox; never changes.
    pub cursor: Cursor,
    /// When it came into the inbox: with its send, or soon after for recipients beyond the first 200 and for those of a
    /// send that was due later.
    pub created_at: Time,
    /// When one of the user's devices said that it was read.
    pub read_at: Option<Time>,
}

impl Serialize for Notification {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Wire<'a> {
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
            cursor: Cursor,
        }
        let content = &self.content;
        Wire {
            id: self.id,
            r#type: &content.kind,
            title: &content.title,
            body: content.body.as_deref(),
            data: &content.data,
            action_url: content.action_url.as_deref(),
            priority: content.priority,
            created_at: self.created_at,
            read_at: self.read_at,
            expires_at: content.expires_at,
            collapse_key: content.collapse_key.as_deref(),
            cursor: self.cursor,
        }
        .serialize(serializer)
    }
}
