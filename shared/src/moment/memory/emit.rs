//! Emitted events in this process.

use std::collections::VecDeque;

use serde_json::value::RawValue;

use crate::emit::{Addressees, KEPT_MS, Kept, MAX_KEPT, Newest};
use crate::ids::{EventId, UserId};

/// The events of the last minutes, in the order in which they were emitted.
#[derive(Debug, Default)]
pub(super) struct Events(VecDeque<Event>);

#[derive(Debug)]
struct Event {
    id: EventId,
    at_ms: i64,
    event: Box<RawValue>,
    is_for_all: bool,
    users: Vec<UserId>,
}

impl Event {
    fn is_kept(&self, now_ms: i64) -> bool {
        now_ms < self.at_ms + KEPT_MS
    }
}

impl Events {
    pub(super) fn keep(&mut self, id: EventId, event: &RawValue, now_ms: i64) -> Kept {
        while self.0.front().is_some_and(|oldest| !oldest.is_kept(now_ms)) {
            self.0.pop_front();
        }
        if self.get(id, now_ms).is_some() {
            return Kept::Before;
        }
        self.0.retain(|other| other.id != id);
        self.0.push_back(Event { id, at_ms: now_ms, event: event.to_owned(), is_for_all: false, users: Vec::new() });
        Kept::Now
    }

    pub(super) fn address(&mut self, id: EventId, audience: Addressees<'_>) {
        let Some(event) = self.0.iter_mut().find(|event| event.id == id) else { return };
        match audience {
            Addressees::All => event.is_for_all = true,
            Addressees::Users(users) => {
                for user in users {
                    if !event.users.contains(user) {
                        event.users.push(user.clone());
                    }
                }
            }
        }
    }

    pub(super) fn find(&self, id: EventId, now_ms: i64) -> Option<Box<RawValue>> {
        self.get(id, now_ms).map(|event| event.event.clone())
    }

    pub(super) fn newest(&self, user: &UserId, now_ms: i64) -> Newest {
        self.of(user, now_ms).next().map_or(Newest::Nothing, |event| Newest::Event(event.id))
    }

    pub(super) fn list(&self, user: &UserId, now_ms: i64) -> Vec<Box<RawValue>> {
        let mut events: Vec<Box<RawValue>> =
            self.of(user, now_ms).take(MAX_KEPT).map(|event| event.event.clone()).collect();
        events.reverse();
        events
    }

    fn get(&self, id: EventId, now_ms: i64) -> Option<&Event> {
        self.0.iter().find(|event| event.id == id && event.is_kept(now_ms))
    }

    /// The newest first.
    fn of<'a>(&'a self, user: &'a UserId, now_ms: i64) -> impl Iterator<Item = &'a Event> {
        let is_for = |event: &&Event| event.is_for_all || event.users.contains(user);
        self.0.iter().rev().filter(move |event| event.is_kept(now_ms)).filter(is_for)
    }
}
