//! The act of telling sockets: which frames go to whom, and what follows from how they were taken.

use std::time::Duration;

use uuid::Uuid;

use crate::app::App;
use crate::cursor::Cursor;
use crate::delivery::deliveries::{MAX_PUSH_DELAY_MS, Resync, RowKey, max_backoff_ms};
use crate::delivery::queue::{Entry, Work};
use crate::ids::{ConnectionId, UserId};
use crate::inbox::{Changed, Delivery, PUSH_GRACE_MS};
use crate::protocol::{self, ChangeKind, Event, Frame, MAX_FRAME_BYTES, MAX_IDS};
use crate::sockets::connections::Connection;
use crate::sockets::push::Outcome;
use crate::telemetry::Report;

/// A connection younger than this may be gone only because its `$connect` has not returned yet.
const YOUNG_MS: i64 = 10_000;
/// How long a young connection gets until its second try.
const SECOND_TRY_AFTER: Duration = Duration::from_millis(250);

/// How long what is tried again at once would only fail again, in milliseconds: a connection that is not open yet, and
/// one that was sent too much so often that it is to be told to sync.
const REST_MS: i64 = 1_000;
/// How long before a row comes back from the record by itself it must be tried at the latest, in milliseconds: what
/// waits for longer is postponed.
const SPARE_MS: i64 = 500;
/// For how long the other connections of a user are made to wait at most because one asked to be left alone, in
/// milliseconds.
const HEEDED_BY_ALL_MS: i64 = PUSH_GRACE_MS - SPARE_MS;
/// How often in a row a connection was sent too much before it gets no more frames, but is told to sync.
pub const MAX_THROTTLED: u32 = 3;

/// Offers notifications to their connections. What every connection took is noted in the record; what was not taken
/// keeps its `push_at`, and is returned in its place as what is left to do: sooner than that, if somebody remembers it.
///
/// `throttled`: how often in a row each one was not taken before because a connection had been sent too much; 0 for
/// those beyond its end.
///
/// What became of it goes to the moment together with whatever else the call has to note: in one pipeline, beside what
/// the record is told.
pub async fn offer<'a>(
    app: &App,
    deliveries: &'a [Delivery],
    throttled: &[u32],
    mut report: Report<'a>,
) -> Vec<Option<Entry>> {
    let addressed: Vec<(usize, &Connection)> = deliveries
        .iter()
        .enumerate()
        .flat_map(|(index, delivery)| delivery.connections.iter().map(move |connection| (index, connection)))
        .collect();
    let outcomes = if addressed.is_empty() { Vec::new() } else { push(app, deliveries, &addressed).await };
    let Settled { taken, left, gone } = settled(app, deliveries.len(), &addressed, &outcomes);
    let mut again: Vec<Option<Entry>> = vec![None; deliveries.len()];
    let mut waiting: Vec<(usize, &Connection, Outcome)> = Vec::new();
    let mut longest_ms = vec![MAX_PUSH_DELAY_MS; deliveries.len()];
    for ((index, connection), outcome) in addressed.iter().zip(&outcomes).filter(|((index, _), _)| left[*index]) {
        match outcome {
            Outcome::Offered => continue,
            Outcome::Gone if !is_young(app, connection) => continue,
            Outcome::Throttled { retry_after_ms } if i64::from(*retry_after_ms) > HEEDED_BY_ALL_MS => {}
            _ => longest_ms[*index] = HEEDED_BY_ALL_MS,
        }
        waiting.push((*index, *connection, *outcome));
    }
    for (index, connection, outcome) in waiting {
        let throttled = throttled.get(index).copied().unwrap_or(0);
        let entry = again[index].get_or_insert_with(|| untouched(&deliveries[index]));
        leave_to(entry, connection, outcome, throttled, longest_ms[index]);
    }
    for ((index, connection), outcome) in addressed.iter().zip(outcomes) {
        report.outcomes.push((deliveries[*index].notification.id, &connection.id, outcome));
    }
    let now_ms = app.clock.now_ms();
    let finished = |index: &usize| !left[*index];
    let offered: Vec<(&UserId, i64)> = (0..deliveries.len())
        .filter(finished)
        .map(|index| (&deliveries[index].user, deliveries[index].notification.cursor.offset))
        .collect();
    // Where all were gone it is finished, and nobody got it.
    for index in (0..deliveries.len()).filter(finished).filter(|index| taken[*index] > 0) {
        report.counts.delivered += 1;
        report.counts.deliver_ms.add(now_ms - deliveries[index].notification.created_at.0);
    }
    let postponed = postpone(app, &mut again);
    tokio::join!(settle(app, &offered, &gone), app.moment.telemetry.report(&report, app.clock.at()), postponed);
    again
}

