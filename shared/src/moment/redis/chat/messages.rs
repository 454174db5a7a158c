//! The last messages of chats in Redis: the caller of `keep_messages.lua`.

use std::sync::LazyLock;

use redis::RedisError;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chat::cache::{Room, is_kept, longest_run};
use crate::chat::message::Message;
use crate::chat::messages::Range;
use crate::clock::Time;
use crate::ids::{ChatId, MessageId, UserId};
use crate::moment::redis::keys::Keys;
use crate::moment::redis::steps::{Answer, Script, Step, read};

static KEEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("keep_messages.lua")));

/// The most messages that are read at once: more than any configuration keeps.
const MAX_READ: usize = 10_000;

/// A message as it is kept: a format that only gains members. A chat's messages are kept under its key, and without its id.
#[derive(Serialize, Deserialize)]
struct Kept<S, D> {
    seq: i64,
    id: S,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<S>,
    body: S,
    data: D,
    at: i64,
    #[serde(default, skip_serializing_if = "is_false")]
    erased: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes members by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Nothing if the message is too large.
fn encode(message: &Message) -> String {
    if !is_kept(message) {
        return String::new();
    }
    let id = message.id.to_string();
    let kept = Kept {
        seq: message.seq,
        id: id.as_str(),
        by: message.sender.as_ref().map(UserId::as_str),
        client: message.client_id.as_deref(),
        body: &message.body,
        data: &message.data,
        at: message.created_at.0,
        erased: message.is_erased,
    };
    serde_json::to_string(&kept).expect("strings, numbers and JSON are JSON")
}

/// `None` if the value is not a message as [`encode`] writes it.
fn decode(chat: ChatId, value: &[u8]) -> Option<Message> {
    let kept: Kept<String, Box<RawValue>> = serde_json::from_slice(value).ok()?;
    Some(Message {
        id: MessageId::parse(&kept.id)?,
        chat,
        seq: kept.seq,
        sender: kept.by.map(UserId::stored),
        client_id: kept.client,
        body: kept.body,
        data: kept.data,
        created_at: Time(kept.at),
        is_erased: kept.erased,
    })
}

pub(crate) fn keep(keys: &Keys, chat: ChatId, messages: &[&Message], room: Room) -> Step {
    let step = Step::script(&KEEP, vec![keys.messages(chat)]).arg(room.ttl_ms).arg(room.messages);
    messages.iter().fold(step, |step, message| step.arg(message.seq).arg(encode(message)))
}

/// How many values were foreign.
pub(crate) fn read_kept(answer: Answer) -> u64 {
    read::<[u64; 1]>(answer).map_or(0, |[foreign]| foreign)
}

/// Reads the messages of a range that can be in one page.
pub(crate) fn run(keys: &Keys, chat: ChatId, range: Range, limit: usize) -> Step {
    let limit = limit.min(MAX_READ);
    let step = Step::command("ZRANGE", keys.messages(chat)).tolerating(is_other_type);
    let backward = |step: Step, from: String| step.arg(from).arg(1).arg("BYSCORE").arg("REV");
    let step = match range {
        Range::Last => backward(step, "+inf".into()),
        Range::Before(seq) => backward(step, format!("({seq}")),
        Range::After(seq) => step.arg(format!("({seq}")).arg(seq.saturating_add_unsigned(limit as u64)).arg("BYSCORE"),
    };
    step.arg("LIMIT").arg(0).arg(limit)
}

/// The longest gapless run of what was read, and how many values were foreign.
pub(crate) fn read_run(answer: Answer, chat: ChatId) -> (Vec<Message>, u64) {
    if matches!(answer, Some(Err(_))) {
        return (Vec::new(), 1);
    }
    let values = read::<Vec<Vec<u8>>>(answer).unwrap_or_default();
    let mut messages: Vec<Message> = values.iter().filter_map(|value| decode(chat, value)).collect();
    let foreign = (values.len() - messages.len()) as u64;
    messages.sort_by_key(|message| message.seq);
    (longest_run(messages), foreign)
}

pub(crate) fn forget(keys: &Keys, chat: ChatId) -> Step {
    Step::command("UNLINK", keys.messages(chat))
}

/// Whether a key holds a value of another type than ours.
fn is_other_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = r#"{"seq":7,"id":"d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1","by":"alice","client":"c-1","body":"hi","data":{"a":1e100000},"at":5}"#;

    #[test]
    fn a_kept_message_never_changes_its_format() {
        let message = decode(ChatId::random(), KEPT.as_bytes()).unwrap();
        assert_eq!(encode(&message), KEPT);
        let later = KEPT.replace("\"at\":5", "\"at\":5,\"likes\":[1]");
        assert_eq!(encode(&decode(message.chat, later.as_bytes()).unwrap()), KEPT);
        let erased =
            r#"{"seq":7,"id":"d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1","body":"","data":{},"at":5,"erased":true}"#;
        let message = decode(message.chat, erased.as_bytes()).unwrap();
        assert!(message.is_erased && message.sender.is_none() && message.client_id.is_none());
        assert_eq!(encode(&message), erased);
    }

    #[test]
    fn a_value_that_is_cut_or_not_ours_is_no_message() {
        let chat = ChatId::random();
        for end in 0..KEPT.len() {
            assert!(decode(chat, &KEPT.as_bytes()[..end]).is_none(), "{end}");
        }
        for foreign in ["{}", "[]", "7", "hi", &KEPT.replace("d9a2", "D9A2"), &KEPT.replace("\"seq\":7,", "")] {
            assert!(decode(chat, foreign.as_bytes()).is_none(), "{foreign}");
        }
        assert!(decode(chat, b"\xff").is_none());
    }
}
