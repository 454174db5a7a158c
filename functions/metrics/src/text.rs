//! Metrics as OpenMetrics text, version 1.0.0 (`https://github.com/prometheus/OpenMetrics`). Written by hand: every
//! number is read from a store, so a registry would have no counters to hold.

use std::fmt::{Display, Write};

use shared::telemetry::health::{BreakerState, Instance, Server};
use shared::telemetry::metrics::{Metrics, Percentiles};

/// The content type of OpenMetrics text.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics as OpenMetrics text. Counts over a window and current states are gauges, because they can fall; a
/// latency is a summary with its quantiles. Units are those of the format: seconds and bytes.
pub(crate) fn open_metrics(metrics: &Metrics) -> String {
    let mut text = Text::default();
    for (name, count, help) in [
        ("accepted", metrics.accepted, "Notifications stored"),
        ("delivered", metrics.delivered, "Notifications delivered to every open connection of their user"),
        ("retried", metrics.retried, "Notifications pushed by the drain because an earlier attempt did not finish"),
        ("rate_limited", metrics.rate_limited, "Recipients refused because of a rate limit"),
        ("errors", metrics.errors, "Responses that reported a server error"),
    ] {
        text.gauge(&format!("{name}_last_hour"), &format!("{help}, in the last hour"), count);
    }
    let queue = &metrics.queue;
    let states = [
        ("waiting", queue.waiting),
        ("processing", queue.processing),
        ("delayed", queue.delayed),
        ("dead_letters", queue.dead_letters),
    ];
    let states = states.map(|(state, count)| (vec![("state", state)], count));
    text.family("queue", "gauge", "Notifications that are not delivered yet, by state", states);
    text.gauge("queue_oldest_seconds", "How long the oldest due work has been waiting", seconds(queue.oldest_ms));
    let lag = seconds(metrics.persist_lag_ms);
    text.gauge("persist_lag_seconds", "Longest time that data held only by Redis has waited for the database", lag);
    let [entries, bytes] = [metrics.backlog.entries, metrics.backlog.bytes];
    text.gauge("backlog_entries", "Sends and messages that only Redis has, and the database not yet", entries);
    text.gauge("backlog_bytes", "Their bytes in Redis", bytes);
    text.gauge("connections", "Open sockets", metrics.connections);
    text.gauge("online_users", "Users with an open socket", metrics.online_users);
    let degraded = u8::from(metrics.degraded);
    text.gauge("degraded", "Whether counts of the last hour are missing because Redis is away", degraded);
    let healthy = (vec![("kind", metrics.database.kind)], u8::from(metrics.database.healthy));
    text.family("database_healthy", "gauge", "Whether the database answered this scrape", [healthy]);
    let latency = &metrics.latency;
    text.latency("accept_seconds", "Time until the database stored a send, in the last hour", latency.accept_ms);
    text.latency("deliver_seconds", "Time from createdAt until a delivery, in the last hour", latency.deliver_ms);
    instances(&mut text, &metrics.redis.instances);
    text.0.push_str("# EOF\n");
    text.0
}

/// The metrics of each Redis instance. Request counts belong to the answering process and start at 0 with each process.
fn instances(text: &mut Text, instances: &[Instance]) {
    let named = |instance: &Instance, value: u64| (vec![("instance", instance.name.clone())], value);
    let healthy = instances.iter().map(|instance| named(instance, u64::from(instance.healthy)));
    text.family("redis_healthy", "gauge", "Whether Redis answered this scrape", healthy);
    let states = [(BreakerState::Closed, "closed"), (BreakerState::Open, "open"), (BreakerState::Probing, "probing")];
    let breakers = instances.iter().flat_map(|instance| {
        states.map(|(state, name)| {
            let labels = vec![("instance", instance.name.clone()), ("carillon_redis_breaker", name.to_owned())];
            (labels, u8::from(instance.breaker == state))
        })
    });
    text.family("redis_breaker", "stateset", "State of the circuit breaker for Redis", breakers);
    let operations = instances.iter().map(|instance| named(instance, instance.operations));
    text.family("redis_operations", "gauge", "Requests that this process has made to Redis", operations);
    let errors = instances.iter().map(|instance| named(instance, instance.errors));
    text.family("redis_errors", "gauge", "Requests of this process that Redis did not answer", errors);
    let latencies = instances.iter().flat_map(|instance| {
        [("0.5", instance.p50_ms), ("0.99", instance.p99_ms)].map(|(quantile, ms)| {
            (vec![("instance", instance.name.clone()), ("quantile", quantile.to_owned())], ms / 1_000.0)
        })
    });
    text.family("redis_seconds", "summary", "How long Redis took to answer this process", latencies);
    let shares = instances.iter().map(|instance| (vec![("instance", instance.name.clone())], instance.share));
    text.family(
        "redis_share_ratio",
        "gauge",
        "Share of users and chats that this process keeps in Redis there",
        shares,
    );
    let servers = |number: fn(&Server) -> Option<f64>| {
        let known = instances.iter().filter_map(move |instance| Some((instance, number(&instance.server)?)));
        known.map(|(instance, number)| (vec![("instance", instance.name.clone())], number))
    };
    for (name, help, number) in SERVER_GAUGES {
        text.family(name, "gauge", help, servers(*number));
    }
}

/// What Redis reports about itself: the name of the gauge, its help, and the number.
type ServerGauge = (&'static str, &'static str, fn(&Server) -> Option<f64>);

const SERVER_GAUGES: &[ServerGauge] = &[
    ("redis_used_memory_bytes", "Memory in use by Redis", |server| float(server.used_memory_bytes)),
    ("redis_max_memory_bytes", "Memory that Redis may use, if bounded", |server| float(server.max_memory_bytes)),
    ("redis_fragmentation_ratio", "Memory that Redis has of the system, to that in use", |server| server.fragmentation),
    ("redis_clients", "Connections to Redis, of all processes", |server| float(server.clients)),
    ("redis_max_clients", "Connections that Redis accepts", |server| float(server.max_clients)),
    ("redis_replication_lag_seconds", "How long ago replication last made progress", |server| {
        server.replication_lag_ms.map(seconds)
    }),
];

fn float(number: Option<u64>) -> Option<f64> {
    number.map(|number| number as f64)
}

#[derive(Default)]
struct Text(String);

impl Text {
    /// A metric with one value.
    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help, [(Vec::<(&str, &str)>::new(), value)]);
    }

    fn latency(&mut self, name: &str, help: &str, Percentiles { p50, p99 }: Percentiles) {
        let quantiles = [("0.5", p50), ("0.99", p99)].map(|(quantile, ms)| (vec![("quantile", quantile)], seconds(ms)));
        self.family(name, "summary", help, quantiles);
    }

    /// A metric with one value for each set of labels. Its unit is the suffix of its name, if that is a known unit.
    fn family<L: Display, V: Display>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        values: impl IntoIterator<Item = (Vec<(&'static str, L)>, V)>,
    ) {
        let (name, text) = (format!("carillon_{name}"), &mut self.0);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE {name} {kind}");
        if let Some(unit) = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}"))) {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {}", escaped(help));
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
