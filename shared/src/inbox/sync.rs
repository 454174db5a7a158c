//! Syncing a client: everything that it missed, over any transport.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::value::RawValue;

use crate::app::App;
use crate::chat::Summary;
use crate::cursor::Cursor;
use crate::emit::Newest;
use crate::error::{Error, StoreError};
use crate::ids::{self, UserId};
use crate::inbox::bounds::{Bounds, first_within, json_bytes};
use crate::inbox::{Changes, CurrentState, Position};
use crate::protocol::Sync;

/// How many chats a sync tells of: those with the newest activity.
const MAX_CHATS: usize = 200;

/// What changed in a user's inbox after `since`, or everything in it without one, where the user's chats stand, and what was
/// emitted to the user lately. Asking from a cursor also acknowledges everything up to it. Returns as many changes and events
/// as `limits` admits.
pub async fn sync(app: &App, user: &UserId, since: Option<Cursor>, limits: Limits) -> Result<Sync, Error> {
    let at = app.clock.at();
    let (changes, chats, newest) = tokio::join!(
        app.record.inbox.changes(user, since, limits.bounds, at),
        summaries(app, user),
        app.moment.emitted.newest(user, at)
    );
    let (changes, chats) = (changes?.ok_or(Error::CursorExpired)?, chats?);
    if let Some(since) = since {
        settle(app, user, &changes.position, since).await?;
    }
    let events = match newest {
        Some(Newest::Event(_)) if changes.complete => app.moment.emitted.list(user, at).await,
        _ => Vec::new(),
    };
    let events = newest_within(limits.event_bytes, events);
    let beside_bytes = json_bytes(&chats.0) + json_bytes(&events);
    let changes = beside(changes, limits.bounds, beside_bytes);
    let tag = Tag { record: record_tag(user, &changes.position, &chats), newest };
    Ok(answer(changes, chats, events, tag, since))
}

/// What one answer contains at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of all together, and of changes.
    pub bounds: Bounds,
    /// Of emitted events, in bytes.
    pub event_bytes: usize,
}

impl Limits {
    /// Of an answer over HTTP with at most so many changes.
    pub const fn of_answer(changes: usize) -> Self {
        Self { bounds: Bounds::of_answer(changes), event_bytes: 256 * 1_024 }
    }
}

/// The last of these events that fit into so many bytes.
fn newest_within(bytes: usize, events: Vec<Box<RawValue>>) -> Vec<Box<RawValue>> {
    let mut left = bytes;
    let mut fits = |bytes: usize| {
        // One more byte for the comma.
        let rest = left.checked_sub(bytes + 1);
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    let fitting = events.iter().rev().take_while(|event| fits(event.get().len())).count();
    let dropped = events.len() - fitting;
    events.into_iter().skip(dropped).collect()
}

/// The changes that fit into an answer beside what else is in a complete one. What does not fit is left to the next sync.
fn beside(changes: Changes, bounds: Bounds, other_bytes: usize) -> Changes {
    if !changes.complete {
        return changes;
    }
    let bounds = Bounds { bytes: bounds.bytes.saturating_sub(other_bytes), ..bounds };
    let (fitting, more) = first_within(bounds, changes.changes);
    Changes { changes: fitting, complete: !more, position: changes.position }
}

/// Where an inbox stands, and the digest of what a complete sync would return.
pub async fn standing(app: &App, user: &UserId) -> Result<(Position, Tag), Error> {
    let at = app.clock.at();
    let (position, chats, newest) =
        tokio::join!(app.record.inbox.position(user, at), summaries(app, user), app.moment.emitted.newest(user, at));
    let position = position?;
    let record = record_tag(user, &position, &chats?);
    Ok((position, Tag { record, newest }))
}

async fn summaries(app: &App, user: &UserId) -> Result<(Vec<Summary>, bool), StoreError> {
    let mut chats = app.record.chats.summaries(user, MAX_CHATS + 1).await?;
    let complete = chats.len() <= MAX_CHATS;
    chats.truncate(MAX_CHATS);
    Ok((chats, complete))
}

/// Acknowledges everything up to a cursor, unless that was done before.
pub async fn settle(app: &App, user: &UserId, position: &Position, cursor: Cursor) -> Result<(), Error> {
    if cursor.offset > position.acked {
        app.record.inbox.acknowledge(user, cursor, app.clock.at()).await?;
    }
    Ok(())
}

/// A digest of what a complete sync would return, in two parts, so that a client can see whether more than emitted events
/// has changed.
#[derive(Debug)]
pub struct Tag {
    /// Of the record.
    record: String,
    /// The newest emitted event; `None` while the moment is unavailable.
    newest: Option<Newest>,
}

impl Tag {
    /// Whether a client whose last answer had this tag has everything, as far as can be said.
    pub fn matches(&self, tag: &str) -> bool {
        match self.newest {
            Some(_) => tag == self.to_string(),
            None => tag.trim_matches('"').split('.').next() == Some(self.record.as_str()),
        }
    }
}

/// With quotes, as a header's value.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let emitted = match self.newest {
            Some(Newest::Event(id)) => short(&id.as_bytes()[..], 6),
            Some(Newest::Nothing) | None => "0".into(),
        };
        write!(f, "\"{}.{emitted}\"", self.record)
    }
}

fn record_tag(user: &UserId, position: &Position, chats: &(Vec<Summary>, bool)) -> String {
    let chats = serde_json::to_string(chats).expect("ids and numbers are JSON");
    let state = format!("{}\n{}\n{}\n{}\n{chats}", user, position.cursor(), position.unread, position.expired);
    short(state.as_bytes(), 16)
}

/// The first bytes of the hash of a text, in base64.
fn short(text: &[u8], bytes: usize) -> String {
    URL_SAFE_NO_PAD.encode(&ids::sha256(text)[..bytes])
}

fn answer(
    changes: Changes,
    chats: (Vec<Summary>, bool),
    events: Vec<Box<RawValue>>,
    tag: Tag,
    since: Option<Cursor>,
) -> Sync {
    let Changes { changes, complete, position } = changes;
    let through = changes.last().map(CurrentState::version).or(since.map(|since| since.offset)).unwrap_or(0);
    let (mut notifications, mut deleted) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            CurrentState::Present { notification, .. } => notifications.push(notification),
            CurrentState::Deleted { id, .. } => deleted.push(id),
        }
    }
    Sync {
        notifications,
        deleted,
        chats_complete: complete.then_some(chats.1),
        chats: complete.then_some(chats.0),
        events: complete.then_some(events),
        unread_count: position.unread,
        cursor: if complete { position.cursor() } else { position.cursor_at(through) },
        etag: tag.to_string(),
        complete,
    }
}
