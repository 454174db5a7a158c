//! Collects the metrics for operators: the counts of the last hour, the backlog, and who is connected.

use serde::Serialize;

use crate::app::App;
use crate::delivery::deliveries::Backlog;
use crate::error::StoreError;
use crate::fast::log;
use crate::sockets::connections::Online;
use crate::telemetry::Counts;
use crate::telemetry::health::Instances;
use crate::telemetry::histogram::Histogram;

/// The metrics, as the body of the response. Every member is always present: numbers that an unavailable store would
/// provide are 0, and `degraded` or `database` report that.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// What waits to be delivered.
    pub queue: Queue,
    /// [`Counts::accepted`] of the last hour.
    pub accepted: u64,
    /// [`Counts::delivered`] of the last hour.
    pub delivered: u64,
    /// [`Counts::retried`] of the last hour.
    pub retried: u64,
    /// [`Counts::rate_limited`] of the last hour.
    pub rate_limited: u64,
    /// [`Counts::errors`] of the last hour.
    pub errors: u64,
    /// Open sockets.
    pub connections: u64,
    /// Users with an open socket.
    pub online_users: u64,
    /// For how long the oldest of what was accepted fast has waited for the database, in milliseconds; 0 if nothing waits.
    pub persist_lag_ms: u64,
    /// What was accepted fast and waits for the database: what Redis could lose.
    pub backlog: Unwritten,
    /// Whether counts are missing, because an instance of Redis is away, or Redis is not used. If all are away, counts and
    /// latencies are 0, whatever happened.
    pub degraded: bool,
    /// The moment's instances.
    pub redis: Instances,
    /// The health of the record.
    pub database: Database,
    /// Latencies of the last hour.
    pub latency: Latency,
}

/// What waits to be delivered, in notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Notifications that have yet to be pushed and recipients of due chunks, without those in `processing`.
    pub waiting: u64,
    /// Notifications that a drain has claimed from the queue. The record counts them as waiting, so they are subtracted
    /// from `waiting`. 0 if the queue does not answer.
    pub processing: u64,
    /// Recipients of chunks that are not due yet.
    pub delayed: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// How long the oldest due item of the record or the queue has been due, in milliseconds; 0 if nothing is due.
    pub oldest_ms: u64,
}

/// What only Redis has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unwritten {
    /// Sends and messages.
    pub entries: u64,
    /// Their bytes in Redis.
    pub bytes: u64,
}

/// The health of the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Whether it answered just now. If not, all numbers that it provides are 0.
    pub healthy: bool,
    /// `postgres` or `sqlite`.
    pub kind: &'static str,
}

/// Latencies of the last hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// From reading the call of a send until the record had stored it, or a log of a fast accept.
    pub accept_ms: Percentiles,
    /// From the `createdAt` of a notification until it was delivered.
    pub deliver_ms: Percentiles,
}

/// Percentiles in milliseconds, within 6.25 %; 0 if nothing was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
}

/// The metrics as of now. Never fails: a store that does not answer is reported as such.
pub async fn metrics(app: &App) -> Metrics {
    let at = app.clock.at();
    let (counts, redis, depth, unwritten, record) = tokio::join!(
        app.moment.telemetry.counts(at),
        app.moment.health.instances(),
        app.moment.queue.depth(at),
        unwritten(app),
        record_state(app)
    );
    let degraded = counts.is_none() || redis.instances.iter().any(|instance| !instance.healthy);
    let Counts { accepted, delivered, retried, rate_limited, errors, accept_ms, deliver_ms } =
        counts.unwrap_or_default();
    let healthy = match &record {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(%error, "the database does not answer");
            false
        }
    };
    let (Backlog { waiting, delayed, dead_letters, oldest_ms }, Online { connections, users }) =
        record.unwrap_or_default();
    let depth = depth.unwrap_or_default();
    let processing = depth.processing.min(waiting);
    let oldest_ms = oldest_ms.max(depth.oldest_ms);
    Metrics {
        queue: Queue { waiting: waiting - processing, processing, delayed, dead_letters, oldest_ms },
        accepted,
        delivered,
        retried,
        rate_limited,
        errors,
        connections,
        online_users: users,
        persist_lag_ms: unwritten.oldest_ms,
        backlog: Unwritten { entries: unwritten.entries, bytes: unwritten.bytes },
        degraded,
        redis,
        database: Database { healthy, kind: app.config.database_kind() },
        latency: Latency { accept_ms: percentiles(&accept_ms), deliver_ms: percentiles(&deliver_ms) },
    }
}

/// What waits in logs; nothing where fast accepts were never in use.
async fn unwritten(app: &App) -> log::Unwritten {
    if app.fast_use.may_have_logs(&*app.record.fast, &app.clock).await.unwrap_or(true) {
        app.moment.logs.unwritten_total(app.clock.at()).await.unwrap_or_default()
    } else {
        log::Unwritten::default()
    }
}

/// The numbers of the record. They are read one after the other, since a function has only two database connections.
async fn record_state(app: &App) -> Result<(Backlog, Online), StoreError> {
    let at = app.clock.at();
    Ok((app.record.deliveries.backlog(at).await?, app.record.connections.count(at).await?))
}

fn percentiles(histogram: &Histogram) -> Percentiles {
    Percentiles { p50: histogram.percentile(50), p99: histogram.percentile(99) }
}
