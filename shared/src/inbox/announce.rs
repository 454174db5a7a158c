//! Telling all devices of a user what changed in the inbox.

use crate::app::App;
use crate::inbox::{ChangeKind, Changed};
use crate::protocol::{self, Event, MAX_IDS};
use crate::sockets::outgoing::{self, Outgoing};

/// Tells the connections of each user what was changed, and wakes the drain where Web Push has something to close. Only a hint: a device that misses it sees the gap between its
/// cursors.
pub async fn announce(app: &App, changes: &[&Changed], kind: ChangeKind) {
    let heard = changes.iter().filter(|changed| !changed.connections.is_empty());
    let frames = heard.map(|changed| {
        let event = if changed.ids.len() > MAX_IDS {
            Event::Resync
        } else {
            let (cursor, prev, unread_count) = (changed.cursor, changed.prev, changed.unread);
            Event::Changed { cursor, prev, ids: &changed.ids, change: kind, unread_count }
        };
        Outgoing { frame: protocol::frame(&event), connections: changed.connections.as_slice() }
    });
    let frames: Vec<Outgoing<'_>> = frames.collect();
    outgoing::push(app, &frames).await;
    if changes.iter().any(|changed| changed.web_push_is_due) {
        app.enqueue_and_wake(&[]).await;
    }
}
