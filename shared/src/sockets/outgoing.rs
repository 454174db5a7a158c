//! The one way to the sockets and event streams: pushes frames, forgets connections that are gone, and closes connections. Every domain sends
//! to devices through it.

use std::time::Duration;

use crate::app::App;
use crate::error::StoreError;
use crate::ids::ConnectionId;
use crate::presence::leaving::leave;
use crate::protocol::{self, Event, Frame};
use crate::sockets::connections::Connection;
use crate::sockets::push::Outcome;

/// A connection younger than this may be reported gone only because its `$connect` has not returned yet.
const YOUNG_MS: i64 = 10_000;
/// The pause before a frame is pushed to a young connection again.
const YOUNG_RETRY_AFTER: Duration = Duration::from_millis(250);

/// One frame for several connections.
#[derive(Debug)]
pub struct Outgoing<'a> {
    /// What they are sent.
    pub frame: Frame,
    /// The connections of one or more users.
    pub connections: &'a [Connection],
}

/// The result of pushing a frame to one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushResult {
    /// API Gateway accepted the frame.
    Offered,
    /// The connection is gone for good, and forgotten.
    Gone,
    /// The frame was not accepted, for this reason, and may be later.
    Pending(Outcome),
}

impl PushResult {
    /// As API Gateway reported it.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Offered => Outcome::Offered,
            Self::Gone => Outcome::Gone,
            Self::Pending(outcome) => outcome,
        }
    }

    fn new(app: &App, connection: &Connection, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Offered => Self::Offered,
            Outcome::Gone if !is_young(app, connection) => Self::Gone,
            Outcome::Gone | Outcome::Failed | Outcome::Throttled { .. } => Self::Pending(outcome),
        }
    }
}

/// Pushes each frame to its connections, all at once, and forgets connections that are gone. Returns, for each frame in
/// order, the result for each of its connections in order.
pub async fn push(app: &App, outgoing: &[Outgoing<'_>]) -> Vec<Vec<PushResult>> {
    let connections: Vec<&Connection> = outgoing.iter().flat_map(|outgoing| outgoing.connections).collect();
    if connections.is_empty() {
        return vec![Vec::new(); outgoing.len()];
    }
    let address = |outgoing: &Outgoing<'_>| {
        let frame = outgoing.frame.clone();
        outgoing.connections.iter().map(move |connection| (connection.id.clone(), frame.clone())).collect::<Vec<_>>()
    };
    let frames: Vec<(ConnectionId, Frame)> = outgoing.iter().flat_map(address).collect();
    let mut outcomes = deliver(app, &frames).await;
    push_to_young_again(app, &frames, &connections, &mut outcomes).await;

    let results = connections.iter().zip(outcomes);
    let results: Vec<PushResult> =
        results.map(|(connection, outcome)| PushResult::new(app, connection, outcome)).collect();
    let gone = connections.iter().zip(&results).filter(|(_, result)| **result == PushResult::Gone);
    let gone: Vec<ConnectionId> = gone.map(|(connection, _)| connection.id.clone()).collect();
    if !gone.is_empty()
        && let Err(error) = forget(app, &gone).await
    {
        // The next push to them, or the sweep, forgets them.
        tracing::warn!(%error, "closed connections could not be forgotten");
    }

    let mut results = results.into_iter();
    outgoing.iter().map(|outgoing| results.by_ref().take(outgoing.connections.len()).collect()).collect()
}

/// Hands frames to API Gateway and to the event streams, at once. The outcomes are in the same order.
async fn deliver(app: &App, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
    let is_stream = |n: &usize| frames[*n].0.is_stream();
    let (to_streams, to_sockets): (Vec<usize>, Vec<usize>) = (0..frames.len()).partition(is_stream);
    if to_streams.is_empty() {
        return app.push.push(frames).await;
    }
    let chosen = |places: &[usize]| places.iter().map(|n| frames[*n].clone()).collect::<Vec<_>>();
    let (streamed, pushed) = (chosen(&to_streams), chosen(&to_sockets));
    let (streamed, pushed) = tokio::join!(app.moment.streams.publish(&streamed), async {
        if pushed.is_empty() { Vec::new() } else { app.push.push(&pushed).await }
    });
    let mut outcomes = vec![Outcome::Failed; frames.len()];
    for (n, outcome) in to_streams.into_iter().zip(streamed).chain(to_sockets.into_iter().zip(pushed)) {
        outcomes[n] = outcome;
    }
    outcomes
}

/// Closes connections that are no longer registered.
pub async fn close(app: &App, connections: &[ConnectionId]) {
    let (streams, sockets): (Vec<ConnectionId>, Vec<ConnectionId>) =
        connections.iter().cloned().partition(ConnectionId::is_stream);
    if !sockets.is_empty() {
        app.push.close(&sockets).await;
    }
    end_streams(app, &streams).await;
}

/// Tells event streams to end, which the functions that hold them open do.
pub async fn end_streams(app: &App, streams: &[ConnectionId]) {
    if streams.is_empty() {
        return;
    }
    let last = protocol::frame(&Event::Reconnect);
    let frames: Vec<(ConnectionId, Frame)> = streams.iter().map(|stream| (stream.clone(), last.clone())).collect();
    app.moment.streams.publish(&frames).await;
}

/// Sends connections a last frame, then closes and forgets them. The frame is pushed, since the reply to a client's own
/// frame would arrive after the close. On an error they are closed, and the record still has them.
pub async fn dismiss(app: &App, connections: &[ConnectionId], last: &Frame) -> Result<(), StoreError> {
    close_with(app, connections, last).await;
    forget(app, connections).await
}

/// Forgets connections that are gone. Users whose last one was among them go offline when the grace has passed.
pub async fn forget(app: &App, connections: &[ConnectionId]) -> Result<(), StoreError> {
    let forgotten = app.record.connections.forget(connections).await?;
    leave(app, forgotten.iter().map(|connection| (&connection.user, &connection.id))).await;
    Ok(())
}

/// Sends a last frame to connections that are no longer registered, and closes them.
pub async fn close_with(app: &App, connections: &[ConnectionId], last: &Frame) {
    if connections.is_empty() {
        return;
    }
    let frames: Vec<(ConnectionId, Frame)> = connections.iter().map(|id| (id.clone(), last.clone())).collect();
    deliver(app, &frames).await;
    close(app, connections).await;
}

/// Pushes frames once more to young connections that were reported gone.
async fn push_to_young_again(
    app: &App,
    frames: &[(ConnectionId, Frame)],
    connections: &[&Connection],
    outcomes: &mut [Outcome],
) {
    let again: Vec<usize> = (0..frames.len())
        .filter(|index| outcomes[*index] == Outcome::Gone && is_young(app, connections[*index]))
        .collect();
    if again.is_empty() {
        return;
    }
    tokio::time::sleep(YOUNG_RETRY_AFTER).await;
    let second: Vec<(ConnectionId, Frame)> = again.iter().map(|index| frames[*index].clone()).collect();
    for (index, outcome) in again.into_iter().zip(deliver(app, &second).await) {
        outcomes[index] = outcome;
    }
}

/// Whether a connection may be reported gone only because it is not open yet. A stream listens before it is registered.
fn is_young(app: &App, connection: &Connection) -> bool {
    !connection.id.is_stream() && app.clock.now_ms() - connection.connected_at_ms < YOUNG_MS
}
