//! Offering deliveries: which frame each connection gets, and what is left to do afterwards.

use crate::app::App;
use crate::cursor::Cursor;
use crate::delivery::backoff::backoff_ms;
use crate::delivery::deliveries::{MAX_PUSH_DELAY_MS, RowKey};
use crate::delivery::queue::Entry;
use crate::delivery::work::{PushWork, Work};
use crate::delivery::{Delivery, PUSH_GRACE_MS};
use crate::ids::UserId;
use crate::protocol::{self, Event, Frame, MAX_FRAME_BYTES, MAX_IDS};
use crate::sockets::connections::Connection;
use crate::sockets::outgoing::{self, Outgoing, PushResult};
use crate::sockets::push::Outcome;
use crate::telemetry::Report;

/// The minimum delay if an immediate retry cannot succeed, in milliseconds: for a connection that is not open yet, and for
/// one that was throttled so often that it gets a resync instead.
pub const MIN_RETRY_MS: i64 = 1_000;
/// How long before the record takes a row over its last retry must be due, in milliseconds. Longer waits are postponed in
/// the record too.
const SAFETY_MARGIN_MS: i64 = 500;
/// The longest that all connections of a user wait because one of them asked for it, in milliseconds.
const MAX_SHARED_WAIT_MS: i64 = PUSH_GRACE_MS - SAFETY_MARGIN_MS;
/// The number of throttled attempts in a row after which a connection gets a resync instead of frames.
pub const MAX_THROTTLED: u32 = 3;

/// A delivery that is about to be pushed.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// What is pushed, and to whom.
    pub delivery: &'a Delivery,
    /// How many attempts in a row were throttled before this one.
    pub throttled: u32,
}

impl<'a> From<&'a Delivery> for Offer<'a> {
    fn from(delivery: &'a Delivery) -> Self {
        Self { delivery, throttled: 0 }
    }
}

/// Offers deliveries to their connections. A delivery that every connection accepted is marked as offered in the record. For
/// any other, its place in the result says what is left to do: sooner than its `push_at`, if it is enqueued.
///
/// The outcomes are reported to the moment together with whatever else the call reports, in one pipeline that runs
/// alongside the record's statement.
pub async fn offer<'a>(app: &App, offers: &[Offer<'a>], mut report: Report<'a>) -> Vec<Option<Entry>> {
    let frames = offers
        .iter()
        .map(|Offer { delivery, .. }| Outgoing { frame: arrival(delivery), connections: &delivery.connections });
    let frames: Vec<Outgoing<'_>> = frames.collect();
    let results = outgoing::push(app, &frames).await;
    let attempts: Vec<Attempt<'_>> =
        offers.iter().zip(results).map(|(offer, results)| Attempt { offer: *offer, results }).collect();

    let now_ms = app.clock.now_ms();
    attempts.iter().for_each(|attempt| attempt.add_to(&mut report, now_ms));
    let finished = attempts.iter().filter(|attempt| attempt.is_finished()).map(|attempt| attempt.offer.delivery);
    let finished: Vec<(&UserId, i64)> =
        finished.map(|delivery| (&delivery.user, delivery.notification.cursor.offset)).collect();
    let mut retries: Vec<Option<Entry>> = attempts.iter().map(Attempt::retry).collect();
    tokio::join!(
        mark_offered(app, &finished),
        app.moment.telemetry.report(&report, app.clock.at()),
        postpone(app, &mut retries),
    );
    retries
}

/// Marks rows, each given by user and offset, as offered to every connection.
pub async fn mark_offered(app: &App, rows: &[(&UserId, i64)]) {
    if !rows.is_empty()
        && let Err(error) = app.record.deliveries.mark_offered(rows, app.clock.at()).await
    {
        // The price is a repeated frame: the drain pushes them again.
        tracing::warn!(%error, "rows could not be marked as offered");
    }
}

/// One delivery and the results of pushing it.
struct Attempt<'a> {
    offer: Offer<'a>,
    /// In the order of its connections.
    results: Vec<PushResult>,
}

impl<'a> Attempt<'a> {
    fn results(&self) -> impl Iterator<Item = (&'a Connection, PushResult)> {
        self.offer.delivery.connections.iter().zip(self.results.iter().copied())
    }

    /// The connections that may still accept it, each with the reason why it did not.
    fn pending(&self) -> impl Iterator<Item = (&'a Connection, Outcome)> {
        self.results().filter_map(|(connection, result)| match result {
            PushResult::Pending(outcome) => Some((connection, outcome)),
            PushResult::Offered | PushResult::Gone => None,
        })
    }

    fn is_finished(&self) -> bool {
        self.pending().next().is_none()
    }

