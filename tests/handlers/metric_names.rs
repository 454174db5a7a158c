//! OpenMetrics and CloudWatch have the metrics of the one list, and no others.

use harness::{TestApp, event, invoke};
use lambda_http::Body;
use shared::telemetry::gauges::{Gauge, gauges};
use shared::telemetry::health::{Instance, Persistence, Status, Warning, WarningName};
use shared::telemetry::metrics::metrics;
use shared::telemetry::names::{ALL, MOMENT_WAIT, Metric, PUSH_WAIT, QUEUE, RECORD_WAIT, SERVER_ERRORS};

/// What invocations publish, and the drain does not.
const OF_INVOCATIONS: [Metric; 4] = [RECORD_WAIT, MOMENT_WAIT, PUSH_WAIT, SERVER_ERRORS];

#[tokio::test]
async fn openmetrics_has_every_metric_of_the_list_with_its_meaning() {
    let test = TestApp::new().await;
    let mut asking = event("metrics");
    asking["headers"]["authorization"] = test.bearer("ops", "notify:admin").into();
    asking["requestContext"]["routeKey"] = "ANY /metrics".into();
    let answer = invoke(&test.app, ::metrics::handle, asking).await;
    let Body::Text(text) = answer.into_body() else { panic!("the answer has no text") };
    let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP carillon_")).collect();
    let listed = ALL.iter().filter_map(|metric| Some(format!("{} {}", metric.open_metrics?, metric.meaning)));
    assert_eq!(found, listed.collect::<Vec<_>>());
}

#[tokio::test]
async fn cloud_watch_has_every_metric_of_the_list_with_a_value_for_each_name() {
    let test = TestApp::new().await;
    let gauges = gauges(&metrics(&test.app).await, &Status::Ok, false);
    let mut published: Vec<&str> = gauges.iter().flat_map(|(metric, _)| metric.cloud_watch).copied().collect();
    published.extend(OF_INVOCATIONS.iter().flat_map(|metric| metric.cloud_watch));
    let listed: Vec<&str> = ALL.iter().flat_map(|metric| metric.cloud_watch).copied().collect();
    assert_eq!(published, listed);
    for (metric, values) in &gauges {
        assert_eq!(metric.cloud_watch.len(), values.len(), "{metric:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_redis_is_counted_over_all_instances() {
    let test = TestApp::new().await;
    let mut metrics = metrics(&test.app).await;
    let instance = metrics.redis.instances.pop().unwrap();
    let with_memory = |used, max| {
        let mut instance = instance.clone();
        (instance.server.used_memory_bytes, instance.server.max_memory_bytes) = (Some(used), max);
        instance
    };
    let away = Instance { healthy: false, ..with_memory(9, None) };
    metrics.redis.instances = vec![with_memory(50, Some(200)), with_memory(150, Some(200)), away];
    let warning = |name| Warning { instance: "redis-1".into(), name, text: String::new() };
    let health = Status::Warned(vec![warning(WarningName::Memory), warning(WarningName::EvictionPolicy)]);
    let of_redis = gauges(&metrics, &health, false);
    assert_eq!(
        ["redisAway", "redisMemoryPercent", "redisWarnings", "degraded"].map(|name| value(&of_redis, name)),
        [Some(1.0), Some(75.0), Some(2.0), Some(0.0)]
    );
    metrics.redis.instances[0].server.persistence = Some(Persistence::Snapshots);
    assert_eq!(value(&gauges(&metrics, &health, false), "redisWarnings"), Some(2.0));
    assert_eq!(value(&gauges(&metrics, &health, true), "redisWarnings"), Some(3.0));
}

#[tokio::test]
async fn what_a_store_that_is_away_would_know_has_no_value() {
    let test = TestApp::new().await;
    let mut metrics = metrics(&test.app).await;
    metrics.database.healthy = false;
    metrics.degraded = true;
    for instance in &mut metrics.redis.instances {
        instance.healthy = false;
    }
    let gauges_away = gauges(&metrics, &Status::Unavailable, false);
    for name in ["queueOldestMs", "persistLagMs", "backlogEntries", "connections", "onlineUsers"] {
        assert_eq!(value(&gauges_away, name), None, "{name}");
    }
    let queue = gauges_away.iter().find(|(metric, _)| *metric == &QUEUE).unwrap();
    assert_eq!(queue.1, [None; 4]);
    assert_eq!((value(&gauges_away, "databaseHealthy"), value(&gauges_away, "degraded")), (Some(0.0), Some(1.0)));
    // Without any Redis, none is away.
    metrics.redis.instances.clear();
    let without_redis = gauges(&metrics, &Status::Off, false);
    assert_eq!((value(&without_redis, "degraded"), value(&without_redis, "persistLagMs")), (Some(0.0), Some(0.0)));
}

/// The value of a metric that has one name.
fn value(gauges: &[Gauge], name: &str) -> Option<f64> {
    gauges.iter().find(|(metric, _)| metric.cloud_watch == [name]).unwrap().1[0]
}
