//! The act of telling an operator how everything is: counts of the last hour, what waits, who is connected.

use serde::Serialize;

use crate::app::App;
use crate::delivery::deliveries::Backlog;
use crate::error::StoreError;
use crate::sockets::connections::Online;
use crate::telemetry::Counts;
use crate::telemetry::health::Instances;
use crate::telemetry::histogram::Histogram;

/// How everything is, as the contract's metrics. Nothing is left out: what a store that is away would know is 0, and
/// `degraded` or `database` say so.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// What waits in the record.
    pub queue: Queue,
    /// Notifications that were stored.
    pub accepted: u64,
    /// Notifications that every open connection of their user has taken.
    pub delivered: u64,
    /// Notifications that the drain pushed since nobody had finished that.
    pub retried: u64,
    /// Recipients who were refused.
    pub rate_limited: u64,
    /// Answers that were a fault of ours.
    pub errors: u64,
    /// Open sockets.
    pub connections: u64,
    /// Users who have one.
    pub online_users: u64,
    /// For how long the oldest of what only Redis has waits for the database, in milliseconds. Nothing is accepted
    /// before the database has it, so it is 0.
    pub persist_lag_ms: u64,
    /// Whether the counts could not be asked for, since Redis is away or not used: then they and the latencies are 0,
    /// whatever happened.
    pub degraded: bool,
    /// The moment's instances.
    pub redis: Instances,
    /// The record.
    pub database: Database,
    /// How long things took.
    pub latency: Latency,
}

/// What waits in the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Notifications to be pushed, and recipients who are due to get theirs, but those that a drain works on.
    pub waiting: u64,
    /// Notifications that a drain has claimed from the queue. The record counts them too, as it does everything that
    /// waits there, so they are taken from `waiting`. 0 where the queue does not answer.
    pub processing: u64,
    /// Recipients whose time has not come.
    pub delayed: u64,
    /// What was set aside.
    pub dead_letters: u64,
    /// For how long the first of what is due, in the record or in the queue, has been due; 0 where nothing is.
    pub oldest_ms: u64,
}

/// How the record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Database {
    /// Whether it answered just now. Where it did not, what it would have told is 0.
    pub healthy: bool,
    /// `postgres` or `sqlite`.
    pub kind: &'static str,
}

/// How long things took in the last hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// From a send's call until the record had it.
    pub accept_ms: Percentiles,
    /// From `createdAt` of a notification until it was delivered.
    pub deliver_ms: Percentiles,
}

/// Values in milliseconds that are not exceeded by so many of a hundred; within 6.25 %, 0 where nothing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Percentiles {
    /// By half.
    pub p50: u64,
    /// By 99.
    pub p99: u64,
}

/// How everything is now. Never fails: whatever does not answer is told as such.
pub async fn metrics(app: &App) -> Metrics {
    let at = app.clock.at();
    let (counted, redis, queued, stored) = tokio::join!(
        app.moment.telemetry.counts(at),
        app.moment.health.instances(),
        app.moment.queue.depth(at),
        stored(app)
    );
    let degraded = counted.is_none();
    let Counts { accepted, delivered, retried, rate_limited, errors, accept_ms, deliver_ms } =
        counted.unwrap_or_default();
    let healthy = match &stored {
        Ok(_) => true,
        Err(error) => {
            tracing::error!(%error, "the database does not answer");
            false
        }
    };
    let (Backlog { waiting, delayed, dead_letters, oldest_ms }, Online { connections, users }) =
        stored.unwrap_or_default();
    let queued = queued.unwrap_or_default();
    let processing = queued.processing.min(waiting);
    let oldest_ms = oldest_ms.max(queued.oldest_ms);
    Metrics {
        queue: Queue { waiting: waiting - processing, processing, delayed, dead_letters, oldest_ms },
        accepted,
        delivered,
        retried,
        rate_limited,
        errors,
        connections,
        online_users: users,
        persist_lag_ms: 0,
        degraded,
        redis,
        database: Database { healthy, kind: app.config.database_kind() },
        latency: Latency { accept_ms: percentiles(&accept_ms), deliver_ms: percentiles(&deliver_ms) },
    }
}

/// What the record knows: one question after the other, since a function has two connections at most.
async fn stored(app: &App) -> Result<(Backlog, Online), StoreError> {
    let at = app.clock.at();
    Ok((app.record.deliveries.backlog(at).await?, app.record.connections.count(at).await?))
}

fn percentiles(histogram: &Histogram) -> Percentiles {
    Percentiles { p50: histogram.percentile(50), p99: histogram.percentile(99) }
}
