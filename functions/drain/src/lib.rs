//! The drain: works off the queue, materialises what is due, pushes what was not offered, makes what has expired
//! tombstones, ends connections whose token has ended, and lets go of what is too old.
//! No leader, no lock, no memory of the last run: any number may run at once, and one that dies is missed by
//! nobody.

mod claims;

use std::pin::{Pin, pin};
use std::time::Duration;

use serde::Serialize;
use shared::app::App;
use shared::delivery::deliver;
use shared::delivery::deliveries::{Materialised, Taken};
use shared::delivery::queue::{Entry, MAX_ATTEMPTS};
use shared::error::{Error, StoreError};
use shared::ids::ConnectionId;
use shared::inbox::{Changed, Delivery};
use shared::protocol::{self, ChangeKind, Frame, Reply};
use shared::sockets::connections::{Connection, MAX_SWEPT};
use shared::telemetry::{Counts, Report};

use crate::claims::Found;

/// The variables that it cannot do without.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "WS_ENDPOINT"];

/// How many rows are taken at once: what one drain holds when it dies waits 5 s.
const TAKE: usize = 100;
/// How many chunks are materialised at once, where they are small sends that are due now.
const MAX_CHUNKS: usize = 100;
/// How many are looked at where the last ones were large.
const MIN_CHUNKS: usize = 4;
/// After how many turns at the queue everything else is looked at again, though there was nothing before.
const LOOKS_AGAIN: usize = 16;
/// How many expired notifications become tombstones at once.
const EXPIRE: usize = 500;
/// How often a drain that waits looks whether somebody has left work: half of that is how long work waits for it.
const LISTENS_EVERY: Duration = Duration::from_millis(25);
/// How much longer than `DRAIN_LINGER_MS` it waits for what falls due, as a part of that: a minute and more where nobody
/// chose another, so that nothing falls due between two runs of the schedule.
const WAITS_LONGER: f64 = 0.3;
/// For how long a drain that ends works on what was left to it at the very last, in milliseconds.
const LAST_LOOK_MS: i64 = 2_000;
/// How long before its deadline a drain stops to begin anything.
const MARGIN_MS: i64 = 10_000;

/// What one run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drained {
    /// Chunks of large sends whose recipients got their rows.
    pub chunks: usize,
    /// Notifications that were pushed because nobody had finished that.
    pub pushed: usize,
    /// Users of whom so much was due that they were told to sync instead.
    pub resynced: usize,
    /// Notifications that became tombstones because they had expired.
    pub expired: usize,
    /// Entries of the queue that nobody can work on.
    pub dead_letter: usize,
    /// Connections that were told that their token has ended, and closed.
    pub ended: usize,
    /// Old rows that were let go of.
    pub purged: usize,
    /// Whether a store failed, so that the rest was left to the next run.
    pub failed: bool,
}

/// Works until nothing is due soon: at most `DRAIN_LINGER_MS` where there is work all the time, and a third longer where it
/// waits for what falls due. Ends well before `deadline_ms` (milliseconds since 1970).
pub async fn handle(app: &App, deadline_ms: i64) -> Drained {
    handle_until(app, deadline_ms, std::future::pending()).await
}

/// The same in a process that may have to end before: once `ended` returns, nothing more is waited for.
pub async fn handle_until(app: &App, deadline_ms: i64, ended: impl Future<Output = ()>) -> Drained {
    let mut drained = Drained::default();
    if let Err(error) = drain(app, deadline_ms, pin!(ended), &mut drained).await {
        // What was taken comes back by itself; the schedule is the repetition.
        tracing::error!(%error, "the drain stopped before its work was done");
        drained.failed = true;
    }
    drained
}

async fn drain(
    app: &App,
    deadline_ms: i64,
    ended: Pin<&mut impl Future<Output = ()>>,
    drained: &mut Drained,
) -> Result<(), StoreError> {
    let ends = Ends::new(app, deadline_ms);
    end_connections(app, ends.work_ms, drained).await?;
    if let Err(error) = stay(app, &ends, ended, drained).await {
        // Whoever leaves work from now on wakes another.
        app.moment.queue.sign_off(app.clock.at()).await;
        return Err(error);
    }
    purge(app, ends.wait_ms, drained).await
}

