//! The promise of the record to erase a user, and what every store has to agree on: the stages, how much a step may do, and
//! where stored texts name a user.

use async_trait::async_trait;
use serde_json::Value;

use crate::auth::REVOCATIONS_MAX_AGE_MS;
use crate::clock::At;
use crate::delivery::work::{EmitPage, Work};
use crate::error::StoreError;
use crate::fast::logged::Entry;
use crate::ids::{ChatId, ConnectionId, UserId, Uuid};

/// The most rows that a step changes.
pub const MAX_CHANGED: usize = 500;
/// The most small rows that a step examines: chats and messages.
pub const MAX_EXAMINED: usize = 2_000;
/// The most texts that a step examines, each of which may have 100 KB: answers and lists of recipients.
pub const MAX_EXAMINED_TEXTS: usize = 1_000;
/// The most of them that it changes.
pub const MAX_CHANGED_TEXTS: usize = 100;
/// The most sends that a step forgets.
pub const MAX_SENDS: usize = 100;
/// The most chats that a step takes the user out of: it holds them until its end, and their members wait.
pub const MAX_CHATS: usize = 10;
/// Until when after a revocation a call with a revoked token may still run, in milliseconds: a process that admitted it may
/// not have heard of the revocation, and the call takes some time.
const REVOKED_MS: i64 = REVOCATIONS_MAX_AGE_MS + 5_000;
/// How an answer names a user who was erased.
pub const ERASED_IN_ANSWER: &str = r#""userId":null"#;

/// Erasing users. It is done in steps, each a transaction of bounded size that also notes how far it has come, so that it
/// can be interrupted at any time and goes on where it stopped.
///
/// What is left of a user afterwards names no one: its messages in chats of others keep their `seq` and are empty, direct
/// chats keep a member without an id, and what it sent to others stays in their inboxes. Hashes that were made of the id, such
/// as the ids of those sends, of messages and of chats, stay.
///
/// Others may go on sending to the user meanwhile, and afterwards: that makes a new inbox, which another erasure takes.
#[async_trait]
pub trait Erasures: Send + Sync {
    /// Begins to erase a user. If an erasure of that user is under way, it goes on where it stands.
    async fn begin_erasure(&self, user: &UserId, at: At) -> Result<(), StoreError>;

    /// Takes the next step of an erasure. Of concurrent calls for one user, one waits for the other. Complete if no erasure
    /// of this user is under way.
    async fn erase_some(&self, user: &UserId, at: At) -> Result<Erased, StoreError>;
}

/// What a step has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Whether nothing is left to do.
    pub is_complete: bool,
    /// Connections that are no longer registered, which the caller closes.
    pub connections: Vec<ConnectionId>,
    /// Chats whose members or messages have changed. What the moment remembers of them is outdated.
    pub chats: Vec<ChatId>,
}

impl Erased {
    /// Nothing was left to do.
    pub fn complete() -> Self {
        Self { is_complete: true, ..Self::default() }
    }
}

/// A part of an erasure. Stages follow one another in this order. Stores keep their numbers, which never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Preferences, subscriptions and digests of Web Push, tickets, connections, when it was last seen.
    Own,
    /// Recipients without a row. Before the inbox: a chunk that waits would put a row into the emptied one.
    Chunks,
    /// Dead letters about the user, and recipients in others.
    DeadLetters,
    /// The inbox, and what its notifications say if no one else has them.
    Inbox,
    /// What the user sent. What others still need stays, without sender and answer; its key alone is not free again, since the
    /// ids of their notifications follow from it.
    Sends,
    /// Its memberships. Before the messages: who is no member writes no further one.
    Chats,
    /// Groups that it created and has left.
    LeftChats,
    /// What it said.
    Messages,
    /// The answers that others got.
    Answers,
}

impl Stage {
    /// The first one.
    pub const FIRST: Self = Self::Own;
    const ALL: [Self; 9] = [
        Self::Own,
        Self::Chunks,
        Self::DeadLetters,
        Self::Inbox,
        Self::Sends,
        Self::Chats,
        Self::LeftChats,
        Self::Messages,
        Self::Answers,
    ];

    /// Its number in a store.
    pub fn number(self) -> i64 {
        match self {
            Self::Own => 0,
            Self::Chunks => 1,
            Self::DeadLetters => 2,
            Self::Inbox => 3,
            Self::Sends => 4,
            Self::Chats => 5,
            Self::LeftChats => 6,
            Self::Messages => 7,
            Self::Answers => 8,
        }
    }

