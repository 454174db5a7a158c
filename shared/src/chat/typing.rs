//! Telling who is typing. Nothing of it is stored: a client that hears nothing more for 5 s takes it to have stopped.

use crate::app::App;
use crate::chat::audience::MAX_REMEMBERED;
use crate::error::Error;
use crate::ids::{ChatId, UserId};
use crate::limits::{Rate, Spend, Verdict};
use crate::protocol::{self, Event};
use crate::sockets::connections::Connection;
use crate::sockets::outgoing::{self, Outgoing};

/// How often a user's typing is told in one chat. It is lost beyond that: the next key says it again.
const TELLING: Rate = Rate { count: 4, window_ms: 4_000 };

/// Tells the other members that a user is typing, or no longer.
pub async fn tell(app: &App, user: &UserId, chat: ChatId, on: bool) -> Result<(), Error> {
    let hearers = hearers(app, user, chat).await?;
    if hearers.is_empty() {
        return Ok(());
    }
    let spend = Spend { bucket: format!("typing {chat} {user}"), rate: TELLING };
    if app.moment.limits.spend(&[spend], app.clock.at()).await == [Verdict::Admitted] {
        let frame = protocol::frame(&Event::Typing { chat_id: chat, user_id: user, on });
        outgoing::push(app, &[Outgoing { frame, connections: &hearers }]).await;
    }
    Ok(())
}

/// The connections of the other members who hear of a member, as they were a few seconds ago at most.
async fn hearers(app: &App, member: &UserId, chat: ChatId) -> Result<Vec<Connection>, Error> {
    let remembered = app.moment.audiences.recall(chat, app.config.chat_ttl_ms, app.clock.at()).await;
    if let Some(others) = remembered.and_then(|audience| audience.others(member, app.clock.now_ms())) {
        return Ok(others);
    }
    let began_ms = app.clock.now_ms();
    let audience = app.record.chats.audience(chat, member, app.clock.at()).await?.ok_or(Error::NotFound)?;
    let Some(others) = audience.others(member, app.clock.now_ms()) else { return Ok(Vec::new()) };
    if audience.connections.len() <= MAX_REMEMBERED && app.config.chat_ttl_ms > 0 {
        let age_ms = app.clock.now_ms().saturating_sub(began_ms);
        app.moment.audiences.remember(chat, &audience, age_ms, app.clock.at()).await;
    }
    Ok(others)
}
