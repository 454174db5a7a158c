//! Ids. Our own are derived from what a caller sent, so that every repeat, on any path, names the same thing.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use serde::{Serialize, Serializer};
pub use uuid::Uuid;

use crate::text;

/// A user, as the caller's own system names them: 1–256 bytes of UTF-8 in NFC without control or bidi-override characters.
/// Appears only in values and statement parameters, never in a path or a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    /// An id from a caller; the error says what is required.
    pub fn new(id: impl Into<String>) -> Result<Self, &'static str> {
        let id = id.into();
        text::check_user_id(&id).map(|()| Self(id))
    }

    /// An id that was checked when it was stored.
    pub fn stored(id: String) -> Self {
        Self(id)
    }

    /// The id as the caller wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A connection: a socket, as API Gateway names it (15 base64url characters and `=`), or an event stream, which has a name of
/// ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(String);

/// With this begins the name of each event stream. API Gateway's names have no slash.
const STREAM_PREFIX: &str = "stream/";

impl ConnectionId {
    /// API Gateway's name for a socket, as received.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// A new name for an event stream.
    pub fn of_stream() -> Self {
        Self(format!("{STREAM_PREFIX}{}", Uuid::new_v4().simple()))
    }

    /// Whether it is an event stream.
    pub fn is_stream(&self) -> bool {
        self.0.starts_with(STREAM_PREFIX)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a valid id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID in lower case")]
pub struct MalformedId;

macro_rules! uuid_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// Reads the id from a path or a frame; `None` unless it is a UUID in lower case.
            pub fn parse(text: &str) -> Option<Self> {
                let id = Uuid::try_parse(text).ok()?;
                // `try_parse` also accepts braces, capitals and missing hyphens; our ids have one spelling.
                (id.hyphenated().to_string() == text).then_some(Self(id))
            }

            /// The id as a plain UUID, for stores with such a type.
            pub fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The id from such a store.
            pub fn from_uuid(id: Uuid) -> Self {
                Self(id)
            }

            /// The id as 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id from 16 bytes; `None` for any other length.
            pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
                Uuid::from_slice(bytes).ok().map(Self)
            }
        }

        impl FromStr for $name {
            type Err = MalformedId;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text).ok_or(MalformedId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

uuid_id! {
    /// One call of `send`, which may produce many notifications.
    SendId
}

uuid_id! {
    /// One notification of one user.
    NotificationId
}

uuid_id! {
    /// One dead letter.
    DeadLetterId
}

uuid_id! {
    /// One chat.
    ChatId
}

uuid_id! {
    /// One message of one chat.
    MessageId
}

uuid_id! {
    /// One emitted event.
    EventId
}

uuid_id! {
    /// One subscription to Web Push.
    SubscriptionId
}

impl SubscriptionId {
    /// The subscription of this endpoint, a normalised URL, whoever has it.
    pub fn of_endpoint(endpoint: &str) -> Self {
        Self(derived(&[b"subscription", endpoint.as_bytes()]))
    }
}

impl EventId {
    /// The event with this key of a caller on a route, however often it is repeated.
    pub fn of_key(caller: &UserId, route: &str, key: &str) -> Self {
        Self(derived(&[b"event", caller.as_str().as_bytes(), route.as_bytes(), key.as_bytes()]))
    }

    /// An event without a key, which cannot be repeated.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl ChatId {
    /// The direct chat of two users, in either order.
    pub fn of_pair(one: &UserId, other: &UserId) -> Self {
        let (first, second) = if one <= other { (one, other) } else { (other, one) };
        Self(derived(&[b"pair", first.as_str().as_bytes(), second.as_str().as_bytes()]))
    }

    /// The group that a user creates with this client id, however often it is repeated.
    pub fn of_group(creator: &UserId, client_id: &str) -> Self {
        Self(derived(&[b"group", creator.as_str().as_bytes(), client_id.as_bytes()]))
    }

    /// A group without a client id, whose creation cannot be repeated.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl MessageId {
    /// The message that a user sends to a chat with this client id, on any path.
    pub fn of(chat: ChatId, sender: &UserId, client_id: &str) -> Self {
        Self(derived(&[b"message", chat.as_bytes(), sender.as_str().as_bytes(), client_id.as_bytes()]))
    }
}

impl DeadLetterId {
    /// For the push of the row with this offset.
    pub fn of_push(user: &UserId, offset: i64) -> Self {
        Self(derived(&[b"push", user.as_str().as_bytes(), &offset.to_be_bytes()]))
    }

    /// For a notification without a row.
    pub fn of_recipient(notification: NotificationId) -> Self {
        Self(derived(&[b"recipient", notification.as_bytes()]))
    }

    /// For a whole chunk, identified by its list of recipients, since its number may be reused.
    pub fn of_chunk(send: SendId, recipients: &[u8]) -> Self {
        Self(derived(&[b"chunk", send.as_bytes(), recipients]))
    }

    /// For work that cannot be read.
    pub fn of_payload(payload: &str) -> Self {
        Self(derived(&[b"payload", payload.as_bytes()]))
    }
}

impl SendId {
    /// The send with this key of a caller on a route, however often it is repeated.
    pub fn of_key(caller: &UserId, route: &str, key: &str) -> Self {
        Self(derived(&[b"send", caller.as_str().as_bytes(), route.as_bytes(), key.as_bytes()]))
    }

    /// A send without a key, which cannot be repeated.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Whether it has no key.
    pub fn is_random(&self) -> bool {
        self.0.get_version() == Some(uuid::Version::Random)
    }
}

impl NotificationId {
    /// The notification that a send puts into a user's inbox.
    pub fn of(send: SendId, user: &UserId) -> Self {
        Self(derived(&[b"notification", send.as_bytes(), user.as_str().as_bytes()]))
    }
}

/// SHA-256 of bytes: 32 bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Bytes as hexadecimal digits in lower case.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

/// The first 16 bytes of SHA-256 over the parts. Each part is preceded by its length, so that (`a:b`, `c`) and (`a`, `b:c`)
/// differ.
fn derived(parts: &[&[u8]]) -> Uuid {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut first_half = [0; 16];
    first_half.copy_from_slice(&context.finish().as_ref()[..16]);
    // A truncated hash is a custom UUID (RFC 9562, version 8), and is marked as one.
    uuid::Builder::from_custom_bytes(first_half).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn a_key_names_the_same_send_forever_and_only_for_its_caller_and_route() {
        let id = SendId::of_key(&user("billing"), "/api/notifications/send", "invoice-7");
        assert_eq!(id.to_string(), "8214134b-5784-8ca4-baf3-8de40ae24211");
        assert_ne!(id, SendId::of_key(&user("orders"), "/api/notifications/send", "invoice-7"));
        assert_ne!(id, SendId::of_key(&user("billing"), "/api/push/send", "invoice-7"));
    }

    #[test]
    fn parts_that_look_alike_only_when_joined_give_different_ids() {
        let first = SendId::of_key(&user("a:b"), "r", "c");
        assert_ne!(first, SendId::of_key(&user("a"), "r", "b:c"));
        assert_ne!(NotificationId::of(first, &user("a")), NotificationId::of(first, &user("b")));
    }

    #[test]
    fn a_pair_has_one_chat_and_its_messages_differ_by_sender() {
        let (alice, bob) = (user("alice"), user("bob"));
        let chat = ChatId::of_pair(&alice, &bob);
        assert_eq!(chat, ChatId::of_pair(&bob, &alice));
        assert_ne!(chat, ChatId::of_pair(&user("alicebo"), &user("b")));
        assert_ne!(MessageId::of(chat, &alice, "1"), MessageId::of(chat, &bob, "1"));
    }

    #[test]
    fn an_endpoint_has_one_subscription() {
        let id = SubscriptionId::of_endpoint("https://push.example.com/1");
        assert_eq!(id, SubscriptionId::of_endpoint("https://push.example.com/1"));
        assert_ne!(id, SubscriptionId::of_endpoint("https://push.example.com/2"));
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = SendId::random();
        assert_eq!(SendId::parse(&id.to_string()), Some(id));
        for other in [id.to_string().to_uppercase(), format!("{{{id}}}"), id.to_string().replace('-', ""), "7".into()] {
            assert_eq!(SendId::parse(&other), None, "{other}");
        }
    }
}