    /// The stage of this number.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.number() == number)
    }

    fn next(self) -> Option<Self> {
        Self::from_number(self.number() + 1)
    }
}

/// How far a step has come in its stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Nothing of the stage is left.
    End,
    /// Some of what the stage deletes is left, so the next step begins as this one did.
    Part,
    /// More may follow the row with this key, whose second part is 0 if it has none.
    Row(Uuid, i64),
}

impl Reached {
    /// The stage of the next step, and the key after which it goes on; `None` after the last one.
    pub fn next(self, stage: Stage) -> Option<(Stage, Uuid, i64)> {
        match self {
            Self::Part => Some((stage, Uuid::nil(), 0)),
            Self::Row(id, n) => Some((stage, id, n)),
            Self::End => stage.next().map(|next| (next, Uuid::nil(), 0)),
        }
    }
}

/// Whether an erasure that has come to its end, and began at `begun_ms`, goes through all stages once more: what a revoked token
/// still did may be behind the stages that were done. Both times in milliseconds since 1970.
pub fn goes_round_again(begun_ms: i64, is_second_round: bool, now_ms: i64) -> bool {
    !is_second_round && now_ms >= begun_ms + REVOKED_MS
}

/// Of a page of rows, in order and each with whether it names the user: those that a step changes, and the last row that it
/// has examined, or `None` if that is the last there is.
pub fn reach<K: Clone>(page: Vec<(K, bool)>, max_examined: usize, max_changed: usize) -> (Vec<K>, Option<K>) {
    let is_full = page.len() >= max_examined;
    let (mut named, mut last) = (Vec::new(), None);
    for (key, names_user) in page {
        if names_user {
            if named.len() >= max_changed {
                return (named, last);
            }
            named.push(key.clone());
        }
        last = Some(key);
    }
    (named, last.filter(|_| is_full))
}

/// A user's id as stored JSON has it.
pub fn in_json(user: &UserId) -> String {
    serde_json::to_string(user).expect("a string is JSON")
}

/// How an answer names a user. Nothing else in an answer contains this text: within a string, every quotation mark is behind
/// a backslash, and the one before the colon is not.
pub fn in_answer(user: &UserId) -> String {
    format!(r#""userId":{}"#, in_json(user))
}

/// What is left of a stored list of recipients without the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// These recipients.
    Recipients(Vec<UserId>),
    /// A list that cannot be read, without the id. It stays, since an operator may find other recipients in it.
    Unreadable(String),
}

impl Left {
    /// Nothing.
    pub const NOTHING: Self = Self::Recipients(Vec::new());

    /// How many recipients it counts as, of so many before.
    pub fn count(&self, before: i64) -> i64 {
        match self {
            Self::Recipients(left) => i64::try_from(left.len()).unwrap_or(i64::MAX),
            Self::Unreadable(_) => before,
        }
    }

    /// As it is stored.
    pub fn into_text(self) -> String {
        match self {
            Self::Recipients(left) => serde_json::to_string(&left).expect("a list of strings is JSON"),
            Self::Unreadable(text) => text,
        }
    }
}

/// A list of recipients without this user; `None` if it does not name the user.
///
/// The element goes, rather than becoming null: drains of an earlier release read a list of strings.
pub fn without(recipients: &str, user: &UserId) -> Option<Left> {
    let Ok(all) = serde_json::from_str::<Vec<String>>(recipients) else {
        return nulled(recipients, user).map(Left::Unreadable);
    };
    let before = all.len();
    let left: Vec<UserId> = all.into_iter().map(UserId::stored).filter(|recipient| recipient != user).collect();
    (left.len() < before).then_some(Left::Recipients(left))
}

