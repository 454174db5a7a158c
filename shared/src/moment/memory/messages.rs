//! The last messages of chats in this process.

use std::collections::{BTreeMap, HashMap};

use crate::chat::cache::{Room, is_kept, longest_run};
use crate::chat::message::Message;
use crate::chat::messages::Range;
use crate::ids::ChatId;

/// The most chats of which messages are kept.
const MAX_CHATS: usize = 10_000;

/// The last messages of all chats.
#[derive(Debug, Default)]
pub(super) struct KeptMessages {
    chats: HashMap<ChatId, Kept>,
}

#[derive(Debug)]
struct Kept {
    messages: BTreeMap<i64, Message>,
    ends_ms: i64,
}

impl KeptMessages {
    pub(super) fn keep(&mut self, chat: ChatId, messages: &[&Message], room: Room, now_ms: i64) {
        if self.chats.len() >= MAX_CHATS && !self.chats.contains_key(&chat) {
            self.chats.retain(|_, kept| kept.ends_ms > now_ms);
            if self.chats.len() >= MAX_CHATS {
                self.chats.clear();
            }
        }
        let ends_ms = now_ms + room.ttl_ms;
        let kept = self.chats.entry(chat).or_insert_with(|| Kept { messages: BTreeMap::new(), ends_ms });
        kept.ends_ms = ends_ms;
        for message in messages {
            let same = |held: &Message| (held.id, held.created_at) == (message.id, message.created_at);
            if kept.messages.get(&message.seq).is_some_and(|held| !same(held)) {
                kept.messages.clear();
            }
            if is_kept(message) {
                kept.messages.insert(message.seq, (*message).clone());
            }
        }
        while kept.messages.len() > room.messages {
            kept.messages.pop_first();
        }
    }

    pub(super) fn run(&self, chat: ChatId, range: Range, limit: usize, now_ms: i64) -> Vec<Message> {
        let Some(kept) = self.chats.get(&chat).filter(|kept| kept.ends_ms > now_ms) else { return Vec::new() };
        let (first, end) = match range {
            Range::Last => (i64::MIN, i64::MAX),
            Range::Before(seq) => (i64::MIN, seq),
            Range::After(seq) => {
                let first = seq.saturating_add(1);
                (first, first.saturating_add_unsigned(limit as u64))
            }
        };
        let mut found: Vec<Message> =
            kept.messages.range(first..end).rev().take(limit).map(|(_, message)| message.clone()).collect();
        found.reverse();
        longest_run(found)
    }

    pub(super) fn forget(&mut self, chat: ChatId) {
        self.chats.remove(&chat);
    }
}
