//! Work: one task that waits in the queue, and its text in a store. Old and new versions share a queue, so the text names
//! its kind, and work of a kind that this version does not know is kept as it is.

use serde::{Deserialize, Serialize};

use crate::fast::log::LogId;
use crate::ids::{ChatId, ConnectionId, EventId, UserId, sha256};
use crate::inbox::notification::Priority;
use crate::telemetry::trace::TraceParent;

/// The number of shards of the queue; all work of one user is in one of them. Never changes in a deployment.
pub const SHARDS: usize = 16;
/// The number of priorities.
pub const PRIORITIES: usize = 4;

/// One task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// A row of the record still has to be pushed.
    Push(PushWork),
    /// Whether a user has gone offline is to be found out and told.
    Presence(UserId),
    /// How far a member has read a chat is to be told to the others.
    Receipt(ChatId, UserId),
    /// An emitted event is to be pushed.
    Emit(EmitWork),
    /// A log is to be written to the record.
    Persist(LogId),
    /// A kind or version that this version does not know. It is returned to the queue for a drain that does.
    Unknown(UnknownWork),
}

/// A row of the record that still has to be pushed. Names the row and contains nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushWork {
    /// The owner of the inbox.
    pub user: UserId,
    /// The row's arrival position.
    pub offset: i64,
    /// The row's `push_at` when this was made, in milliseconds since 1970. Taking the row moves it, which makes all
    /// older work for the row stale.
    pub fence_ms: i64,
    /// Decides the order in which work is claimed.
    pub priority: Priority,
    /// How many attempts in a row, up to the last one, failed because a connection was throttled.
    pub throttled: u32,
    /// The connections that have not accepted it; empty means all that the user has.
    pub left: Vec<ConnectionId>,
}

/// An emitted event that is to be pushed to a page of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmitWork {
    /// The event, which the moment keeps.
    pub event: EventId,
    /// The connections.
    pub page: EmitPage,
    /// The span of the call that emitted it.
    pub trace: Option<TraceParent>,
}

/// A page of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmitPage {
    /// All of these users.
    Users(Vec<UserId>),
    /// Those of all users that follow one of them.
    All {
        /// When that one was registered, in milliseconds since 1970, and its id; `None`: from the first.
        after: Option<(i64, ConnectionId)>,
        /// Only those that were registered until then, in milliseconds since 1970.
        until_ms: i64,
    },
}

/// Work of an unknown kind, exactly as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWork(String);

/// Text that no version has written: it can never be processed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed(pub String);

/// The kind of [`PushWork`], as the first word of its text. Later kinds are a name and a version.
const PUSH: &str = "1";

/// The kind of [`Work::Presence`].
const PRESENCE: &str = "presence/1";

/// The kind of [`Work::Receipt`].
const RECEIPT: &str = "receipt/1";

/// The kind of [`Work::Emit`].
const EMIT: &str = "emit/1";

/// The kind of [`Work::Persist`].
const PERSIST: &str = "persist/1";