/// A text that cannot be read, with null for each string that is the user's id. Everything else stays as it is, since it may
/// name others. `None` if there is no such string.
fn nulled(text: &str, user: &UserId) -> Option<String> {
    let id = in_json(user);
    let is_between = |c: char| c.is_whitespace() || ",:[]{}".contains(c);
    // In its quotation marks, an id like `,` is also what stands between two strings, where characters of these surround it. A
    // quotation mark after a backslash is part of another id.
    let is_ambiguous = user.as_str().starts_with(is_between) && user.as_str().ends_with(is_between);
    let (mut nulled, mut done, mut from) = (String::with_capacity(text.len()), 0, 0);
    while let Some(found) = text[from..].find(&id) {
        let (start, end) = (from + found, from + found + id.len());
        let around = [text[..start].chars().next_back(), text[end..].chars().next()];
        let is_within = around[0] == Some('\\');
        if is_within || is_ambiguous && !around.into_iter().flatten().all(is_between) {
            // The next one may begin within this one.
            from = start + 1;
            continue;
        }
        nulled.push_str(&text[done..start]);
        nulled.push_str("null");
        (done, from) = (end, end);
    }
    nulled.push_str(&text[done..]);
    (done > 0).then_some(nulled)
}

/// Whom a dead letter is still about without this user: no recipients if it goes, `None` if it stays as it is. `is_own`: the
/// letter is about this user alone; `recipients`: how many its payload lists, which is otherwise what the queue or a log held.
pub fn left_of_letter(is_own: bool, recipients: i64, payload: &str, user: &UserId) -> Option<Left> {
    match recipients {
        _ if is_own => Some(Left::NOTHING),
        0 => concerns(payload, user).then_some(Left::NOTHING),
        _ => without(payload, user),
    }
}

/// Whether what the queue or a log held is by, to or about a user.
fn concerns(held: &str, user: &UserId) -> bool {
    match Entry::parse(held.as_bytes()) {
        Some(Entry::Send(send)) => return send.sender == *user || send.recipient == *user,
        Some(Entry::Message(message)) => return message.sender == *user,
        None => {}
    }
    match Work::parse(held.as_bytes()) {
        Ok(Work::Push(push)) => push.user == *user,
        Ok(Work::Presence(of) | Work::Receipt(_, of)) => of == *user,
        Ok(Work::Emit(emit)) => match emit.page {
            EmitPage::Users(users) => users.contains(user),
            EmitPage::All { .. } => false,
        },
        Ok(Work::Persist(_)) => false,
        Ok(Work::Unknown(_)) | Err(_) => match serde_json::from_str(held) {
            Ok(value) => names(&value, user),
            Err(_) => held.contains(&in_json(user)),
        },
    }
}

