//! Audiences of chats in this process.

use std::collections::HashMap;

use crate::chat::audience::{AUDIENCE_MS, Audience, CHANGE_MS};
use crate::ids::ChatId;

/// The number of chats from which those that are out of date are dropped.
const SWEEP_AT: usize = 10_000;

/// What is known of all chats.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    chats: HashMap<ChatId, Known>,
}

/// The last version of a chat, and its audience if that was read.
#[derive(Debug)]
struct Known {
    version: i64,
    at_ms: i64,
    audience: Option<Audience>,
}

impl Known {
    fn counts(&self, now_ms: i64) -> bool {
        now_ms - self.at_ms < CHANGE_MS
    }
}

impl Remembered {
    pub(super) fn remember(&mut self, chat: ChatId, audience: &Audience, age_ms: i64, now_ms: i64) {
        let (version, at_ms) = (audience.version, now_ms - age_ms);
        let is_newer = |known: &Known| {
            known.version > version || known.version == version && known.audience.is_some() && known.at_ms > at_ms
        };
        if self.chats.get(&chat).is_none_or(|known| !known.counts(now_ms) || !is_newer(known)) {
            self.write(chat, Known { version, at_ms, audience: Some(audience.clone()) }, now_ms);
        }
    }

    pub(super) fn change(&mut self, chat: ChatId, version: i64, now_ms: i64) {
        if self.chats.get(&chat).is_none_or(|known| !known.counts(now_ms) || known.version < version) {
            self.write(chat, Known { version, at_ms: now_ms, audience: None }, now_ms);
        }
    }

    pub(super) fn recall(&self, chat: ChatId, max_age_ms: i64, now_ms: i64) -> Option<Audience> {
        let max_age_ms = max_age_ms.min(AUDIENCE_MS);
        self.chats.get(&chat).filter(|known| now_ms - known.at_ms < max_age_ms)?.audience.clone()
    }

    fn write(&mut self, chat: ChatId, known: Known, now_ms: i64) {
        if self.chats.len() >= SWEEP_AT {
            self.chats.retain(|_, known| known.counts(now_ms));
        }
        self.chats.insert(chat, known);
    }
}
