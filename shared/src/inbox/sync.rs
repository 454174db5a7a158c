//! Syncing a client: everything that it missed, over any transport.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::app::App;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::ids::{self, UserId};
use crate::inbox::bounds::Bounds;
use crate::inbox::{Changes, CurrentState, Position};
use crate::protocol::Sync;

/// What changed in a user's inbox after `since`, or everything in it without one. Asking from a cursor also
/// acknowledges everything up to it. Returns as many changes as `bounds` admits.
pub async fn sync(app: &App, user: &UserId, since: Option<Cursor>, bounds: Bounds) -> Result<Sync, Error> {
    let changes = app.record.inbox.changes(user, since, bounds, app.clock.at()).await?.ok_or(Error::CursorExpired)?;
    if let Some(since) = since {
        settle(app, user, &changes.position, since).await?;
    }
    Ok(answer(user, changes, since))
}

/// Acknowledges everything up to a cursor, unless that was done before.
pub async fn settle(app: &App, user: &UserId, position: &Position, cursor: Cursor) -> Result<(), Error> {
    if cursor.offset > position.acked {
        app.record.inbox.acknowledge(user, cursor, app.clock.at()).await?;
    }
    Ok(())
}

/// A digest of what a complete sync would return: equal if nothing changed. With quotes, as a header's value.
pub fn etag(user: &UserId, position: &Position) -> String {
    let state = format!("{}\n{}\n{}\n{}", user, position.cursor(), position.unread, position.expired);
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(&ids::sha256(state.as_bytes())[..16]))
}

fn answer(user: &UserId, changes: Changes, since: Option<Cursor>) -> Sync {
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
        chats: complete.then_some([]),
        chats_complete: complete.then_some(true),
        events: complete.then_some([]),
        unread_count: position.unread,
        cursor: if complete { position.cursor() } else { position.cursor_at(through) },
        etag: etag(user, &position),
        complete,
    }
}