/// Whether a text in this value is the user's id. The name of a member is none.
fn names(value: &Value, user: &UserId) -> bool {
    match value {
        Value::String(text) => text == user.as_str(),
        Value::Array(values) => values.iter().any(|value| names(value, user)),
        Value::Object(members) => members.values().any(|value| names(value, user)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    #[test]
    fn stages_follow_one_another_and_keep_their_numbers() {
        for (number, stage) in (0..).zip(Stage::ALL) {
            assert_eq!((stage.number(), Stage::from_number(number)), (number, Some(stage)));
        }
        assert_eq!(Stage::from_number(9), None);
        assert_eq!(Reached::End.next(Stage::Own), Some((Stage::Chunks, Uuid::nil(), 0)));
        assert_eq!(Reached::Part.next(Stage::Inbox), Some((Stage::Inbox, Uuid::nil(), 0)));
        assert_eq!(Reached::Row(Uuid::max(), 7).next(Stage::Own), Some((Stage::Own, Uuid::max(), 7)));
        assert_eq!(Reached::End.next(Stage::Answers), None);
    }

    #[test]
    fn a_step_ends_before_it_would_change_too_much() {
        let page = |names: &[u8]| (1..).zip(names).map(|(key, named)| (key, *named == 1)).collect::<Vec<(i64, bool)>>();
        assert_eq!(reach(page(&[]), 4, 2), (vec![], None));
        assert_eq!(reach(page(&[0, 1, 0]), 4, 2), (vec![2], None));
        assert_eq!(reach(page(&[0, 1, 0, 1]), 4, 2), (vec![2, 4], Some(4)));
        assert_eq!(reach(page(&[1, 1, 0, 1]), 4, 2), (vec![1, 2], Some(3)));
        assert_eq!(reach(page(&[1, 1, 1]), 4, 2), (vec![1, 2], Some(2)));
    }

    #[test]
    fn only_the_same_user_is_taken_from_a_list() {
        let left = |names: &[&str]| Some(Left::Recipients(names.iter().map(|name| user(name)).collect()));
        assert_eq!(without(r#"["a","b","c"]"#, &user("b")), left(&["a", "c"]));
        assert_eq!(without(r#"["b"]"#, &user("b")), left(&[]));
        // Their JSON contains that of the user.
        for list in [r#"["x,",",y"]"#, r#"["x\"b"]"#, r#"["B","bb"]"#, "[]", "broken", "[1]"] {
            assert_eq!(without(list, &user("b")), None, "{list}");
            assert_eq!(without(list, &user(",")), None, "{list}");
        }
        assert_eq!(without(r#"["a \"quoted\" one"]"#, &user("a \"quoted\" one")), left(&[]));
    }

    #[test]
    fn a_list_that_cannot_be_read_stays_without_the_id() {
        let left = |text, name| match without(text, &user(name)) {
            Some(Left::Unreadable(text)) => text,
            other => panic!("{text}, {name}: {other:?}"),
        };
        assert_eq!(left(r#"["a","b","c""#, "b"), r#"["a",null,"c""#);
        assert_eq!(left(r#"["b", 7, "a","b"]"#, "b"), r#"[null, 7, "a",null]"#);
        assert_eq!(left(r#"[{"id":"b"},{"id":"a"}]"#, "b"), r#"[{"id":null},{"id":"a"}]"#);
        assert_eq!(left(r#"no list of ["a \"quoted\" one""#, "a \"quoted\" one"), "no list of [null");
        assert_eq!(left(r#"["a,","b",",",",c""#, ","), r#"["a,","b",null,",c""#);
        // Their JSON contains that of the user, or none of it.
        for list in [r#"["x","y"#, r#"["x\"b"#, r#"["x\"b", 7]"#, r#"["B","bb"#, "[1]", ""] {
            assert_eq!((without(list, &user("b")), without(list, &user(","))), (None, None), "{list}");
        }
    }

    #[test]
    fn a_letter_stays_goes_or_loses_a_recipient() {
        let left = |is_own, recipients, payload| left_of_letter(is_own, recipients, payload, &user("b"));
        assert_eq!(left(true, 0, ""), Some(Left::NOTHING));
        assert_eq!((left(false, 0, r#""b""#), left(false, 0, r#""c""#)), (Some(Left::NOTHING), None));
        assert_eq!((left(false, 1, r#"["b"]"#), left(false, 1, r#"["c"]"#)), (Some(Left::NOTHING), None));
        assert_eq!(left(false, 2, r#"["b","c"]"#), Some(Left::Recipients(vec![user("c")])));
        let unreadable = left(false, 1, r#"["b","c""#).unwrap();
        assert_eq!((unreadable.count(1), unreadable.into_text()), (1, r#"[null,"c""#.to_owned()));
    }

    #[test]
    fn an_answer_names_a_user_in_one_way() {
        let answer = serde_json::json!({"userId": "a \"b\"", "status": "a \"b\""}).to_string();
        assert_eq!(in_answer(&user("a \"b\"")), r#""userId":"a \"b\"""#);
        let erased = answer.replace(&in_answer(&user("a \"b\"")), ERASED_IN_ANSWER);
        let erased: serde_json::Value = serde_json::from_str(&erased).unwrap();
        assert_eq!(erased, serde_json::json!({"userId": null, "status": "a \"b\""}));
        let other = serde_json::json!({"userId": r#"x"userId":"b"#}).to_string();
        assert!(!other.contains(&in_answer(&user("b"))), "{other}");
    }

    #[test]
    fn what_was_held_concerns_those_whom_it_names() {
        let presence = Work::Presence(user("alice")).text();
        assert!(concerns(&presence, &user("alice")) && !concerns(&presence, &user("bob")));
        assert!(!concerns(&presence, &user("low")) && !concerns("", &user("alice")));
        assert!(concerns(r#"no work, but of "alice""#, &user("alice")));
        let later = r#"{"kind":"of a later release","to":["alice"]}"#;
        assert!(concerns(later, &user("alice")) && !concerns(later, &user("kind")));
    }

    #[test]
    fn what_a_revoked_token_still_did_is_erased_by_a_second_round() {
        assert!(!goes_round_again(1_000, false, 1_000) && !goes_round_again(1_000, false, 15_999));
        assert!(goes_round_again(1_000, false, 16_000) && !goes_round_again(1_000, true, 99_000));
    }
}