/// When a run ends, in milliseconds since 1970.
struct Ends {
    /// Where there is work all the time.
    work_ms: i64,
    /// Where it only waits for what falls due.
    wait_ms: i64,
}

impl Ends {
    fn new(app: &App, deadline_ms: i64) -> Self {
        let (linger, last_ms) = (app.config.drain_linger, deadline_ms.saturating_sub(MARGIN_MS));
        let after = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let at = |time| app.clock.now_ms().saturating_add(after(time)).min(last_ms);
        Self { work_ms: at(linger), wait_ms: at(linger.mul_f64(1.0 + WAITS_LONGER)) }
    }
}

/// Does what is due, for as long as more falls due soon.
async fn stay(
    app: &App,
    ends: &Ends,
    mut ended: Pin<&mut impl Future<Output = ()>>,
    drained: &mut Drained,
) -> Result<(), StoreError> {
    loop {
        let until_ms = if app.clock.now_ms() <= ends.work_ms { ends.work_ms } else { ends.wait_ms };
        let before = *drained;
        let found = work(app, until_ms, drained).await?;
        let now_ms = app.clock.now_ms();
        let due_ms =
            [app.record.deliveries.next_due().await?, found.next_in_ms.map(|in_ms| now_ms.saturating_add(in_ms))];
        let due_ms = due_ms.into_iter().flatten().min().filter(|due_ms| *due_ms <= ends.wait_ms);
        let Some(due_ms) = due_ms.filter(|_| now_ms <= until_ms) else {
            // Whoever leaves work from now on wakes another; whoever did until now believed this one awake.
            let generation = app.moment.queue.sign_off(app.clock.at()).await;
            if generation == found.generation || generation.is_none() {
                return Ok(());
            }
            if app.clock.now_ms() > until_ms {
                claims::work(app, app.clock.now_ms() + LAST_LOOK_MS, drained).await?;
                return Ok(());
            }
            continue;
        };
        // Due, and not to be had: another holds it, or the record's clock is behind this one.
        let is_held = due_ms <= now_ms && before == *drained;
        tokio::select! {
            () = tokio::time::sleep(LISTENS_EVERY), if is_held => {}
            () = app.clock.sleep_until(due_ms), if !is_held => {}
            () = hears(app, found.generation) => {}
            () = &mut ended => {
                app.moment.queue.sign_off(app.clock.at()).await;
                return Ok(());
            }
        }
    }
}

/// Does what is due now, in turns, so that neither the queue nor the record waits for the other.
async fn work(app: &App, until_ms: i64, drained: &mut Drained) -> Result<Found, StoreError> {
    let (mut has_chunks, mut has_expired, mut has_rows) = (true, true, true);
    let mut chunks = MAX_CHUNKS;
    let mut turn = 0_usize;
    loop {
        turn += 1;
        let found = claims::work(app, until_ms, drained).await?;
        if turn.is_multiple_of(LOOKS_AGAIN) {
            (has_chunks, has_expired, has_rows) = (true, true, true);
        }
        if has_chunks && app.clock.now_ms() <= until_ms {
            let done = materialise(app, chunks, drained).await?;
            // Large ones come one by one: the others would be read in vain.
            chunks = (2 * done).clamp(MIN_CHUNKS, MAX_CHUNKS);
            has_chunks = done > 0;
        }
        has_expired = has_expired && app.clock.now_ms() <= until_ms && expire(app, drained).await?;
        has_rows = has_rows && app.clock.now_ms() <= until_ms && push_due(app, drained).await?;
        let is_done = !has_chunks && !has_expired && !has_rows && found.next_in_ms != Some(0);
        if is_done || app.clock.now_ms() > until_ms {
            return Ok(found);
        }
    }
}

/// Gives the recipients of up to so many chunks their rows, and pushes them. How many there were.
async fn materialise(app: &App, limit: usize, drained: &mut Drained) -> Result<usize, StoreError> {
    let Materialised { chunks, deliveries } = app.record.deliveries.materialise(limit, app.clock.at()).await?;
    drained.chunks += chunks;
    let (behind, few) = claims::far_behind(deliveries.into_iter().enumerate().collect());
    drained.resynced += behind.len();
    // Whoever does not take it is told when his rows come back.
    claims::resync_all(app, &behind).await;
    let few: Vec<Delivery> = few.into_iter().map(|(_, delivery)| delivery).collect();
    if !few.is_empty() {
        offer(app, &few, Report::default()).await;
    }
    Ok(chunks)
}