/// The members of [`Work::Emit`] behind kind and priority, as JSON: either `users`, or `until`, with or without `after`.
#[derive(Serialize, Deserialize)]
struct EmitMembers {
    event: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    users: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<(i64, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// The members of [`Work::Persist`] behind kind and priority, as JSON.
#[derive(Serialize, Deserialize)]
struct PersistMembers {
    log: u16,
}

/// The members of [`Work::Receipt`] behind kind and priority, as JSON.
#[derive(Serialize, Deserialize)]
struct ReceiptMembers {
    chat: String,
    user: String,
}

/// The members of [`Work::Presence`] behind kind and priority, as JSON.
#[derive(Serialize, Deserialize)]
struct PresenceMembers {
    user: String,
}

/// The members of [`PushWork`] behind kind and priority, as JSON. Unknown members, of a later version, are ignored.
#[derive(Serialize, Deserialize)]
struct PushMembers {
    user: String,
    offset: i64,
    fence: i64,
    #[serde(default, skip_serializing_if = "is_zero")]
    throttled: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Work {
    /// The text under which a store keeps it: kind, priority, and JSON, with a space between them.
    pub fn text(&self) -> String {
        match self {
            Self::Push(push) => push.text(),
            Self::Presence(user) => presence_text(user),
            Self::Receipt(chat, user) => receipt_text(*chat, user),
            Self::Emit(emit) => emit.text(),
            Self::Persist(log) => persist_text(*log),
            Self::Unknown(UnknownWork(text)) => text.clone(),
        }
    }

    /// Reads what a store keeps.
    pub fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let malformed = || Malformed(String::from_utf8_lossy(text).into_owned());
        let text = std::str::from_utf8(text).map_err(|_| malformed())?;
        match text.split_once(' ') {
            Some((PUSH, rest)) => PushWork::parse(rest).map(Self::Push).ok_or_else(malformed),
            Some((PRESENCE, rest)) => parse_presence(rest).map(Self::Presence).ok_or_else(malformed),
            Some((RECEIPT, rest)) => {
                parse_receipt(rest).map(|(chat, user)| Self::Receipt(chat, user)).ok_or_else(malformed)
            }
            Some((EMIT, rest)) => EmitWork::parse(rest).map(Self::Emit).ok_or_else(malformed),
            Some((PERSIST, rest)) => parse_persist(rest).map(Self::Persist).ok_or_else(malformed),
            Some((kind, _)) if is_kind(kind) => Ok(Self::Unknown(UnknownWork(text.to_owned()))),
            _ => Err(malformed()),
        }
    }

    /// Its priority; normal if it is unknown.
    pub fn priority(&self) -> Priority {
        match self {
            Self::Push(push) => push.priority,
            Self::Presence(_) | Self::Receipt(..) => Priority::Low,
            Self::Emit(_) => Priority::Normal,
            // Calls that read the inbox or chat wait for it.
            Self::Persist(_) => Priority::High,
            Self::Unknown(UnknownWork(text)) => {
                text.split(' ').nth(1).and_then(Priority::from_name).unwrap_or_default()
            }
        }
    }

    /// The shard that it belongs to. Unknown work does not say whose it is; any shard serves it.
    pub fn shard(&self) -> usize {
        match self {
            Self::Push(push) => shard(&push.user),
            Self::Presence(user) | Self::Receipt(_, user) => shard(user),
            Self::Emit(emit) => usize::from(sha256(emit.event.as_bytes())[0]) % SHARDS,
            Self::Persist(log) => usize::from(log.number()) % SHARDS,
            Self::Unknown(UnknownWork(text)) => usize::from(sha256(text.as_bytes())[0]) % SHARDS,
        }
    }
}

impl From<PushWork> for Work {
    fn from(push: PushWork) -> Self {
        Self::Push(push)
    }
}

impl PushWork {
    fn text(&self) -> String {
        let members = PushMembers {
            user: self.user.to_string(),
            offset: self.offset,
            fence: self.fence_ms,
            throttled: self.throttled,
            left: self.left.iter().map(ToString::to_string).collect(),
        };
        let members = serde_json::to_string(&members).expect("strings and numbers are JSON");
        format!("{PUSH} {} {members}", self.priority.name())
    }

    /// Reads what follows the kind.
    fn parse(text: &str) -> Option<Self> {
        let (priority, members) = text.split_once(' ')?;
        let priority = Priority::from_name(priority)?;
        let members: PushMembers = serde_json::from_str(members).ok()?;
        let user = UserId::new(members.user).ok()?;
        let left = members.left.into_iter().map(ConnectionId::new).collect();
        let PushMembers { offset, fence: fence_ms, throttled, .. } = members;
        Some(Self { user, offset, fence_ms, priority, throttled, left })
    }
}

impl EmitWork {
    fn text(&self) -> String {
        let (users, until, after) = match &self.page {
            EmitPage::Users(users) => (users.iter().map(ToString::to_string).collect(), None, None),
            EmitPage::All { after, until_ms } => {
                (Vec::new(), Some(*until_ms), after.as_ref().map(|(ms, id)| (*ms, id.to_string())))
            }
        };
        let trace = self.trace.map(|trace| trace.to_string());
        let members = EmitMembers { event: self.event.to_string(), users, until, after, trace };
        let members = serde_json::to_string(&members).expect("strings and numbers are JSON");
        format!("{EMIT} {} {members}", Priority::Normal.name())
    }

    /// Reads what follows the kind. Its priority does not matter.
    fn parse(text: &str) -> Option<Self> {
        let (_, members) = text.split_once(' ')?;
        let EmitMembers { event, users, until, after, trace } = serde_json::from_str(members).ok()?;
        let page = match until {
            Some(until_ms) => EmitPage::All { after: after.map(|(ms, id)| (ms, ConnectionId::new(id))), until_ms },
            None if users.is_empty() => return None,
            None => EmitPage::Users(users.into_iter().map(UserId::new).collect::<Result<_, _>>().ok()?),
        };
        // A trace that cannot be read is no reason not to push the event.
        let trace = trace.as_deref().and_then(TraceParent::parse);
        Some(Self { event: EventId::parse(&event)?, page, trace })
    }
}

fn presence_text(user: &UserId) -> String {
    let members = PresenceMembers { user: user.to_string() };
    let members = serde_json::to_string(&members).expect("a string is JSON");
    format!("{PRESENCE} {} {members}", Priority::Low.name())
}

/// Reads what follows the kind. Its priority does not matter.
fn parse_presence(text: &str) -> Option<UserId> {
    let (_, members) = text.split_once(' ')?;
    let members: PresenceMembers = serde_json::from_str(members).ok()?;
    UserId::new(members.user).ok()
}

fn receipt_text(chat: ChatId, user: &UserId) -> String {
    let members = ReceiptMembers { chat: chat.to_string(), user: user.to_string() };
    let members = serde_json::to_string(&members).expect("strings are JSON");
    format!("{RECEIPT} {} {members}", Priority::Low.name())
}

/// Reads what follows the kind. Its priority does not matter.
fn parse_receipt(text: &str) -> Option<(ChatId, UserId)> {
    let (_, members) = text.split_once(' ')?;
    let members: ReceiptMembers = serde_json::from_str(members).ok()?;
    Some((ChatId::parse(&members.chat)?, UserId::new(members.user).ok()?))
}

fn persist_text(log: LogId) -> String {
    let members = serde_json::to_string(&PersistMembers { log: log.number() }).expect("a number is JSON");
    format!("{PERSIST} {} {members}", Priority::High.name())
}

/// Reads what follows the kind. Its priority does not matter.
fn parse_persist(text: &str) -> Option<LogId> {
    let (_, members) = text.split_once(' ')?;
    let PersistMembers { log } = serde_json::from_str(members).ok()?;
    LogId::from_number(log)
}

impl UnknownWork {
    /// Text whose first word is a kind that this version does not know; `None` for any other.
    pub fn new(text: &str) -> Option<Self> {
        match Work::parse(text.as_bytes()) {
            Ok(Work::Unknown(unknown)) => Some(unknown),
            _ => None,
        }
    }

    /// The text as it is stored.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Whether a word may be a kind of another version: `2`, or `presence/1`.
fn is_kind(word: &str) -> bool {
    let (name, version) = word.split_once('/').unwrap_or(("", word));
    let has_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let has_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    has_name && has_version && word.len() <= 64 && !word.starts_with('/')
}

/// The shard that the work of a user belongs to.
pub fn shard(user: &UserId) -> usize {
    usize::from(sha256(user.as_str().as_bytes())[0]) % SHARDS
}

/// The place of a priority within a shard, the most urgent first.
pub(crate) fn rank(priority: Priority) -> usize {
    match priority {
        Priority::Critical => 0,
        Priority::High => 1,
        Priority::Normal => 2,
        Priority::Low => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push() -> PushWork {
        PushWork {
            user: UserId::new("alice b").unwrap(),
            offset: 7,
            fence_ms: 1_800_000_005_000,
            priority: Priority::High,
            throttled: 0,
            left: Vec::new(),
        }
    }

    #[test]
    fn the_text_is_short_and_never_changes() {
        let text = r#"1 high {"user":"alice b","offset":7,"fence":1800000005000}"#;
        assert_eq!(push().text(), text);
        let left = vec![ConnectionId::new("PJqB0fHsqRcCHlw=")];
        let again = PushWork { throttled: 1, left, ..push() };
        let text =
            r#"1 high {"user":"alice b","offset":7,"fence":1800000005000,"throttled":1,"left":["PJqB0fHsqRcCHlw="]}"#;
        assert_eq!(again.text(), text);
    }

    #[test]
    fn presence_of_a_user_has_one_text() {
        let work = Work::Presence(UserId::new("alice b").unwrap());
        assert_eq!(work.text(), r#"presence/1 low {"user":"alice b"}"#);
        assert_eq!(Work::parse(work.text().as_bytes()), Ok(work.clone()));
        assert_eq!(Work::parse(br#"presence/1 high {"user":"alice b","more":1}"#), Ok(work));
        let chat = ChatId::parse("6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18").unwrap();
        let work = Work::Receipt(chat, UserId::new("alice b").unwrap());
        let text = r#"receipt/1 low {"chat":"6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18","user":"alice b"}"#;
        assert_eq!((work.text().as_str(), Work::parse(text.as_bytes())), (text, Ok(work.clone())));
    }

    #[test]
    fn an_event_is_for_users_or_for_a_page_of_all() {
        let event = EventId::parse("6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18").unwrap();
        let start = r#"emit/1 normal {"event":"6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18","#;
        let pages = [
            (EmitPage::Users(vec![UserId::new("alice b").unwrap()]), r#""users":["alice b"]}"#),
            (EmitPage::All { after: None, until_ms: 7 }, r#""until":7}"#),
            (
                EmitPage::All { after: Some((5, ConnectionId::new("PJqB0fHsqRcCHlw="))), until_ms: 7 },
                r#""until":7,"after":[5,"PJqB0fHsqRcCHlw="]}"#,
            ),
        ];
        for (page, end) in pages {
            let work = Work::Emit(EmitWork { event, page, trace: None });
            assert_eq!(work.text(), format!("{start}{end}"));
            assert_eq!(Work::parse(work.text().as_bytes()), Ok(work));
        }
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let page = EmitPage::All { after: None, until_ms: 7 };
        let work = EmitWork { event, page, trace: TraceParent::parse(trace) };
        assert_eq!(work.text(), format!(r#"{start}"until":7,"trace":"{trace}"}}"#));
        assert_eq!(Work::parse(work.text().as_bytes()), Ok(Work::Emit(work.clone())));
        let other = work.text().replace(trace, "canary");
        assert_eq!(Work::parse(other.as_bytes()), Ok(Work::Emit(EmitWork { trace: None, ..work })));
    }

    #[test]
    fn what_is_written_is_read() {
        for user in ["alice", "a b", "{}", "\"", "🔔", "1 high {}"] {
            for (_, priority) in Priority::NAMES {
                let left = vec![ConnectionId::new("a b"), ConnectionId::new("")];
                let user = UserId::new(user).unwrap();
                let work = Work::Push(PushWork { user, priority, throttled: u32::MAX, left, ..push() });
                assert_eq!(Work::parse(work.text().as_bytes()), Ok(work));
            }
        }
        // A later version that only adds members, and an earlier one that kept the trace here.
        for more in [r#""more":{"a":[1]}"#, r#""trace":"0af7651916cd43dd8448eb211c80319c""#] {
            let text = format!(r#"1 high {{"user":"alice b","offset":7,"fence":1800000005000,{more}}}"#);
            assert_eq!(Work::parse(text.as_bytes()), Ok(Work::Push(push())));
        }
    }

    #[test]
    fn a_kind_or_version_to_come_is_kept_as_it_is() {
        for text in ["2 high {\"user\":\"a\"}", "presence/2 low {}", "web_push/12 urgent [\"x\"]", "99 "] {
            let Ok(Work::Unknown(unknown)) = Work::parse(text.as_bytes()) else { panic!("{text}") };
            assert_eq!((unknown.text(), Work::Unknown(unknown.clone()).text().as_str()), (text, text));
        }
        let priority = |text| Work::Unknown(UnknownWork::new(text).unwrap()).priority();
        assert_eq!(priority("presence/2 low {}"), Priority::Low);
        assert_eq!(priority("presence/2 urgent {}"), Priority::Normal);
        assert_eq!(UnknownWork::new(&push().text()), None);
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in [
            "",
            "1",
            "2",
            "1 high",
            "1 high {}",
            "1 urgent {\"user\":\"a\",\"offset\":1,\"fence\":1}",
            "1 high {\"user\":\"\",\"offset\":1,\"fence\":1}",
            "1 high {\"user\":\"a\\u0000\",\"offset\":1,\"fence\":1}",
            "1 high {\"user\":\"a\",\"offset\":1.5,\"fence\":1}",
            "1 high {\"user\":\"a\",\"offset\":1,\"fence\":1}}",
            "presence/1 low {}",
            "receipt/1 low {\"chat\":\"7\",\"user\":\"a\"}",
            "emit/1 normal {\"event\":\"6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18\"}",
            "emit/1 normal {\"event\":\"7\",\"until\":7}",
            "emit/1 normal {\"event\":\"6f1d8a04-7b52-8c9e-a3d1-52c7e0b94f18\",\"users\":[\"\"]}",
            "presence/1 {\"user\":\"a\"}",
            "presence/1 low {\"user\":\"\"}",
            "1  high {\"user\":\"a\",\"offset\":1,\"fence\":1}",
            "written by hand",
            "/1 high {}",
            "Presence/1 high {}",
            "presence/ high {}",
            "presence/v1 high {}",
        ] {
            assert_eq!(Work::parse(text.as_bytes()), Err(Malformed(text.to_owned())), "{text}");
        }
        assert!(Work::parse(b"1 high {\"user\":\"\xff\",\"offset\":1,\"fence\":1}").is_err());
        assert_eq!(Work::parse(b"\xff"), Err(Malformed("\u{fffd}".into())));
    }

    #[test]
    fn users_spread_over_all_shards() {
        let mut seen = [0; SHARDS];
        for n in 0..16_000 {
            seen[shard(&UserId::new(format!("user {n}")).unwrap())] += 1;
        }
        assert!(seen.iter().all(|count| (850..1_150).contains(count)), "{seen:?}");
        assert_eq!(shard(&UserId::new("alice").unwrap()), 11);
    }
}
