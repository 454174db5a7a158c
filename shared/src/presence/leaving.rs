//! Ending the leases of connections that have closed.

use futures_util::future::join_all;

use crate::app::App;
use crate::delivery::queue::Entry;
use crate::delivery::work::Work;
use crate::ids::{ConnectionId, UserId};
use crate::presence::{GRACE_MS, Left};

/// Shortens the leases of connections that have closed. Whether a user went offline with its last one, the drain finds out
/// when the grace has passed.
pub async fn leave(app: &App, left: impl IntoIterator<Item = (&UserId, &ConnectionId)>) {
    let at = app.clock.at();
    let leave = async |(user, connection)| match app.moment.presence.leave(user, connection, at).await {
        Some(Left::Last) => Some(Entry { work: Work::Presence(user.clone()), wait_ms: GRACE_MS }),
        Some(Left::NotLast) | None => None,
    };
    let entries: Vec<Entry> = join_all(left.into_iter().map(leave)).await.into_iter().flatten().collect();
    if !entries.is_empty() {
        app.enqueue_and_wake(&entries).await;
    }
}
