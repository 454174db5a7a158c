//! What the drain does for the record: write logs to it, materialise what is due, end snoozes, push rows that came back,
//! expire, purge, and close connections whose token has expired.

use std::time::Duration;

use shared::app::App;
use shared::chat::writing;
use shared::delivery::Delivery;
use shared::delivery::deliveries::{Materialised, Taken};
use shared::delivery::offer::{self, Offer};
use shared::delivery::queue::{Entry, MAX_ATTEMPTS};
use shared::delivery::resync::resync;
use shared::error::{Error, StoreError};
use shared::fast::log::LogId;
use shared::fast::write::Extent;
use shared::ids::ConnectionId;
use shared::inbox::announce::announce;
use shared::inbox::snooze::Unsnoozed;
use shared::inbox::{ChangeKind, Changed};
use shared::protocol::{self, ReplyFrame};
use shared::sockets::connections::MAX_SWEPT;
use shared::sockets::outgoing;
use shared::telemetry::trace::TARGET;
use shared::telemetry::{Counts, Report};
use tracing::instrument;

use crate::backlog::{resync_each, split_backlogged};
use crate::drained::Drained;
use crate::traced::Traced;

/// How many rows are taken at once. Those that a dying drain had taken are delayed by 5 s.
const MAX_TAKEN: usize = 100;
/// How many snoozes end at once.
const MAX_UNSNOOZED: usize = 200;
/// How many expired notifications become tombstones at once.
const MAX_EXPIRED: usize = 500;

/// How long all logs are written at most, before anything else is done.
const MAX_SWEEP: Duration = Duration::from_secs(10);

/// Writes all logs that have entries. Some may have no work in the queue: the call that appended died before it enqueued, or the
/// queue lost the work.
#[instrument(target = TARGET, level = "trace", skip_all)]
pub(crate) async fn persist_all(app: &App, drained: &mut Drained) {
    // If the record fails, nothing can be written to it.
    if app.fast_use.may_have_logs(&*app.record.fast, &app.clock).await.unwrap_or(false) {
        let logs = app.moment.logs.unwritten(&LogId::all().collect::<Vec<_>>()).await.logs;
        drained.persisted += app.log_writer.write(&logs, Extent::Present, MAX_SWEEP, app.clock.at()).await.entries;
    }
}

/// Materialises up to `limit` due chunks and pushes the notifications. Returns how many chunks there were, and when the first
/// Web Push is due, in milliseconds since 1970.
#[instrument(target = TARGET, level = "trace", skip_all)]
pub(crate) async fn materialise(
    app: &App,
    limit: usize,
    drained: &mut Drained,
) -> Result<(usize, Option<i64>), StoreError> {
    let Materialised { chunks, deliveries, web_push_at_ms } =
        app.record.deliveries.materialise(limit, app.clock.at()).await?;
    drained.chunks += chunks;
    push_arrivals(app, deliveries, drained).await;
    Ok((chunks, web_push_at_ms))
}

/// Ends snoozes that are over and pushes the notifications. Returns how many there were, and when the first Web Push is due, in
/// milliseconds since 1970.
#[instrument(target = TARGET, level = "trace", skip_all)]
pub(crate) async fn unsnooze(app: &App, drained: &mut Drained) -> Result<(usize, Option<i64>), StoreError> {
    let Unsnoozed { snoozes, deliveries, web_push_at_ms } =
        app.record.snoozes.unsnooze(MAX_UNSNOOZED, app.clock.at()).await?;
    drained.unsnoozed += snoozes;
    push_arrivals(app, deliveries, drained).await;
    Ok((snoozes, web_push_at_ms))
}

/// Pushes what has just arrived.
async fn push_arrivals(app: &App, deliveries: Vec<Delivery>, drained: &mut Drained) {
    let (backlogged, others) = split_backlogged(deliveries, |delivery| delivery);
    drained.resynced += backlogged.len();
    // A pending user is sent another resync when the rows come back.
    resync_each(app, &backlogged, |delivery| delivery).await;
    if !others.is_empty() {
        offer_rows(app, &others, Report::default()).await;
    }
}

