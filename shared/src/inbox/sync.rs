//! Syncing a client: everything that it missed, over any transport.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::app::App;
use crate::cursor::Cursor;
use crate::error::Error;
use crate::ids::{self, UserId};
use crate::inbox::{Changes, CurrentState, Position};
use crate::protocol::Sync;

/// What changed in a user's inbox after `since`, or everything in it without one. Asking from a cursor also
/// acknowledges everything up to it. Returns at most `limit` changes of at most `max_bytes` as JSON, but at least one
/// if there is any.
pub async fn sync(
    app: &App,
    user: &UserId,
    since: Option<Cursor>,
    limit: usize,
    max_bytes: usize,
) -> Result<Sync, Error> {
    let changes = app.record.inbox.changes(user, since, limit, app.clock.at()).await?.ok_or(Error::CursorExpired)?;
    if let Some(since) = since {
        settle(app, user, &changes.position, since).await?;
    }
    Ok(truncated(user, changes, since, max_bytes))
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

/// As many of the changes as fit into `max_bytes`, but at least one.
fn truncated(user: &UserId, changes: Changes, since: Option<Cursor>, max_bytes: usize) -> Sync {
    let Changes { changes, mut complete, position } = changes;
    let (mut notifications, mut deleted, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut through = since.map_or(0, |since| since.offset);
    for change in changes {
        bytes += match &change {
            CurrentState::Present { notification, .. } => crate::protocol::frame(notification).len() + 1,
            CurrentState::Deleted { .. } => 39,
        };
        if bytes > max_bytes && !(notifications.is_empty() && deleted.is_empty()) {
            complete = false;
            break;
        }
        through = change.version();
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
