//! Saying something in a chat: stored first, then told to the members. The drain tells those who are left.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
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
use crate::telemetry::{Hint, Report, invocation};

/// How many parts of what is to be pushed are under way, so that one socket that does not answer holds up only its own.
const PARTS_AT_ONCE: usize = 2;
/// How long parts are begun. With the longest that one takes, it is about as long as until what was taken is due again.
const MAX_PUSHING: Duration = Duration::from_secs(1);

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
        trace: invocation::trace(),
    };
    let spends = [Spend::of_chat(sender, app.config.rate_limit_chat)];
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
        if has_more || recipients.waits || recipients.web_push_is_due {
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

/// Pushes stored messages, in parts that one push attempts. Those that every connection accepted are settled in the record; the
/// others are due again, also those that it did not come to. Returns whether there are members that were not pushed to yet, for
/// which a message is due at once.
pub async fn push(app: &App, messages: &[(&Message, &Recipients)]) -> bool {
    let addressed = messages.iter().map(|(message, recipients)| (frame(message), recipients.connections.as_slice()));
    let begun = Instant::now();
    let pushed = parts(addressed).into_iter().map(|part| async move {
        let (places, outgoing): (Vec<usize>, Vec<Outgoing<'_>>) = part.into_iter().unzip();
        if begun.elapsed() > MAX_PUSHING {
            return places;
        }
        let results = outgoing::push(app, &outgoing).await;
        let pushed = places.into_iter().zip(outgoing.iter().zip(&results));
        pushed.filter(|(_, (outgoing, results))| !is_accepted(outgoing, results)).map(|(place, _)| place).collect()
    });
    let left: Vec<Vec<usize>> = stream::iter(pushed.collect::<Vec<_>>()).buffered(PARTS_AT_ONCE).collect().await;
    let left: HashSet<usize> = left.into_iter().flatten().collect();

    let accepted = messages.iter().enumerate().filter(|(place, _)| !left.contains(place)).map(|(_, pushed)| pushed);
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

/// Messages in parts of at most [`MAX_AT_ONCE`] frames, each with the place of its message. A push may leave out what exceeds that,
/// and a message that one socket was not sent is pushed to all of them again.
fn parts<'a>(addressed: impl Iterator<Item = (Frame, &'a [Connection])>) -> Vec<Vec<(usize, Outgoing<'a>)>> {
    let (mut parts, mut part, mut room) = (Vec::new(), Vec::new(), MAX_AT_ONCE);
    for (place, (frame, connections)) in addressed.enumerate() {
        for connections in connections.chunks(MAX_AT_ONCE) {
            if connections.len() > room {
                parts.push(std::mem::take(&mut part));
                room = MAX_AT_ONCE;
            }
            room -= connections.len();
            part.push((place, Outgoing { frame: frame.clone(), connections }));
        }
    }
    parts.push(part);
    parts
}

/// Whether the frame needs no further attempt: no socket may still accept it, and it has reached each user. One whose
/// connections all turn out to be gone was absent when it came, which the next attempt notices. An event stream finds by
/// itself what did not reach it.
fn is_accepted(outgoing: &Outgoing<'_>, results: &[PushResult]) -> bool {
    let attempts = || outgoing.connections.iter().zip(results);
    attempts().all(|(connection, result)| match result {
        PushResult::Offered => true,
        PushResult::Gone => {
            attempts().any(|(other, result)| other.user == connection.user && *result != PushResult::Gone)
        }
        PushResult::Pending(_) => connection.id.is_stream(),
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConnectionId;

    fn connections(count: usize) -> Vec<Connection> {
        let connection = |n: usize| Connection {
            id: ConnectionId::new(n.to_string()),
            user: UserId::stored("bob".into()),
            connected_at_ms: 0,
            token_expires_at_ms: 0,
        };
        (0..count).map(connection).collect()
    }

    /// The parts of messages with so many connections: for each, the places of its messages and how many frames they have.
    fn shape(counts: &[usize]) -> Vec<Vec<(usize, usize)>> {
        let connections: Vec<Vec<Connection>> = counts.iter().map(|count| connections(*count)).collect();
        let addressed = connections.iter().map(|connections| (Frame::from("{}"), connections.as_slice()));
        let sizes = |part: Vec<(usize, Outgoing<'_>)>| {
            part.into_iter().map(|(place, outgoing)| (place, outgoing.connections.len())).collect()
        };
        parts(addressed).into_iter().map(sizes).collect()
    }

    #[test]
    fn no_part_has_more_frames_than_one_push_attempts() {
        assert_eq!(shape(&[40, 24, 1]), [vec![(0, 40), (1, 24)], vec![(2, 1)]]);
        assert_eq!(shape(&[10, 150]), [vec![(0, 10)], vec![(1, 64)], vec![(1, 64)], vec![(1, 22)]]);
        assert_eq!(shape(&[0, 3, 0]), [vec![(1, 3)]]);
    }
}
