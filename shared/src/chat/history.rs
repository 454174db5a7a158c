//! Reading what was said: the last messages from the cache as far as it has them, the others from the record, which decides
//! what the member sees.

use crate::app::App;
use crate::chat::cache::{Room, is_kept};
use crate::chat::message::Message;
use crate::chat::messages::{History, Range};
use crate::error::StoreError;
use crate::ids::{ChatId, UserId};
use crate::inbox::bounds::Bounds;

/// Messages in the order of `seq`, as far as the member sees them; `None` if the user is not a member.
///
/// That is one statement, with or without the cache: it is told which messages the cache has, a run without gaps, and leaves
/// out their rows if the last of them is a row of the record. `seq` has no gaps, so nothing can be missing between.
pub async fn read(
    app: &App,
    member: &UserId,
    chat: ChatId,
    range: Range,
    bounds: Bounds,
) -> Result<Option<History>, StoreError> {
    let room = app.config.message_cache;
    if room.messages == 0 {
        return app.record.messages.history(chat, member, range, bounds, &[]).await;
    }
    let known = app.moment.message_cache.run(chat, range, bounds.items, app.clock.at()).await;
    let history = app.record.messages.history(chat, member, range, bounds, &known).await?;
    if let Some(history) = &history {
        if !history.has_confirmed {
            tracing::warn!(%chat, "the cache has messages that are not in the record, and is emptied");
            app.moment.message_cache.forget(chat).await;
        }
        let known = if history.has_confirmed { known.as_slice() } else { &[] };
        keep(app, chat, history, known, room).await;
    }
    Ok(history)
}

/// Keeps what was read from the record and belongs to the last messages of the chat.
async fn keep(app: &App, chat: ChatId, history: &History, known: &[Message], room: Room) {
    let known = known.first().map_or(1, |first| first.seq)..=known.last().map_or(0, |last| last.seq);
    let kept_after = history.last_seq.saturating_sub_unsigned(room.messages as u64);
    let is_missing = |message: &&Message| message.seq > kept_after && !known.contains(&message.seq) && is_kept(message);
    let missing: Vec<&Message> = history.messages.iter().filter(is_missing).collect();
    if !missing.is_empty() {
        app.moment.message_cache.keep(chat, &missing, room, app.clock.at()).await;
    }
}