/// Sees to it that what is to be left alone for long does not come back from the record meanwhile. What nobody holds any
/// more is somebody else's.
async fn postpone(app: &App, again: &mut [Option<Entry>]) {
    let now_ms = app.clock.now_ms();
    let mut long: Vec<&mut Option<Entry>> = again
        .iter_mut()
        .filter(|entry| {
            entry.as_ref().is_some_and(|Entry { work, wait_ms }| now_ms + wait_ms > work.fence_ms - SPARE_MS)
        })
        .collect();
    if long.is_empty() {
        return;
    }
    let rows: Vec<(RowKey<'_>, i64)> =
        long.iter().flat_map(|entry| entry.as_ref()).map(|Entry { work, wait_ms }| (work.into(), *wait_ms)).collect();
    match app.record.deliveries.postpone(&rows, app.clock.at()).await {
        Ok(fences) => {
            for (entry, fence) in long.iter_mut().zip(fences) {
                **entry = entry
                    .take()
                    .zip(fence)
                    .map(|(Entry { work, wait_ms }, fence_ms)| Entry { work: Work { fence_ms, ..work }, wait_ms });
            }
        }
        Err(error) => {
            // It comes back from the record sooner than was asked for, and its entry is stale then.
            tracing::warn!(%error, "what is to be left alone could not be postponed");
        }
    }
}

/// Notes that every connection took these rows, each a user and an offset.
pub async fn mark_offered(app: &App, rows: &[(&UserId, i64)]) {
    if !rows.is_empty()
        && let Err(error) = app.record.deliveries.mark_offered(rows, app.clock.at()).await
    {
        // Costs a doubled frame: the drain will push them again.
        tracing::warn!(%error, "what was offered could not be noted");
    }
}

/// Tells users of whom too much is due to sync, in one frame. What every connection of a user took is noted in the
/// record; what was not taken waits, and the drain takes it over. For each of them, whether that is so.
pub async fn resync(app: &App, resyncs: &[Resync]) -> Vec<bool> {
    let to: Vec<&[Connection]> = resyncs.iter().map(|resync| resync.connections.as_slice()).collect();
    let left = push_resync(app, &to).await;
    let told: Vec<(&UserId, i64)> = resyncs
        .iter()
        .zip(&left)
        .filter(|(_, left)| !**left)
        .map(|(resync, _)| (&resync.user, resync.through))
        .collect();
    if !told.is_empty()
        && let Err(error) = app.record.deliveries.mark_resynced(&told, app.clock.at()).await
    {
        tracing::warn!(%error, "who was told to sync could not be noted");
    }
    left
}

/// Tells the connections of several users to sync. For each of them, whether one did not take it and may yet.
pub async fn push_resync(app: &App, to: &[&[Connection]]) -> Vec<bool> {
    let addressed: Vec<(usize, &Connection)> = to
        .iter()
        .enumerate()
        .flat_map(|(index, connections)| connections.iter().map(move |connection| (index, connection)))
        .collect();
    if addressed.is_empty() {
        return vec![false; to.len()];
    }
    let frame = protocol::frame(&Event::Resync);
    let push: Vec<(ConnectionId, Frame)> =
        addressed.iter().map(|(_, connection)| (connection.id.clone(), frame.clone())).collect();
    let outcomes = push_twice_to_the_young(app, &push, &addressed).await;
    let Settled { left, gone, .. } = settled(app, to.len(), &addressed, &outcomes);
    forget(app, &gone).await;
    left
}

/// Tells all connections of each user what was changed in his inbox. A hint: who misses it sees the hole in its
/// cursors.
pub async fn tell(app: &App, changed: &[&Changed], change: ChangeKind) {
    let (mut push, mut connections) = (Vec::new(), Vec::new());
    for changed in changed.iter().filter(|changed| !changed.connections.is_empty()) {
        let event = if changed.ids.len() > MAX_IDS {
            Event::Resync
        } else {
            let (cursor, prev, unread_count) = (changed.cursor, changed.prev, changed.unread);
            Event::Changed { cursor, prev, ids: &changed.ids, change, unread_count }
        };
        let frame = protocol::frame(&event);
        push.extend(changed.connections.iter().map(|connection| (connection.id.clone(), frame.clone())));
        connections.extend(&changed.connections);
    }
    if push.is_empty() {
        return;
    }
    let outcomes = app.push.push(&push).await;
    let gone: Vec<ConnectionId> = connections
        .into_iter()
        .zip(outcomes)
        .filter(|(connection, outcome)| *outcome == Outcome::Gone && !is_young(app, connection))
        .map(|(connection, _)| connection.id.clone())
        .collect();
    forget(app, &gone).await;
}

/// How long it is until the next try of what was pushed `attempt` times before this time, in milliseconds: full jitter,
/// so that what failed together is not tried again together.
pub fn backoff_ms(attempt: u32) -> i64 {
    let jitter = f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
    (max_backoff_ms(attempt) as f64 * jitter) as i64
}

/// How frames were taken, by the index of what they tell.
struct Settled {
    /// How many connections took it.
    taken: Vec<usize>,
    /// Whether one did not, and may yet.
    left: Vec<bool>,
    /// Connections that are no more.
    gone: Vec<ConnectionId>,
}

fn settled(app: &App, told: usize, addressed: &[(usize, &Connection)], outcomes: &[Outcome]) -> Settled {
    let mut settled = Settled { taken: vec![0; told], left: vec![false; told], gone: Vec::new() };
    for ((index, connection), outcome) in addressed.iter().zip(outcomes) {
        match outcome {
            Outcome::Offered => settled.taken[*index] += 1,
            Outcome::Gone if !is_young(app, connection) => settled.gone.push(connection.id.clone()),
            Outcome::Gone | Outcome::Failed | Outcome::Throttled { .. } => settled.left[*index] = true,
        }
    }
    settled
}

/// All of a delivery as what is left to do.
fn untouched(delivery: &Delivery) -> Entry {
    let work = Work {
        user: delivery.user.clone(),
        offset: delivery.notification.cursor.offset,
        fence_ms: delivery.fence_ms,
        priority: delivery.notification.content.priority,
        throttled: 0,
        left: Vec::new(),
    };
    Entry { work, wait_ms: backoff_ms(delivery.attempt) }
}

/// Adds to what is left what became of one connection. It is left alone for `longest_ms` at most, whatever it asked for.
fn leave_to(entry: &mut Entry, connection: &Connection, outcome: Outcome, throttled: u32, longest_ms: i64) {
    let wait_ms = match outcome {
        Outcome::Offered => return,
        // Not open yet.
        Outcome::Gone => REST_MS,
        Outcome::Failed => 0,
        Outcome::Throttled { retry_after_ms } => {
            entry.work.throttled = throttled.saturating_add(1);
            let rest_ms = if entry.work.throttled >= MAX_THROTTLED { REST_MS } else { 0 };
            i64::from(retry_after_ms).clamp(rest_ms, longest_ms)
        }
    };
    entry.wait_ms = entry.wait_ms.max(wait_ms);
    entry.work.left.push(connection.id.clone());
}

/// The frame that tells of an arrival.
fn arrival(delivery: &Delivery) -> Frame {
    let cursor = delivery.notification.cursor;
    let (notification, replaces) = (&delivery.notification, delivery.replaces.as_slice());
    if replaces.len() > MAX_IDS {
        return protocol::frame(&Event::Resync);
    }
    let steps_back = |steps: usize| cursor.offset - i64::try_from(steps).unwrap_or(0);
    let prev = Cursor { offset: steps_back(1 + replaces.len()), ..cursor };
    let unread_count = delivery.unread;
    let frame = protocol::frame(&Event::Notification { cursor, prev, notification, unread_count, replaces });
    if frame.len() <= MAX_FRAME_BYTES {
        return frame;
    }
    // It cannot tell what was replaced: whoever has not heard of that sees a hole.
    let prev = Cursor { offset: steps_back(1), ..cursor };
    protocol::frame(&Event::Fetch { cursor, prev, id: notification.id })
}

/// One frame of each delivery to each of its connections.
async fn push(app: &App, deliveries: &[Delivery], addressed: &[(usize, &Connection)]) -> Vec<Outcome> {
    let frames: Vec<Frame> = deliveries.iter().map(arrival).collect();
    let push: Vec<(ConnectionId, Frame)> =
        addressed.iter().map(|(index, connection)| (connection.id.clone(), frames[*index].clone())).collect();
    push_twice_to_the_young(app, &push, addressed).await
}

/// Tells the record what every connection took, and which connections are gone.
async fn settle(app: &App, offered: &[(&UserId, i64)], gone: &[ConnectionId]) {
    mark_offered(app, offered).await;
    forget(app, gone).await;
}

async fn push_twice_to_the_young(
    app: &App,
    push: &[(ConnectionId, Frame)],
    addressed: &[(usize, &Connection)],
) -> Vec<Outcome> {
    let mut outcomes = app.push.push(push).await;
    let again: Vec<usize> = (0..push.len())
        .filter(|index| outcomes[*index] == Outcome::Gone && is_young(app, addressed[*index].1))
        .collect();
    if !again.is_empty() {
        tokio::time::sleep(SECOND_TRY_AFTER).await;
        let second: Vec<(ConnectionId, Frame)> = again.iter().map(|index| push[*index].clone()).collect();
        for (index, outcome) in again.iter().zip(app.push.push(&second).await) {
            outcomes[*index] = outcome;
        }
    }
    outcomes
}

fn is_young(app: &App, connection: &Connection) -> bool {
    app.clock.now_ms() - connection.connected_at_ms < YOUNG_MS
}

async fn forget(app: &App, gone: &[ConnectionId]) {
    if !gone.is_empty()
        && let Err(error) = app.record.connections.forget(gone).await
    {
        tracing::warn!(%error, "connections that are gone could not be forgotten");
    }
}