    fn add_to(&self, report: &mut Report<'a>, now_ms: i64) {
        let Delivery { notification, arrived_at_ms, .. } = self.offer.delivery;
        let outcomes = self.results().map(|(connection, result)| (notification.id, &connection.id, result.outcome()));
        report.outcomes.extend(outcomes);
        // If every connection is gone, it is finished, but no one received it.
        if self.is_finished() && self.results.contains(&PushResult::Offered) {
            report.counts.delivered += 1;
            report.counts.deliver_ms.add(now_ms - arrived_at_ms);
        }
    }

    /// What is left to do: a push to the pending connections, after the longest of their waits and the backoff.
    fn retry(&self) -> Option<Entry> {
        let mut work = untouched(self.offer.delivery);
        let mut wait_ms = backoff_ms(self.offer.delivery.attempt);
        // One connection that asks for a long wait must not delay the others.
        let may_wait_long = self.pending().all(|(_, outcome)| asks_for_long_wait(outcome));
        let max_wait_ms = if may_wait_long { MAX_PUSH_DELAY_MS } else { MAX_SHARED_WAIT_MS };
        for (connection, outcome) in self.pending() {
            wait_ms = wait_ms.max(match outcome {
                Outcome::Offered | Outcome::Failed => 0,
                // Not open yet.
                Outcome::Gone => MIN_RETRY_MS,
                Outcome::Throttled { retry_after_ms } => {
                    work.throttled = self.offer.throttled.saturating_add(1);
                    let min_ms = if work.throttled >= MAX_THROTTLED { MIN_RETRY_MS } else { 0 };
                    i64::from(retry_after_ms).clamp(min_ms, max_wait_ms)
                }
            });
            work.left.push(connection.id.clone());
        }
        (!self.is_finished()).then_some(Entry { work: Work::Push(work), wait_ms })
    }
}

fn asks_for_long_wait(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Throttled { retry_after_ms } if i64::from(retry_after_ms) > MAX_SHARED_WAIT_MS)
}

/// The push of a whole delivery as work.
fn untouched(delivery: &Delivery) -> PushWork {
    PushWork {
        user: delivery.user.clone(),
        offset: delivery.notification.cursor.offset,
        fence_ms: delivery.fence_ms,
        priority: delivery.notification.content.priority,
        throttled: 0,
        left: Vec::new(),
    }
}

/// Moves rows that wait for long in the record too, so that it does not take them over before. An entry whose row another
/// worker has taken meanwhile is dropped.
async fn postpone(app: &App, retries: &mut [Option<Entry>]) {
    let now_ms = app.clock.now_ms();
    let mut long: Vec<(&mut Option<Entry>, PushWork, i64)> = Vec::new();
    for retry in retries {
        if let Some(Entry { work: Work::Push(push), wait_ms }) = retry
            && now_ms + *wait_ms > push.fence_ms - SAFETY_MARGIN_MS
        {
            let (push, wait_ms) = (push.clone(), *wait_ms);
            long.push((retry, push, wait_ms));
        }
    }
    if long.is_empty() {
        return;
    }
    let rows: Vec<(RowKey<'_>, i64)> = long.iter().map(|(_, push, wait_ms)| (push.into(), *wait_ms)).collect();
    match app.record.deliveries.postpone(&rows, app.clock.at()).await {
        Ok(fences) => {
            for ((retry, push, wait_ms), fence_ms) in long.into_iter().zip(fences) {
                let work = |fence_ms| Work::Push(PushWork { fence_ms, ..push });
                *retry = fence_ms.map(|fence_ms| Entry { work: work(fence_ms), wait_ms });
            }
        }
        Err(error) => {
            // The record takes the rows over sooner than the connection asked for, and the entries are stale then.
            tracing::warn!(%error, "rows that must wait for long could not be postponed");
        }
    }
}

/// The frame that reports an arrival.
fn arrival(delivery: &Delivery) -> Frame {
    let cursor = delivery.notification.cursor;
    let (notification, replaces) = (&delivery.notification, delivery.replaces.as_slice());
    if replaces.len() > MAX_IDS {
        return protocol::frame(&Event::Resync);
    }
    let before = |steps: usize| Cursor { offset: cursor.offset - i64::try_from(steps).unwrap_or(0), ..cursor };
    let (prev, unread_count) = (before(1 + replaces.len()), delivery.unread);
    let silent = notification.silent.then_some(true);
    let frame = protocol::frame(&Event::Notification { cursor, prev, notification, unread_count, replaces, silent });
    if frame.len() <= MAX_FRAME_BYTES {
        return frame;
    }
    // It cannot say what was replaced. A client that has not heard of that sees a gap between the cursors.
    protocol::frame(&Event::Fetch { cursor, prev: before(1), id: notification.id })
}
