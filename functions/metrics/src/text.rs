//! Metrics as OpenMetrics text, version 1.0.0 (`https://github.com/prometheus/OpenMetrics`). Written by hand: every
//! number is read from a store, so a registry would have no counters to hold.

use std::fmt::{Display, Write};

use shared::telemetry::health::{BreakerState, Instance, Server};
use shared::telemetry::metrics::{Metrics, Percentiles};
use shared::telemetry::names::{self, Metric};

/// The content type of OpenMetrics text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics as OpenMetrics text. Counts over a window and current states are gauges, because they can fall; a
/// latency is a summary with its quantiles. Units are those of the format: seconds and bytes.
pub(crate) fn open_metrics(metrics: &Metrics) -> String {
    let mut text = Text::default();
    text.gauge(&names::ACCEPTED, metrics.accepted);
    text.gauge(&names::DELIVERED, metrics.delivered);
    text.gauge(&names::RETRIED, metrics.retried);
    text.gauge(&names::RATE_LIMITED, metrics.rate_limited);
    text.gauge(&names::ERRORS, metrics.errors);
    let queue = &metrics.queue;
    let states = [
        ("waiting", queue.waiting),
        ("processing", queue.processing),
        ("delayed", queue.delayed),
        ("dead_letters", queue.dead_letters),
    ];
    let states = states.map(|(state, count)| (vec![("state", state)], count));
    text.family(&names::QUEUE, "gauge", states);
    text.gauge(&names::QUEUE_OLDEST, seconds(queue.oldest_ms));
    text.gauge(&names::PERSIST_LAG, seconds(metrics.persist_lag_ms));
    text.gauge(&names::BACKLOG_ENTRIES, metrics.backlog.entries);
    text.gauge(&names::BACKLOG_BYTES, metrics.backlog.bytes);
    text.gauge(&names::CONNECTIONS, metrics.connections);
    text.gauge(&names::ONLINE_USERS, metrics.online_users);
    text.gauge(&names::DEGRADED, u8::from(metrics.degraded));
    let healthy = (vec![("kind", metrics.database.kind)], u8::from(metrics.database.healthy));
    text.family(&names::DATABASE_HEALTHY, "gauge", [healthy]);
    text.latency(&names::ACCEPT, metrics.latency.accept_ms);
    text.latency(&names::DELIVER, metrics.latency.deliver_ms);
    instances(&mut text, &metrics.redis.instances);
    text.0.push_str("# EOF\n");
    text.0
}

/// The metrics of each Redis instance. Request counts belong to the answering process and start at 0 with each process.
fn instances(text: &mut Text, instances: &[Instance]) {
    let named = |instance: &Instance, value: u64| (vec![("instance", instance.name.clone())], value);
    let healthy = instances.iter().map(|instance| named(instance, u64::from(instance.healthy)));
    text.family(&names::REDIS_HEALTHY, "gauge", healthy);
    let states = [(BreakerState::Closed, "closed"), (BreakerState::Open, "open"), (BreakerState::Probing, "probing")];
    let breakers = instances.iter().flat_map(|instance| {
        states.map(|(state, name)| {
            let labels = vec![("instance", instance.name.clone()), ("carillon_redis_breaker", name.to_owned())];
            (labels, u8::from(instance.breaker == state))
        })
    });
    text.family(&names::REDIS_BREAKER, "stateset", breakers);
    let operations = instances.iter().map(|instance| named(instance, instance.operations));
    text.family(&names::REDIS_OPERATIONS, "gauge", operations);
    let errors = instances.iter().map(|instance| named(instance, instance.errors));
    text.family(&names::REDIS_ERRORS, "gauge", errors);
    let latencies = instances.iter().flat_map(|instance| {
        [("0.5", instance.p50_ms), ("0.99", instance.p99_ms)].map(|(quantile, ms)| {
            (vec![("instance", instance.name.clone()), ("quantile", quantile.to_owned())], ms / 1_000.0)
        })
    });
    text.family(&names::REDIS_LATENCY, "summary", latencies);
    let shares = instances.iter().map(|instance| (vec![("instance", instance.name.clone())], instance.share));
    text.family(&names::REDIS_SHARE, "gauge", shares);
    let servers = |number: fn(&Server) -> Option<f64>| {
        let known = instances.iter().filter_map(move |instance| Some((instance, number(&instance.server)?)));
        known.map(|(instance, number)| (vec![("instance", instance.name.clone())], number))
    };
    for (metric, number) in SERVER_GAUGES {
        text.family(metric, "gauge", servers(*number));
    }
}

/// What Redis reports about itself: the gauge, and its number.
type ServerGauge = (Metric, fn(&Server) -> Option<f64>);

const SERVER_GAUGES: &[ServerGauge] = &[
    (names::REDIS_USED_MEMORY, |server| float(server.used_memory_bytes)),
    (names::REDIS_MAX_MEMORY, |server| float(server.max_memory_bytes)),
    (names::REDIS_FRAGMENTATION, |server| server.fragmentation),
    (names::REDIS_CLIENTS, |server| float(server.clients)),
    (names::REDIS_MAX_CLIENTS, |server| float(server.max_clients)),
    (names::REDIS_REPLICATION_LAG, |server| server.replication_lag_ms.map(seconds)),
];

fn float(number: Option<u64>) -> Option<f64> {
    number.map(|number| number as f64)
}

#[derive(Default)]
struct Text(String);

impl Text {
    /// A metric with one value.
    fn gauge(&mut self, metric: &Metric, value: impl Display) {
        self.family(metric, "gauge", [(Vec::<(&str, &str)>::new(), value)]);
    }

    fn latency(&mut self, metric: &Metric, Percentiles { p50, p99 }: Percentiles) {
        let quantiles = [("0.5", p50), ("0.99", p99)].map(|(quantile, ms)| (vec![("quantile", quantile)], seconds(ms)));
        self.family(metric, "summary", quantiles);
    }

    /// A metric with one value for each set of labels; nothing if it is for CloudWatch only.
    fn family<L: Display, V: Display>(
        &mut self,
        metric: &Metric,
        kind: &str,
        values: impl IntoIterator<Item = (Vec<(&'static str, L)>, V)>,
    ) {
        let Some(name) = metric.open_metrics else { return };
        let (name, text) = (format!("carillon_{name}"), &mut self.0);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE {name} {kind}");
        if let Some(unit) = metric.unit.open_metrics() {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {}", escaped(metric.meaning));
        for (labels, value) in values {
            let labels = labels.into_iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(&value.to_string())));
            let labels: Vec<String> = labels.collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
