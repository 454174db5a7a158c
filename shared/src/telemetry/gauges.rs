//! The state of the deployment as metrics in CloudWatch, which the drain publishes, since it runs each minute.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::app::App;
use crate::telemetry::cloud_watch::{self, Directive};
use crate::telemetry::health::{Instance, Status};
use crate::telemetry::metrics::{self, Metrics};
use crate::telemetry::names::{self, Metric};

/// How often a process publishes at most, in milliseconds: less than the minute of the schedule, whose runs come a little early
/// or late. CloudWatch keeps the largest value of each minute.
const INTERVAL_MS: i64 = 30_000;
/// How long the stores are waited for. Without them there is no line; the alarm on the oldest work is on without data.
const TIMEOUT: Duration = Duration::from_secs(5);

/// When this process last published, in milliseconds since 1970.
static PUBLISHED_MS: AtomicI64 = AtomicI64::new(0);

/// Publishes the gauges, unless this process did so just now; no effect in a process that publishes no metrics.
pub async fn publish(app: &App) {
    let Some(namespace) = cloud_watch::namespace() else { return };
    let now_ms = app.clock.now_ms();
    if now_ms - PUBLISHED_MS.load(Ordering::Relaxed) < INTERVAL_MS {
        return;
    }
    PUBLISHED_MS.store(now_ms, Ordering::Relaxed);
    let has_fast = app.fast_use.may_have_logs(&*app.record.fast, &app.clock);
    let asking = async { tokio::join!(metrics::metrics(app), app.moment.health.check(), has_fast) };
    match tokio::time::timeout(TIMEOUT, asking).await {
        Ok((metrics, health, has_fast)) => {
            cloud_watch::write(&line(namespace, &gauges(&metrics, &health, has_fast.unwrap_or(true))));
        }
        Err(_) => tracing::warn!("the stores did not tell their state within {} s", TIMEOUT.as_secs()),
    }
}

/// A metric, with its value for each of its names in CloudWatch; `None` if it is unknown.
pub type Gauge = (&'static Metric, Vec<Option<f64>>);

/// Every metric of the deployment. `has_fast`: whether something accepted fast may wait in Redis.
pub fn gauges(metrics: &Metrics, health: &Status, has_fast: bool) -> Vec<Gauge> {
    let one = |metric: &'static Metric, value: u64| (metric, vec![Some(value as f64)]);
    let flag = |metric: &'static Metric, value: bool| (metric, vec![Some(f64::from(u8::from(value)))]);
    // What only the database knows is unknown while it is away.
    let recorded = |value: u64| metrics.database.healthy.then_some(value as f64);
    let (queue, latency) = (&metrics.queue, &metrics.latency);
    let states = [queue.waiting, queue.processing, queue.delayed, queue.dead_letters];
    let percentiles = |of: &metrics::Percentiles| [of.p50, of.p99].map(|ms| Some(ms as f64)).to_vec();
    let instances = &metrics.redis.instances;
    let away = instances.iter().filter(|instance| !instance.healthy).count();
    let fullest = instances.iter().filter_map(memory_percent).reduce(f64::max);
    // Of several instances, those that answer know their own logs.
    let is_heard = instances.is_empty() || away < instances.len();
    let waiting = |value: u64| is_heard.then_some(value as f64);
    let warnings = match health {
        Status::Warned(warnings) => warnings.len(),
        Status::Ok | Status::Unavailable | Status::Off => 0,
    };
    let warnings = warnings + if has_fast { metrics.redis.without_append_only_file().len() } else { 0 };
    vec![
        one(&names::ACCEPTED, metrics.accepted),
        one(&names::DELIVERED, metrics.delivered),
        one(&names::RETRIED, metrics.retried),
        one(&names::RATE_LIMITED, metrics.rate_limited),
        one(&names::ERRORS, metrics.errors),
        (&names::QUEUE, states.map(recorded).to_vec()),
        (&names::QUEUE_OLDEST, vec![recorded(queue.oldest_ms)]),
        (&names::PERSIST_LAG, vec![waiting(metrics.persist_lag_ms)]),
        (&names::BACKLOG_ENTRIES, vec![waiting(metrics.backlog.entries)]),
        (&names::BACKLOG_BYTES, vec![waiting(metrics.backlog.bytes)]),
        (&names::CONNECTIONS, vec![recorded(metrics.connections)]),
        (&names::ONLINE_USERS, vec![recorded(metrics.online_users)]),
        // Without any Redis, none is away.
        flag(&names::DEGRADED, metrics.degraded && !instances.is_empty()),
        flag(&names::DATABASE_HEALTHY, metrics.database.healthy),
        (&names::ACCEPT, percentiles(&latency.accept_ms)),
        (&names::DELIVER, percentiles(&latency.deliver_ms)),
        one(&names::REDIS_AWAY, away as u64),
        (&names::REDIS_MEMORY, vec![fullest]),
        one(&names::REDIS_WARNINGS, warnings as u64),
    ]
}

/// How full an instance is; `None` if its memory is not bounded or not known.
fn memory_percent(instance: &Instance) -> Option<f64> {
    let max_bytes = instance.server.max_memory_bytes.filter(|max_bytes| *max_bytes > 0)?;
    Some(100.0 * instance.server.used_memory_bytes? as f64 / max_bytes as f64)
}

fn line(namespace: &'static str, gauges: &[Gauge]) -> String {
    let mut members = Map::new();
    for (metric, values) in gauges {
        for (name, value) in metric.cloud_watch.iter().zip(values) {
            if let Some(value) = value {
                members.insert((*name).to_owned(), Value::from(*value));
            }
        }
    }
    let known = gauges.iter().filter(|(_, values)| values.iter().any(Option::is_some));
    let directive = Directive::of_deployment(namespace, known.map(|(metric, _)| *metric));
    cloud_watch::line("metrics", &[directive], &members)
}
