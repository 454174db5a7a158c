//! Reading a chat up to a message, and telling of it.

use crate::app::App;
use crate::chat::messages::Marked;
use crate::delivery::queue::Entry;
use crate::delivery::work::Work;
use crate::error::{Error, StoreError};
use crate::ids::{ChatId, UserId};
use crate::limits::{Rate, Spend, Verdict};
use crate::protocol::{self, Event, Frame};
use crate::sockets::outgoing::{self, Outgoing};

/// How often others hear of one member's reading in one chat: the first receipt at once, then the last of each second.
const RECEIPTS: Rate = Rate { count: 1, window_ms: 1_000 };

/// Moves a read mark; returns how many messages are unread then. The member's own devices hear of it, and the members who
/// get receipts.
pub async fn read(app: &App, member: &UserId, chat: ChatId, seq: i64) -> Result<i64, Error> {
    let marked = app.record.messages.read(chat, member, seq, app.clock.at()).await?.ok_or(Error::NotFound)?;
    if marked.has_moved {
        tell(app, member, chat, &marked).await;
    }
    if marked.web_push_is_due {
        app.enqueue_and_wake(&[]).await;
    }
    Ok(marked.unread)
}

async fn tell(app: &App, member: &UserId, chat: ChatId, marked: &Marked) {
    let receipt = receipt(chat, member, marked.seq);
    let mut frames = vec![Outgoing { frame: receipt.clone(), connections: &marked.own }];
    let mut later = None;
    if !marked.others.is_empty() {
        match spend(app, chat, member).await {
            None => frames.push(Outgoing { frame: receipt, connections: &marked.others }),
            wait_ms => later = wait_ms,
        }
    }
    outgoing::push(app, &frames).await;
    if let Some(wait_ms) = later {
        // It tells how far the member has read by then; adding it again moves it.
        app.enqueue_and_wake(&[Entry { work: Work::Receipt(chat, member.clone()), wait_ms }]).await;
    }
}

/// Tells the others how far a member has read by now. Returns how long to wait, in milliseconds, if they were told less than a
/// second ago.
pub async fn tell_later(app: &App, member: &UserId, chat: ChatId) -> Result<Option<i64>, StoreError> {
    if let Some(wait_ms) = spend(app, chat, member).await {
        return Ok(Some(wait_ms));
    }
    let (seen, audience) =
        tokio::try_join!(app.record.chats.find(chat, member), app.record.chats.audience(chat, member, app.clock.at()))?;
    // Without either, the user is no longer a member, or no one hears of it.
    if let (Some(seen), Some(others)) =
        (seen, audience.and_then(|audience| audience.others(member, app.clock.now_ms())))
    {
        let frame = receipt(chat, member, seen.read_seq);
        outgoing::push(app, &[Outgoing { frame, connections: &others }]).await;
    }
    Ok(None)
}

/// Spends one receipt; returns how long to wait for the next one, in milliseconds, if none is left.
async fn spend(app: &App, chat: ChatId, member: &UserId) -> Option<i64> {
    let spend = Spend { bucket: format!("receipt {chat} {member}"), rate: RECEIPTS };
    match app.moment.limits.spend(&[spend], app.clock.at()).await[..] {
        [Verdict::Limited { retry_after_ms }] => Some(i64::try_from(retry_after_ms).unwrap_or(i64::MAX)),
        _ => None,
    }
}

fn receipt(chat: ChatId, member: &UserId, seq: i64) -> Frame {
    protocol::frame(&Event::Receipt { chat_id: chat, user_id: member, seq })
}
