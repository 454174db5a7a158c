//! What a push says, as the service worker of `@carillon/client` reads it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Value, json};

use super::endpoint::Endpoint;
use super::pushes::{DigestContent, DigestTag, DueDigest, Shown};
use super::service::Urgency;
use crate::clock::Time;
use crate::cursor::Cursor;
use crate::ids::{NotificationId, UserId, sha256};
use crate::inbox::notification::{Notification, Priority};

/// The most bytes of a payload. A push service takes 4 KB, with what encryption adds.
pub const MAX_PAYLOAD_BYTES: usize = 3 * 1_024;
/// For how long a push service keeps a push at most, in seconds: the longest that any of them promises.
const MAX_TTL_S: i64 = 28 * 24 * 60 * 60;
/// For how long it keeps what closes a notification, in seconds.
const CLOSE_TTL_S: u32 = 24 * 60 * 60;
/// The most characters of a message in a digest.
const MAX_EXCERPT: usize = 200;

/// Push services of browsers that require each push to show something, and show a text of their own if it does not: those
/// of Google, Apple and Microsoft. Each with its subdomains.
const ALWAYS_SHOW: [&str; 3] = ["googleapis.com", "push.apple.com", "notify.windows.com"];

/// Whether a push that shows nothing may be sent to an endpoint.
pub fn may_be_silent(endpoint: &Endpoint) -> bool {
    let origin = endpoint.origin();
    let host = origin.rsplit('/').next().unwrap_or_default();
    let is_of = |domain: &&str| host.strip_suffix(domain).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
    !ALWAYS_SHOW.iter().any(is_of)
}

/// A push, for all subscriptions of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushMessage {
    /// What a newer push of the same tag replaces, at the push service and on the screen: 32 characters of base64url.
    pub tag: String,
    /// JSON of at most [`MAX_PAYLOAD_BYTES`].
    pub payload: String,
    /// What is said instead to a push service that takes less; the service worker fetches the rest.
    pub stub: Option<String>,
    /// For how long the push service keeps it, in seconds.
    pub ttl_s: u32,
    /// How much it matters.
    pub urgency: Urgency,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotificationPayload<'a> {
    kind: &'static str,
    tag: &'a str,
    id: NotificationId,
    r#type: &'a str,
    title: &'a str,
    body: Option<&'a str>,
    action_url: Option<&'a str>,
    priority: Priority,
    silent: bool,
    cursor: Cursor,
    unread_count: i64,
    /// Whether the worker acknowledges up to it when it shows it.
    acknowledge: bool,
}

impl PushMessage {
    /// A notification. `unread`: how many its user has not read. `is_next`: whether all before it were acknowledged.
    pub fn of_notification(
        user: &UserId,
        notification: &Notification,
        unread: i64,
        is_next: bool,
        now_ms: i64,
    ) -> Self {
        let content = &notification.content;
        let shown = Shown { id: notification.id, collapse_key: content.collapse_key.clone(), digest: None };
        let tag = shown.tag(user);
        let payload = text(&NotificationPayload {
            kind: "notification",
            tag: &tag,
            id: notification.id,
            r#type: &content.kind,
            title: &content.title,
            body: content.body.as_deref(),
            action_url: content.action_url.as_deref(),
            priority: content.priority,
            silent: notification.silent,
            cursor: notification.cursor,
            unread_count: unread,
            acknowledge: is_next,
        });
        let stub = json!({
            "kind": "notification", "tag": tag, "id": notification.id, "title": content.title, "fetch": true,
            "acknowledge": is_next,
        });
        let stub = stub.to_string();
        let (payload, stub) = if payload.len() > MAX_PAYLOAD_BYTES { (stub, None) } else { (payload, Some(stub)) };
        let urgency = match content.priority {
            Priority::Low => Urgency::Low,
            Priority::Normal => Urgency::Normal,
            Priority::High | Priority::Critical => Urgency::High,
        };
        Self { tag, payload, stub, ttl_s: ttl_s(content.expires_at, now_ms), urgency }
    }

