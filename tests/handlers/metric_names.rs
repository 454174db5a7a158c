//! OpenMetrics and CloudWatch have the metrics of the one list, and no others.

use harness::{TestApp, event, request};
use lambda_http::Body;
use shared::telemetry::gauges::gauges;
use shared::telemetry::health::{Instance, Status, Warning, WarningName};
use shared::telemetry::metrics::metrics;
use shared::telemetry::names::{ALL, MOMENT_WAIT, Metric, PUSH_WAIT, RECORD_WAIT, SERVER_ERRORS};

/// What invocations publish, and the drain does not.
const OF_INVOCATIONS: [Metric; 4] = [RECORD_WAIT, MOMENT_WAIT, PUSH_WAIT, SERVER_ERRORS];

#[tokio::test]
async fn openmetrics_has_every_metric_of_the_list_with_its_meaning() {
    let test = TestApp::new().await;
    let mut asking = event("metrics");
    asking["headers"]["authorization"] = test.bearer("ops", "notify:admin").into();
    asking["requestContext"]["routeKey"] = "ANY /metrics".into();
    let answer = ::metrics::handle(&test.app, request(asking)).await;
    let Body::Text(text) = answer.into_body() else { panic!("the answer has no text") };
    let found: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP carillon_")).collect();
    let listed = ALL.iter().filter_map(|metric| Some(format!("{} {}", metric.open_metrics?, metric.meaning)));
    assert_eq!(found, listed.collect::<Vec<_>>());
}

#[tokio::test]
async fn cloud_watch_has_every_metric_of_the_list_with_a_value_for_each_name() {
    let test = TestApp::new().await;
    let gauges = gauges(&metrics(&test.app).await, &Status::Ok);
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
    let gauges = gauges(&metrics, &health);
    let value = |name: &str| gauges.iter().find(|(metric, _)| metric.cloud_watch == [name]).unwrap().1[0];
    assert_eq!(
        [value("redisAway"), value("redisMemoryPercent"), value("redisWarnings")],
        [Some(1.0), Some(75.0), Some(2.0)]
    );
}