/// Pushes rows that came back by themselves. Whether there were any.
async fn push_due(app: &App, drained: &mut Drained) -> Result<bool, StoreError> {
    let taken = app.record.deliveries.take_due(TAKE, app.clock.at()).await?;
    if taken.is_empty() {
        return Ok(false);
    }
    let Taken { deliveries, resyncs } = taken;
    drained.pushed += deliveries.len();
    drained.resynced += resyncs.len();
    deliver::resync(app, &resyncs).await;
    // What was taken so often may be what ends its workers: last, and each by itself.
    let (suspects, others): (Vec<_>, Vec<_>) =
        deliveries.into_iter().partition(|delivery| delivery.attempt > MAX_ATTEMPTS);
    for together in [others.as_slice()].into_iter().chain(suspects.chunks(1)).filter(|rows| !rows.is_empty()) {
        let counts = Counts { retried: together.len() as u64, ..Counts::default() };
        offer(app, together, Report { counts, ..Report::default() }).await;
    }
    Ok(true)
}

/// Offers what the record had. What is left of it goes on the queue, for whichever drain is there then.
async fn offer<'a>(app: &App, deliveries: &'a [Delivery], report: Report<'a>) {
    let left: Vec<Entry> = deliver::offer(app, deliveries, &[], report).await.into_iter().flatten().collect();
    if !left.is_empty() {
        app.moment.queue.add(&left, app.clock.at()).await;
    }
}

/// Returns once somebody has left work since `generation`; never where there is no queue.
async fn hears(app: &App, generation: Option<u64>) {
    loop {
        tokio::time::sleep(LISTENS_EVERY).await;
        let heard = app.moment.queue.heartbeat(app.clock.at()).await;
        if heard.is_some() && heard != generation {
            return;
        }
    }
}

/// Makes tombstones of what has expired, and tells whose inbox it was in. Whether there was anything.
async fn expire(app: &App, drained: &mut Drained) -> Result<bool, StoreError> {
    let expired = app.record.deliveries.expire(EXPIRE, app.clock.at()).await?;
    let changed: Vec<&Changed> = expired.iter().map(|(_, changed)| changed).collect();
    deliver::tell(app, &changed, ChangeKind::Expired).await;
    let expired: usize = changed.iter().map(|changed| changed.ids.len()).sum();
    drained.expired += expired;
    Ok(expired > 0)
}

/// Lets go of what is too old; at least of some of it.
async fn purge(app: &App, until_ms: i64, drained: &mut Drained) -> Result<(), StoreError> {
    loop {
        let purged = app.record.retention.purge(app.config.retention_ms, app.clock.at()).await?;
        drained.purged += purged.sum();
        if !purged.is_part() || app.clock.now_ms() > until_ms {
            return Ok(());
        }
    }
}

/// Ends connections whose token has ended.
async fn end_connections(app: &App, until_ms: i64, drained: &mut Drained) -> Result<(), StoreError> {
    loop {
        let ended = end_some_connections(app).await?;
        drained.ended += ended;
        if ended < MAX_SWEPT || app.clock.now_ms() > until_ms {
            return Ok(());
        }
    }
}

/// Tells connections that their token has ended, closes and forgets them, in that order.
async fn end_some_connections(app: &App) -> Result<usize, StoreError> {
    let ended: Vec<Connection> = app.record.connections.sweep(app.clock.at()).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    let frame = protocol::frame(&Reply::error(None, &Error::TokenExpired));
    let ids: Vec<ConnectionId> = ended.into_iter().map(|connection| connection.id).collect();
    let frames: Vec<(ConnectionId, Frame)> = ids.iter().map(|id| (id.clone(), frame.clone())).collect();
    app.push.push(&frames).await;
    app.push.close(&ids).await;
    app.record.connections.forget(&ids).await?;
    Ok(ids.len())
}
