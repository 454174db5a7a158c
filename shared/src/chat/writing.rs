//! Saying something in a chat: stored first, then told to the members. The drain tells those who are left.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::App;
use crate::chat::draft::Draft;
use crate::chat::fast::{self, Logging};
use crate::chat::message::{Message, Said};
use crate::chat::messages::{Appended, NewMessage, Recipients};
use crate::error::{Error, StoreError};
use crate::fast::accept::Accept;
use crate::ids::{ChatId, MessageId, UserId};
use crate::limits::{Spend, Verdict};
use crate::protocol::{self, Event, Frame, MAX_FRAME_BYTES};
use crate::sockets::connections::Connection;
use crate::sockets::outgoing::{self, Outgoing, PushResult};
use crate::sockets::push::MAX_AT_ONCE;
use crate::telemetry::{Hint, Report};

/// How long messages that were taken together are pushed, before the others are left until they are due again: less than until
/// these are.
const MAX_PUSHING: Duration = Duration::from_secs(3);

/// A message that was accepted.
#[derive(Debug)]
pub struct Written {
    /// The message; of a repeat, the first one.
    pub message: Said,
    /// Whether this is a repeat.
    pub is_repeat: bool,
}

/// Accepts a message and pushes it. Once this returns `Ok`, it is stored, or, if it says so, in a log. A repeat spends nothing of
/// the sender's rate.
pub async fn write(app: &App, sender: &UserId, chat: ChatId, draft: &Draft) -> Result<Written, Error> {
    let new = NewMessage {
        id: MessageId::of(chat, sender, &draft.client_id),
        chat,
        sender,
        client_id: &draft.client_id,
        body: &draft.body,
        data: draft.data.get(),
    };
    let spends = [Spend { bucket: format!("chat {sender}"), rate: app.config.rate_limit_chat }];
    if let [Verdict::Limited { retry_after_ms }] = app.moment.limits.spend(&spends, app.clock.at()).await[..] {
        // A repeat is answered all the same.
        let first = app.record.messages.first(&new).await?;
        return first.map_or(Err(Error::RateLimited { retry_after_ms }), answer);
    }
    let logged = match draft.accept.unwrap_or(app.config.accept) {
        Accept::Fast => fast::log(app, &new).await,
        Accept::Durable => Ok(None),
    };
    let appended = match logged {
        Ok(Some(Logging::Logged(message))) => return Ok(Written { message: Said::Logged(message), is_repeat: false }),
        Ok(Some(Logging::Known(message))) => {
            app.moment.limits.give_back(&spends, app.clock.at()).await;
            return Ok(Written { message: Said::Logged(message), is_repeat: true });
        }
        Ok(Some(Logging::Decided(appended))) => Ok(appended),
        Ok(None) => app.record.messages.append(&new, app.clock.at()).await,
        Err(error) => Err(error),
    };
    if !matches!(appended, Ok(Appended::Stored { .. })) {
        app.moment.limits.give_back(&spends, app.clock.at()).await;
    }
    let appended = appended?;
    if let Appended::Stored { message, recipients } = &appended {
        let hints = vec![Hint::Message { chat, seq: Some(message.seq), sender: Some(sender) }];
        let report = Report { hints, ..Report::default() };
        let messages = [(message, recipients)];
        let (has_more, (), ()) = tokio::join!(
            push(app, &messages),
            app.moment.telemetry.report(&report, app.clock.at()),
            keep(app, message)
        );
        if has_more || recipients.waits {
            app.enqueue_and_wake(&[]).await;
        }
    }
    answer(appended)
}

/// Lets the next histories have the message without reading it.
async fn keep(app: &App, message: &Message) {
    let room = app.config.message_cache;
    if room.messages > 0 {
        app.moment.message_cache.keep(message.chat, &[message], room, app.clock.at()).await;
    }
}

fn answer(appended: Appended) -> Result<Written, Error> {
    match appended {
        Appended::Stored { message, .. } => Ok(Written { message: Said::Stored(message), is_repeat: false }),
        Appended::Known(message) => Ok(Written { message: Said::Stored(message), is_repeat: true }),
        Appended::Reused => Err(Error::IdempotencyKeyReused),
        Appended::Refused(refusal) => Err(refusal.into()),
    }
}

/// Pushes stored messages, as many at once as one push attempts. Those that every connection accepted are settled in the record;
/// the others are due again, also those that it did not come to. Returns whether there are members that were not pushed to
/// yet, for which a message is due at once.
pub async fn push(app: &App, messages: &[(&Message, &Recipients)]) -> bool {
    let (begun, mut rest, mut has_more) = (Instant::now(), messages, false);
    loop {
        let (now, later) = rest.split_at(attempted_at_once(rest));
        has_more |= push_at_once(app, now).await;
        if later.is_empty() || begun.elapsed() > MAX_PUSHING {
            return has_more;
        }
        rest = later;
    }
}

/// How many of the first messages one push attempts for all their connections; at least one.
fn attempted_at_once(messages: &[(&Message, &Recipients)]) -> usize {
    let mut frames = 0;
    let fit = messages.iter().take_while(|(_, recipients)| {
        frames += recipients.connections.len();
        frames <= MAX_AT_ONCE
    });
    fit.count().max(1).min(messages.len())
}

async fn push_at_once(app: &App, messages: &[(&Message, &Recipients)]) -> bool {
    let frames: Vec<Outgoing<'_>> = messages
        .iter()
        .map(|(message, recipients)| Outgoing { frame: frame(message), connections: &recipients.connections })
        .collect();
    let results = outgoing::push(app, &frames).await;
    // A message that a socket did not accept is pushed again to all of these members, who drop what they have. An event
    // stream finds by itself what did not reach it.
    let is_left = |(connection, result): (&Connection, &PushResult)| {
        matches!(result, PushResult::Pending(_)) && !connection.id.is_stream()
    };
    let is_accepted =
        |recipients: &Recipients, results: &[PushResult]| !recipients.connections.iter().zip(results).any(is_left);
    let accepted = messages.iter().zip(&results).filter(|((_, recipients), results)| is_accepted(recipients, results));
    let accepted = accepted.map(|(pushed, _)| pushed);
    let (mut finished, mut has_more) = (Vec::new(), false);
    for (message, recipients) in accepted {
        let (chat, seq) = (message.chat, message.seq);
        match recipients.continues_after {
            None if recipients.connections.is_empty() => {}
            None => finished.push((chat, seq)),
            Some(member) => {
                has_more = true;
                warn_unmarked(app.record.messages.mark_partly_pushed(chat, seq, member, app.clock.at()).await);
            }
        }
    }
    if !finished.is_empty() {
        warn_unmarked(app.record.messages.mark_pushed(&finished).await);
    }
    has_more
}

fn warn_unmarked(marked: Result<(), StoreError>) {
    if let Err(error) = marked {
        // The price is a repeated frame: the drain pushes it again.
        tracing::warn!(%error, "a message could not be marked as pushed");
    }
}

/// The frame that tells of a message.
fn frame(message: &Message) -> Frame {
    let (chat_id, seq) = (message.chat, message.seq);
    let frame = protocol::frame(&Event::Message { chat_id, seq, message });
    if frame.len() <= MAX_FRAME_BYTES { frame } else { protocol::frame(&Event::FetchMessage { chat_id, seq }) }
}
