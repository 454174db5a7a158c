//! The drain: works off the queue, materialises what is due, pushes what was not offered, makes what has expired
//! tombstones, ends connections whose token has ended, and lets go of what is too old.
//! No leader, no lock, no memory of the last run: any number may run at once, and one that dies is missed by
//! nobody.

mod claims;

use std::time::Duration;

use serde::Serialize;
use shared::app::App;
use shared::connections::{Connection, SWEPT_AT_ONCE};
use shared::deliver;
use shared::deliveries::{Materialised, Taken};
use shared::error::{Error, StoreError};
use shared::ids::ConnectionId;
use shared::inbox::{Changed, Delivery};
use shared::notes::{Counts, Noted};
use shared::protocol::{self, ChangeKind, Frame, Reply};
use shared::queue::Entry;

use crate::claims::Found;

/// The variables that it cannot do without.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "WS_ENDPOINT"];

/// How many rows are taken at once: what one drain holds when it dies waits 5 s.
const TAKE: usize = 100;
/// How many chunks, each mostly a small send that is due now, are materialised at once.
const CHUNKS: usize = 100;
/// How many expired notifications become tombstones at once.
const EXPIRE: usize = 500;
/// How often a drain that waits looks whether somebody has left work: half of that is how long work waits for it.
const LISTENS_EVERY: Duration = Duration::from_millis(25);
/// How long before its deadline a drain stops to begin anything.
const MARGIN_MS: i64 = 10_000;

/// What one run did.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
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
    pub set_aside: usize,
    /// Connections that were told that their token has ended, and closed.
    pub ended: usize,
    /// Old rows that were let go of.
    pub purged: usize,
    /// Whether a store failed, so that the rest was left to the next run.
    pub failed: bool,
}

/// Works until nothing is due soon, at most `DRAIN_LINGER_MS`, and ends well before `deadline_ms`
/// (milliseconds since 1970).
pub async fn handle(app: &App, deadline_ms: i64) -> Drained {
    let mut drained = Drained::default();
    if let Err(error) = drain(app, deadline_ms, &mut drained).await {
        // What was taken comes back by itself; the schedule is the repetition.
        tracing::error!(%error, "the drain stopped before its work was done");
        drained.failed = true;
    }
    drained
}

async fn drain(app: &App, deadline_ms: i64, drained: &mut Drained) -> Result<(), StoreError> {
    let linger_ms = i64::try_from(app.config.drain_linger.as_millis()).unwrap_or(i64::MAX);
    let until_ms = app.clock.now_ms().saturating_add(linger_ms).min(deadline_ms.saturating_sub(MARGIN_MS));
    end_connections(app, until_ms, drained).await?;
    stay(app, until_ms, drained).await?;
    purge(app, until_ms, drained).await
}

/// Does what is due, for as long as more falls due soon.
async fn stay(app: &App, until_ms: i64, drained: &mut Drained) -> Result<(), StoreError> {
    loop {
        let found = work(app, until_ms, drained).await?;
        let now_ms = app.clock.now_ms();
        let due_ms = [app.deliveries.next_due().await?, found.next_in_ms.map(|in_ms| now_ms.saturating_add(in_ms))];
        let due_ms = due_ms.into_iter().flatten().min().filter(|due_ms| *due_ms <= until_ms);
        let Some(due_ms) = due_ms.filter(|_| now_ms <= until_ms) else {
            // Whoever leaves work from now on wakes another; whoever did until now believed this one awake.
            let news = app.queue.rest(app.clock.at()).await;
            if news == found.news || news.is_none() || app.clock.now_ms() > until_ms {
                return Ok(());
            }
            continue;
        };
        tokio::select! {
            () = app.clock.sleep_until(due_ms) => {}
            () = hears(app, found.news) => {}
        }
    }
}

/// Does what is due now, in turns, so that neither the queue nor the record waits for the other.
async fn work(app: &App, until_ms: i64, drained: &mut Drained) -> Result<Found, StoreError> {
    let (mut has_chunks, mut has_expired, mut has_rows) = (true, true, true);
    loop {
        let found = claims::work(app, until_ms, drained).await?;
        has_chunks = has_chunks && app.clock.now_ms() <= until_ms && materialise(app, drained).await?;
        has_expired = has_expired && app.clock.now_ms() <= until_ms && expire(app, drained).await?;
        has_rows = has_rows && app.clock.now_ms() <= until_ms && push_due(app, drained).await?;
        let is_done = !has_chunks && !has_expired && !has_rows && found.next_in_ms != Some(0);
        if is_done || app.clock.now_ms() > until_ms {
            return Ok(found);
        }
    }
}