    /// A digest. One that tells of a single notification says what that says.
    pub fn of_digest(digest: &DueDigest, now_ms: i64) -> Self {
        let user = &digest.key.user;
        match &digest.content {
            DigestContent::Notifications { count: 1, newest: Some(only), unread } => {
                let alone = Self::of_notification(user, only, *unread, false, now_ms);
                // Under the tag of the digest, by which it is closed.
                let tag = digest.push_tag();
                let retagged = |text: String| text.replacen(&alone.tag, &tag, 1);
                Self { payload: retagged(alone.payload), stub: alone.stub.map(retagged), tag: tag.clone(), ..alone }
            }
            content => Self::summary(digest.push_tag(), &digest.key.tag, &[content]),
        }
    }

    /// One push for several digests of a user that quiet hours have held.
    pub fn of_digests(user: &UserId, contents: &[&DigestContent]) -> Self {
        Self::summary(DigestTag::Quiet.push_tag(user), &DigestTag::Quiet, contents)
    }

    fn summary(tag: String, about: &DigestTag, contents: &[&DigestContent]) -> Self {
        let counts = contents.iter().map(|content| content.count());
        let (chat, kind) = match about {
            DigestTag::Chat(chat) => (json!(chat), Value::Null),
            DigestTag::Type(kind) => (Value::Null, json!(kind)),
            DigestTag::Quiet => (Value::Null, Value::Null),
        };
        let (title, body) = match contents {
            [only] => (only.title(), only.excerpt()),
            _ => (title_of_all(contents), None),
        };
        let payload = json!({
            "kind": "digest", "tag": tag, "title": title, "body": body, "count": counts.sum::<i64>(), "chatId": chat,
            "type": kind,
        });
        Self { tag, payload: payload.to_string(), stub: None, ttl_s: ttl_s(None, 0), urgency: Urgency::Normal }
    }

    /// What closes a notification or digest that is shown under a tag.
    pub fn close(tag: String) -> Self {
        let payload = json!({"kind": "close", "tag": tag}).to_string();
        Self { tag, payload, stub: None, ttl_s: CLOSE_TTL_S, urgency: Urgency::VeryLow }
    }
}

impl Shown {
    /// The tag under which it was pushed.
    pub fn tag(&self, user: &UserId) -> String {
        match (&self.digest, &self.collapse_key) {
            (Some(digest), _) => digest.push_tag(user),
            (None, Some(key)) => push_tag(user, "key", key),
            (None, None) => push_tag(user, "id", &self.id.to_string()),
        }
    }
}

impl DigestTag {
    /// The tag under which it is pushed.
    pub fn push_tag(&self, user: &UserId) -> String {
        push_tag(user, "digest", &self.to_string())
    }
}

impl DueDigest {
    /// The tag under which it is pushed. What quiet hours have held has one tag, whether it is told alone or with others, since
    /// a worker that dies may leave that to another one.
    pub fn push_tag(&self) -> String {
        if self.is_held { DigestTag::Quiet.push_tag(&self.key.user) } else { self.key.tag.push_tag(&self.key.user) }
    }
}

/// A hash: push services learn nothing from it, and it has the length that they allow.
fn push_tag(user: &UserId, kind: &str, name: &str) -> String {
    let hash = sha256(json!([kind, user, name]).to_string().as_bytes());
    URL_SAFE_NO_PAD.encode(&hash[..24])
}

fn ttl_s(expires_at: Option<Time>, now_ms: i64) -> u32 {
    let left_s = expires_at.map_or(MAX_TTL_S, |end| (end.0 - now_ms) / 1_000);
    u32::try_from(left_s.clamp(0, MAX_TTL_S)).unwrap_or_default()
}

impl DigestContent {
    /// Of how many notifications or messages it tells.
    pub fn count(&self) -> i64 {
        match self {
            Self::Notifications { count, .. } | Self::Messages { count, .. } => *count,
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Notifications { count, .. } => number(*count, "new notification"),
            Self::Messages { count, senders, title, .. } => {
                let said = number(*count, "new message");
                let from = match senders.as_slice() {
                    [] => String::new(),
                    [only] => format!(" from {only}"),
                    [first, others @ ..] => format!(" from {first} and {}", number_of(others.len(), "other")),
                };
                let place = title.as_ref().map(|title| format!(" in {title}")).unwrap_or_default();
                format!("{said}{from}{place}")
            }
        }
    }