/// Pushes rows whose `push_at` has passed. Returns whether there were any.
#[instrument(target = TARGET, level = "trace", skip_all)]
pub(crate) async fn push_due(app: &App, drained: &mut Drained) -> Result<bool, StoreError> {
    let taken = app.record.deliveries.take_due(MAX_TAKEN, app.clock.at()).await?;
    if taken.is_empty() {
        return Ok(false);
    }
    let Taken { deliveries, resyncs } = taken;
    drained.pushed += deliveries.len();
    drained.resynced += resyncs.len();
    resync(app, &resyncs).await;
    // A row that was taken this often may be what ends its workers: it comes last, and on its own.
    let (mut suspects, others): (Vec<_>, Vec<_>) =
        deliveries.into_iter().partition(|delivery| delivery.attempt > MAX_ATTEMPTS);
    // Rows that were taken together fall due together: in a fixed order, one that ends its workers would always come before the
    // same others.
    fastrand::shuffle(&mut suspects);
    for rows in [others.as_slice()].into_iter().chain(suspects.chunks(1)).filter(|rows| !rows.is_empty()) {
        let counts = Counts { retried: rows.len() as u64, ..Counts::default() };
        offer_rows(app, rows, Report { counts, ..Report::default() }).await;
    }
    Ok(true)
}

/// Offers rows of the record. What is left is enqueued, for any drain.
async fn offer_rows<'a>(app: &App, deliveries: &'a [Delivery], report: Report<'a>) {
    let offers: Vec<Offer<'_>> = deliveries.iter().map(Offer::from).collect();
    let traced = Traced::begin("notifications", deliveries.iter().map(|delivery| delivery.notification.content.trace));
    let left: Vec<Entry> = offer::offer(app, &offers, report).await.into_iter().flatten().collect();
    traced.end();
    if !left.is_empty() {
        app.moment.queue.add(&left, app.clock.at()).await;
    }
}

/// Pushes messages of chats that are due. Returns whether there were any.
#[instrument(target = TARGET, level = "trace", skip_all)]
pub(crate) async fn push_messages(app: &App, drained: &mut Drained) -> Result<bool, StoreError> {
    let due = app.record.messages.take_due_messages(MAX_TAKEN, app.clock.at()).await?;
    drained.messages += due.len();
    let messages: Vec<_> = due.iter().map(|due| (&due.message, &due.recipients)).collect();
    let traced = Traced::begin("messages", due.iter().map(|due| due.trace));
    writing::push(app, &messages).await;
    traced.end();
    Ok(!due.is_empty())
}

/// Makes tombstones of expired notifications and tells their users. Returns whether there were any.
#[instrument(target = TARGET, level = "trace", skip_all)]
pub(crate) async fn expire(app: &App, drained: &mut Drained) -> Result<bool, StoreError> {
    let expired = app.record.retention.expire(MAX_EXPIRED, app.clock.at()).await?;
    let changes: Vec<&Changed> = expired.iter().map(|(_, changed)| changed).collect();
    announce(app, &changes, ChangeKind::Expired).await;
    let expired: usize = changes.iter().map(|changed| changed.ids.len()).sum();
    drained.expired += expired;
    Ok(expired > 0)
}

/// Purges what is too old, until `until_ms`; at least some of it.
#[instrument(target = TARGET, level = "trace", skip_all)]
pub(crate) async fn purge(app: &App, until_ms: i64, drained: &mut Drained) -> Result<(), StoreError> {
    loop {
        let purged = app.record.retention.purge(app.config.retention_ms, app.clock.at()).await?;
        drained.purged += purged.total();
        if !purged.may_have_more() || app.clock.now_ms() > until_ms {
            return Ok(());
        }
    }
}

/// Tells connections that their token has expired, and closes them.
#[instrument(target = TARGET, level = "trace", skip_all)]
pub(crate) async fn close_expired(app: &App, until_ms: i64, drained: &mut Drained) -> Result<(), StoreError> {
    loop {
        let expired = app.record.connections.sweep(app.clock.at()).await?;
        let ids: Vec<ConnectionId> = expired.into_iter().map(|connection| connection.id).collect();
        if !ids.is_empty() {
            let last = protocol::frame(&ReplyFrame::error(None, &Error::TokenExpired));
            outgoing::dismiss(app, &ids, &last).await?;
        }
        drained.closed += ids.len();
        if ids.len() < MAX_SWEPT || app.clock.now_ms() > until_ms {
            return Ok(());
        }
    }
}
