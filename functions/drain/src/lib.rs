//! The drain: materialises what is due, pushes what was not offered, makes what has expired tombstones, ends connections
//! whose token has ended, and lets go of what is too old.
//! No leader, no lock, no memory of the last run: any number may run at once, and one that dies is missed by
//! nobody.

use serde::Serialize;
use shared::app::App;
use shared::connections::{Connection, SWEPT_AT_ONCE};
use shared::deliver;
use shared::deliveries::Taken;
use shared::error::{Error, StoreError};
use shared::ids::ConnectionId;
use shared::inbox::Changed;
use shared::notes::{Counts, Noted};
use shared::protocol::{self, ChangeKind, Frame, Reply};

/// The variables that it cannot do without.
pub const NEEDS: &[&str] = &["DATABASE_URL", "REDIS_URL", "WS_ENDPOINT"];

/// How many rows are taken at once: what one drain holds when it dies waits 5 s.
const TAKE: usize = 100;
/// How many expired notifications become tombstones at once.
const EXPIRE: usize = 500;
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
        work(app, until_ms, drained).await?;
        let Some(due_ms) = app.deliveries.next_due().await? else {
            return Ok(());
        };
        if due_ms > until_ms || app.clock.now_ms() > until_ms {
            return Ok(());
        }
        app.clock.sleep_until(due_ms).await;
    }
}

/// Does what is due now.
async fn work(app: &App, until_ms: i64, drained: &mut Drained) -> Result<(), StoreError> {
    while app.clock.now_ms() <= until_ms
        && let Some(deliveries) = app.deliveries.materialise_next(app.clock.at()).await?
    {
        drained.chunks += 1;
        deliver::offer(app, &deliveries, Noted::default()).await;
    }
    while app.clock.now_ms() <= until_ms {
        // In turns, so that neither waits for the end of the other.
        let expired = expire(app).await?;
        drained.expired += expired;
        let taken = app.deliveries.take_due(TAKE, app.clock.at()).await?;
        if taken.is_empty() && expired == 0 {
            break;
        }
        let Taken { deliveries, resyncs } = taken;
        drained.pushed += deliveries.len();
        drained.resynced += resyncs.len();
        let counts = Counts { retried: deliveries.len() as u64, ..Counts::default() };
        deliver::offer(app, &deliveries, Noted { counts, ..Noted::default() }).await;
        deliver::resync(app, &resyncs).await;
    }
    Ok(())
}

/// Makes tombstones of what has expired, and tells whose inbox it was in.
async fn expire(app: &App) -> Result<usize, StoreError> {
    let expired = app.deliveries.expire(EXPIRE, app.clock.at()).await?;
    let changed: Vec<&Changed> = expired.iter().map(|(_, changed)| changed).collect();
    deliver::tell(app, &changed, ChangeKind::Expired).await;
    Ok(changed.iter().map(|changed| changed.ids.len()).sum())
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