    /// What the last one says.
    fn excerpt(&self) -> Option<String> {
        match self {
            Self::Notifications { newest, .. } => newest.as_ref().map(|newest| excerpt(&newest.content.title)),
            Self::Messages { newest, .. } => newest.as_deref().filter(|body| !body.is_empty()).map(excerpt),
        }
    }
}

/// `3 new notifications and 1 new message`.
fn title_of_all(contents: &[&DigestContent]) -> String {
    let sum = |of_messages: bool| -> i64 {
        let fits = |content: &&&DigestContent| matches!(content, DigestContent::Messages { .. }) == of_messages;
        contents.iter().filter(fits).map(|content| content.count()).sum()
    };
    let parts = [(sum(false), "new notification"), (sum(true), "new message")];
    let parts: Vec<String> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| number(count, what)).collect();
    parts.join(" and ")
}

fn number(count: i64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn number_of(count: usize, what: &str) -> String {
    number(i64::try_from(count).unwrap_or(i64::MAX), what)
}

fn excerpt(text: &str) -> String {
    let mut characters = text.chars();
    let mut excerpt: String = characters.by_ref().take(MAX_EXCERPT).collect();
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

fn text(payload: &impl Serialize) -> String {
    serde_json::to_string(payload).expect("strings and numbers are JSON")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::value::RawValue;

    use super::*;
    use crate::cursor::Epoch;
    use crate::ids::ChatId;
    use crate::inbox::notification::{Channels, Content};
    use crate::preferences::Preferences;
    use crate::web_push::pushes::DigestKey;

    fn user(name: &str) -> UserId {
        UserId::new(name).unwrap()
    }

    fn notification(body: &str, collapse_key: Option<&str>, expires_at: Option<Time>) -> Notification {
        Notification {
            id: NotificationId::from_uuid(uuid::Uuid::from_u128(7)),
            content: Arc::new(Content {
                kind: "LIKE".into(),
                title: "Ana likes it".into(),
                body: Some(body.into()),
                data: RawValue::from_string("{}".into()).unwrap(),
                action_url: Some("/posts/1".into()),
                priority: Priority::High,
                expires_at,
                collapse_key: collapse_key.map(str::to_owned),
                channels: Channels::All,
                digest_ms: None,
                trace: None,
            }),
            cursor: Cursor { epoch: Epoch(1), offset: 3 },
            created_at: Time(0),
            read_at: None,
            silent: false,
        }
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_notification_is_told_whole_or_by_its_title() {
        let small = PushMessage::of_notification(&user("ana"), &notification("yes", None, None), 4, true, 0);
        assert_eq!(
            json(&small.payload),
            json!({
                "kind": "notification", "tag": small.tag, "id": "00000000-0000-0000-0000-000000000007", "type": "LIKE",
                "title": "Ana likes it", "body": "yes", "actionUrl": "/posts/1", "priority": "high", "silent": false,
                "cursor": Cursor { epoch: Epoch(1), offset: 3 }.to_string(), "unreadCount": 4,
                "acknowledge": true,
            })
        );
        assert_eq!((small.urgency, small.ttl_s), (Urgency::High, 28 * 24 * 60 * 60));
        let large =
            PushMessage::of_notification(&user("ana"), &notification(&"x".repeat(4_000), None, None), 4, true, 0);
        assert!(large.payload.len() <= MAX_PAYLOAD_BYTES);
        assert_eq!(large.stub, None);
        assert_eq!(Some(large.payload), small.stub);
    }

    #[test]
    fn a_tag_is_of_the_user_and_the_collapse_key_or_the_id() {
        let tag = |name: &str, key, body: &str| {
            PushMessage::of_notification(&user(name), &notification(body, key, None), 1, true, 0).tag
        };
        assert_eq!(tag("ana", Some("k"), "1"), tag("ana", Some("k"), "2"));
        let all =
            [tag("ana", Some("k"), ""), tag("bob", Some("k"), ""), tag("ana", Some("l"), ""), tag("ana", None, "")];
        for (n, tag) in all.iter().enumerate() {
            assert_eq!(tag.len(), 32);
            assert!(!all[..n].contains(tag));
        }
    }

    #[test]
    fn a_push_service_keeps_a_push_no_longer_than_it_is_valid() {
        let ttl_s = |expires_at, now_ms| {
            PushMessage::of_notification(&user("ana"), &notification("", None, expires_at), 1, true, now_ms).ttl_s
        };
        assert_eq!(ttl_s(Some(Time(61_999)), 1_000), 60);
        assert_eq!(ttl_s(Some(Time(500)), 1_000), 0);
        assert_eq!(ttl_s(Some(Time(i64::MAX)), 1_000), 28 * 24 * 60 * 60);
    }

    #[test]
    fn some_push_services_show_every_push() {
        let may = |url| may_be_silent(&Endpoint::stored(url).unwrap());
        assert!(may("https://updates.push.services.mozilla.com/wpush/v2/abc"));
        assert!(may("http://127.0.0.1:8080/push") && may("https://notgoogleapis.com/push"));
        assert!(!may("https://fcm.googleapis.com/fcm/send/abc") && !may("https://web.push.apple.com/abc"));
        assert!(!may("https://wns2-db5p.notify.windows.com/w/?token=abc"));
    }

    fn messages(count: i64, senders: &[&str], title: Option<&str>) -> DigestContent {
        DigestContent::Messages {
            count,
            newest: Some("see you\nthere".into()),
            senders: senders.iter().map(|name| user(name)).collect(),
            title: title.map(str::to_owned),
            is_connected: false,
        }
    }

    fn notifications(count: i64) -> DigestContent {
        DigestContent::Notifications { count, newest: Some(notification("", None, None)), unread: count }
    }

    fn digest(tag: DigestTag, content: DigestContent) -> DueDigest {
        DueDigest {
            key: DigestKey { user: user("ana"), tag, fence_ms: 0, arrivals: 1, told: vec![3] },
            content,
            attempt: 0,
            is_held: false,
            is_shown: false,
            subscriptions: Vec::new(),
            preferences: Preferences::default(),
        }
    }

    #[test]
    fn a_digest_counts_what_it_tells_of() {
        let title = |content: &DigestContent| content.title();
        assert_eq!(title(&messages(1, &["ana"], None)), "1 new message from ana");
        assert_eq!(title(&messages(2, &["ana", "bob"], None)), "2 new messages from ana and 1 other");
        assert_eq!(
            title(&messages(5, &["ana", "bob", "cem"], Some("Trip"))),
            "5 new messages from ana and 2 others in Trip"
        );
        assert_eq!(title(&messages(3, &[], None)), "3 new messages");
        let all = [&notifications(3), &messages(4, &["ana"], None), &messages(1, &["bob"], None)];
        let push = PushMessage::of_digests(&user("ana"), &all);
        assert_eq!(json(&push.payload)["title"], "3 new notifications and 5 new messages");
        assert_eq!(json(&push.payload)["count"], 8);
    }

    #[test]
    fn a_digest_of_one_says_what_that_says_under_its_own_tag() {
        let of_type = |count| digest(DigestTag::Type("LIKE".into()), notifications(count));
        let one = PushMessage::of_digest(&of_type(1), 0);
        assert_eq!(json(&one.payload)["title"], "Ana likes it");
        assert_eq!(json(&one.payload)["tag"], one.tag.as_str());
        assert_eq!(one.tag, PushMessage::of_digest(&of_type(2), 0).tag);
        let chat = ChatId::from_uuid(uuid::Uuid::from_u128(5));
        let of_chat = PushMessage::of_digest(&digest(DigestTag::Chat(chat), messages(1, &["bob"], None)), 0);
        assert_eq!(
            json(&of_chat.payload),
            json!({
                "kind": "digest", "tag": of_chat.tag, "title": "1 new message from bob", "body": "see you\nthere",
                "count": 1, "chatId": chat, "type": null,
            })
        );
    }

    #[test]
    fn what_quiet_hours_have_held_has_one_tag_alone_and_together() {
        let chat = DigestTag::Chat(ChatId::from_uuid(uuid::Uuid::from_u128(5)));
        let alone = DueDigest { is_held: true, ..digest(chat, messages(1, &["bob"], None)) };
        let alone = PushMessage::of_digest(&alone, 0);
        assert_eq!(alone.tag, PushMessage::of_digests(&user("ana"), &[&notifications(1)]).tag);
        assert!(json(&alone.payload)["chatId"].is_string(), "it still leads to its chat");
    }
}