/// Gives the recipients of some chunks their rows, and pushes them. Whether there were any.
async fn materialise(app: &App, drained: &mut Drained) -> Result<bool, StoreError> {
    let Materialised { chunks, deliveries } = app.deliveries.materialise(CHUNKS, app.clock.at()).await?;
    drained.chunks += chunks;
    let (behind, few) = claims::far_behind(deliveries.into_iter().enumerate().collect());
    drained.resynced += behind.len();
    // Whoever does not take it is told when his rows come back.
    claims::resync_all(app, &behind).await;
    let few: Vec<Delivery> = few.into_iter().map(|(_, delivery)| delivery).collect();
    if !few.is_empty() {
        offer(app, &few, Noted::default()).await;
    }
    Ok(chunks > 0)
}

/// Pushes rows that came back by themselves. Whether there were any.
async fn push_due(app: &App, drained: &mut Drained) -> Result<bool, StoreError> {
    let taken = app.deliveries.take_due(TAKE, app.clock.at()).await?;
    if taken.is_empty() {
        return Ok(false);
    }
    let Taken { deliveries, resyncs } = taken;
    drained.pushed += deliveries.len();
    drained.resynced += resyncs.len();
    if !deliveries.is_empty() {
        let counts = Counts { retried: deliveries.len() as u64, ..Counts::default() };
        offer(app, &deliveries, Noted { counts, ..Noted::default() }).await;
    }
    deliver::resync(app, &resyncs).await;
    Ok(true)
}

/// Offers what the record had. What is left of it goes on the queue, for whichever drain is there then.
async fn offer<'a>(app: &App, deliveries: &'a [Delivery], noted: Noted<'a>) {
    let left: Vec<Entry> = deliver::offer(app, deliveries, &[], noted).await.into_iter().flatten().collect();
    if !left.is_empty() {
        app.queue.add(&left, app.clock.at()).await;
    }
}

/// Returns once somebody has left work since `news`; never where there is no queue.
async fn hears(app: &App, news: Option<u64>) {
    loop {
        tokio::time::sleep(LISTENS_EVERY).await;
        let heard = app.queue.watch(app.clock.at()).await;
        if heard.is_some() && heard != news {
            return;
        }
    }
}

/// Makes tombstones of what has expired, and tells whose inbox it was in. Whether there was anything.
async fn expire(app: &App, drained: &mut Drained) -> Result<bool, StoreError> {
    let expired = app.deliveries.expire(EXPIRE, app.clock.at()).await?;
    let changed: Vec<&Changed> = expired.iter().map(|(_, changed)| changed).collect();
    deliver::tell(app, &changed, ChangeKind::Expired).await;
    let expired: usize = changed.iter().map(|changed| changed.ids.len()).sum();
    drained.expired += expired;
    Ok(expired > 0)
}

/// Lets go of what is too old; at least of some of it.
async fn purge(app: &App, until_ms: i64, drained: &mut Drained) -> Result<(), StoreError> {
    loop {
        let purged = app.retention.purge(app.config.retention_ms, app.clock.at()).await?;
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
        if ended < SWEPT_AT_ONCE || app.clock.now_ms() > until_ms {
            return Ok(());
        }
    }
}

/// Tells connections that their token has ended, closes and forgets them, in that order.
async fn end_some_connections(app: &App) -> Result<usize, StoreError> {
    let ended: Vec<Connection> = app.connections.sweep(app.clock.at()).await?;
    if ended.is_empty() {
        return Ok(0);
    }
    let frame = protocol::frame(&Reply::error(None, &Error::TokenExpired));
    let ids: Vec<ConnectionId> = ended.into_iter().map(|connection| connection.id).collect();
    let frames: Vec<(ConnectionId, Frame)> = ids.iter().map(|id| (id.clone(), frame.clone())).collect();
    app.push.push(&frames).await;
    app.push.close(&ids).await;
    app.connections.forget(&ids).await?;
    Ok(ids.len())
}
