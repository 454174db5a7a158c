//! Erasing a user step by step, in the record and in the moment.
//!
//! The moment keeps most of what it knows of a user under hashes and for minutes, so most of it is left to expire; `keys.rs`
//! has the lifetimes. What is done about each:
//! - What was accepted fast is written before the first step ([`log_first`](crate::fast::log_first)), and then erased.
//! - Cached messages and audiences of the chats that a step has changed are forgotten after its commit. A message that a
//!   slower reader caches afterwards is refused by the record, which knows how many it has erased.
//! - Leases are forgotten: they would let a drain note when the user was last seen.
//! - Emitted events (10 min), claims of keys (10 min), outcomes of pushes (by the ids of notifications, 48 h), work (until it
//!   is claimed; its rows are gone) and rate limits (an instant under a hash, until the budget is full) expire.

use futures_util::future::join_all;

use crate::app::App;
use crate::chat::audience::EVERY_VERSION;
use crate::error::Error;
use crate::ids::UserId;
use crate::protocol::{self, ReplyFrame};
use crate::sockets::outgoing;
use crate::users::erasures::Erased;

/// Erases a user, or goes on with that: at least one step, and no further one from `until_ms` on, in milliseconds since 1970.
/// Returns whether it is complete. The user's tokens must have been revoked before.
pub async fn erase(app: &App, user: &UserId, until_ms: i64) -> Result<bool, Error> {
    // Before the first step, which forgets when the user was last seen: a drain that learns of leases would note it anew.
    app.moment.presence.forget_user(user).await;
    app.record.erasures.begin_erasure(user, app.clock.at()).await?;
    loop {
        let erased = app.record.erasures.erase_some(user, app.clock.at()).await?;
        forget(app, &erased).await;
        if erased.is_complete || app.clock.now_ms() >= until_ms {
            return Ok(erased.is_complete);
        }
    }
}

/// Follows a step in the moment and on the sockets.
async fn forget(app: &App, erased: &Erased) {
    let at = app.clock.at();
    let frame = protocol::frame(&ReplyFrame::error(None, &Error::TokenExpired));
    let chats = erased.chats.iter().map(|chat| async move {
        let messages = app.moment.message_cache.forget(*chat);
        tokio::join!(messages, app.moment.audiences.change(*chat, EVERY_VERSION, at));
    });
    tokio::join!(join_all(chats), outgoing::close_with(app, &erased.connections, &frame));
}
