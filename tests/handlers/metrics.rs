//! The metrics that operators read: exact counts, also after failures and while a store is unavailable.

use std::sync::Arc;
use std::time::Duration;

use harness::redis_server::RedisServer;
use harness::{HttpAnswer, TestApp, body, event, invoke, socket_event};
use lambda_http::Body;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::ids::NotificationId;
use shared::moment::none::NoMoment;
use shared::moment::redis::RedisMoment;
use shared::sockets::push::Outcome;
use shared::telemetry::PushAttempt;

async fn get(test: &TestApp, path: &str, scope: &str, query: &str) -> HttpAnswer {
    let mut http_event = event("metrics");
    http_event["headers"]["authorization"] = test.bearer("ops", scope).into();
    http_event["requestContext"]["routeKey"] = format!("ANY {path}").into();
    http_event["rawPath"] = path.into();
    http_event["rawQueryString"] = query.into();
    invoke(&test.app, metrics::handle, http_event).await
}

async fn metrics_json(test: &TestApp) -> Value {
    let answer = get(test, "/api/notifications/metrics/redis", "notify:admin", "").await;
    assert_eq!(answer.status(), 200, "{answer:?}");
    body(&answer)
}

/// The numbers of accepted, delivered, retried and rate-limited notifications, and of errors.
async fn counts(test: &TestApp) -> [u64; 5] {
    let metrics = metrics_json(test).await;
    ["accepted", "delivered", "retried", "rateLimited", "errors"].map(|name| metrics[name].as_u64().unwrap())
}

async fn metrics_text(test: &TestApp) -> String {
    let answer = get(test, "/metrics", "notify:admin", "").await;
    let content_type = answer.headers()["content-type"].to_str().unwrap();
    assert_eq!(content_type, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    match answer.into_body() {
        Body::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// Sends to these users; returns the answer.
async fn send(test: &TestApp, users: &[&str], key: Option<&str>) -> HttpAnswer {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    let mut payload = json!({"type": "like", "userIds": users, "title": "Hi"});
    if let Some(key) = key {
        payload["idempotencyKey"] = key.into();
    }
    sending["body"] = payload.to_string().into();
    invoke(&test.app, send::handle, sending).await
}

/// The id of the first notification of a send.
fn first(answer: &HttpAnswer) -> NotificationId {
    NotificationId::parse(body(answer)["notifications"][0]["id"].as_str().unwrap()).unwrap()
}

async fn outcomes(test: &TestApp, id: NotificationId) -> Vec<(String, Outcome)> {
    let pushed = test.app.moment.telemetry.outcomes(id, test.app.clock.at()).await.unwrap();
    pushed.into_iter().map(|PushAttempt { connection, outcome, .. }| (connection.to_string(), outcome)).collect()
}

/// Runs a drain that has no time to linger.
async fn drains(test: &TestApp) {
    assert!(!drain::handle(&test.app, test.clock.now_ms() + 10_000).await.failed);
}

fn with_rate(test: &mut TestApp, rate: &str) {
    let mut config = shared::config::Config::clone(&test.app.config);
    config.rate_limit_send = rate.parse().unwrap();
    test.app.config = Arc::new(config);
}

#[tokio::test]
async fn every_metric_is_present_and_zero_before_the_first_event() {
    let test = TestApp::new().await;
    let memory = json!({
        "name": "memory", "healthy": true, "share": 1.0, "operations": 1, "errors": 0, "p50Ms": 0.0, "p99Ms": 0.0,
        "breaker": "closed", "lastError": null, "version": null, "role": null, "usedMemoryBytes": null,
        "maxMemoryBytes": null, "fragmentation": null, "evictionPolicy": null, "clients": null, "maxClients": null,
        "persistence": null, "replicationLagMs": null,
    });
    let expected = json!({
        "queue": { "waiting": 0, "processing": 0, "delayed": 0, "deadLetters": 0, "oldestMs": 0 },
        "accepted": 0, "delivered": 0, "retried": 0, "rateLimited": 0, "errors": 0,
        "connections": 0, "onlineUsers": 0, "persistLagMs": 0, "degraded": false,
        "backlog": { "entries": 0, "bytes": 0 },
        "redis": { "mode": "memory", "instances": [memory] },
        "database": { "healthy": true, "kind": "sqlite" },
        "latency": { "acceptMs": { "p50": 0, "p99": 0 }, "deliverMs": { "p50": 0, "p99": 0 } },
    });
    assert_eq!(metrics_json(&test).await, expected);
}

#[tokio::test]
async fn only_admins_may_read_metrics_and_unknown_parameters_are_refused() {
    let test = TestApp::new().await;
    for path in ["/api/notifications/metrics/redis", "/metrics"] {
        for scope in ["", "notify:send"] {
            let refused = get(&test, path, scope, "").await;
            assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["code"]), (403, &json!("forbidden")));
        }
        let refused = get(&test, path, "notify:admin", "since=1").await;
        assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["fields"]), (422, &json!(["since"])));
        let mut anonymous = event("metrics");
        anonymous["requestContext"]["routeKey"] = format!("ANY {path}").into();
        let refused = invoke(&test.app, metrics::handle, anonymous.clone()).await;
        assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["code"]), (401, &json!("token_missing")));
        anonymous["requestContext"]["http"]["method"] = "POST".into();
        let refused = invoke(&test.app, metrics::handle, anonymous).await;
        assert_eq!((refused.status().as_u16(), &refused.headers()["allow"]), (405, &"GET".parse().unwrap()));
    }
    assert_eq!(counts(&test).await, [0; 5]);
}

#[tokio::test]
async fn sends_count_as_accepted_and_those_to_connected_users_as_delivered() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.connect("bob", &["tablet"]).await;
    let sent = send(&test, &["alice", "bob", "carol"], Some("1")).await;
    assert_eq!(counts(&test).await, [3, 2, 0, 0, 0]);
    let offered = |connection: &str| (connection.to_owned(), Outcome::Offered);
    assert_eq!(outcomes(&test, first(&sent)).await, [offered("laptop"), offered("phone")]);
    // Neither a repeat nor a refused send is counted.
    assert_eq!(send(&test, &["alice", "bob", "carol"], Some("1")).await.status(), 202);
    assert_eq!(send(&test, &["dave"], Some("1")).await.status(), 422);
    assert_eq!(send(&test, &[], None).await.status(), 422);
    assert_eq!(counts(&test).await, [3, 2, 0, 0, 0]);
    let metrics = metrics_json(&test).await;
    assert_eq!((&metrics["connections"], &metrics["onlineUsers"]), (&json!(3), &json!(2)));
    assert_eq!(metrics["queue"]["waiting"], 0);
    // The counts cover the last hour.
    test.clock.advance(Duration::from_secs(3_600));
    assert_eq!(counts(&test).await, [0; 5]);
}

#[tokio::test]
async fn a_failed_push_counts_as_waiting_then_as_retried_and_then_as_delivered() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[Outcome::Failed, Outcome::Failed]);
    let sent = send(&test, &["alice"], None).await;
    assert_eq!(counts(&test).await, [1, 0, 0, 0, 0]);
    test.clock.advance(Duration::from_secs(6));
    let queue = metrics_json(&test).await["queue"].clone();
    let expected = json!({ "waiting": 1, "processing": 0, "delayed": 0, "deadLetters": 0, "oldestMs": 1_000 });
    assert_eq!(queue, expected);
    drains(&test).await;
    assert_eq!(counts(&test).await, [1, 0, 1, 0, 0]);
    test.clock.advance(Duration::from_secs(5));
    drains(&test).await;
    let metrics = metrics_json(&test).await;
    assert_eq!(counts(&test).await, [1, 1, 2, 0, 0]);
    assert_eq!((&metrics["queue"]["waiting"], &metrics["queue"]["oldestMs"]), (&json!(0), &json!(0)));
    // 11 s, as precisely as the histogram's buckets allow.
    assert_eq!(metrics["latency"]["deliverMs"], json!({ "p50": 10_751, "p99": 10_751 }));
    let pushed = test.app.moment.telemetry.outcomes(first(&sent), test.app.clock.at()).await.unwrap();
    let (begun_ms, outcome) = (pushed[0].at_ms, |n: usize| (pushed[n].connection.as_str(), pushed[n].outcome));
    let times: Vec<i64> = pushed.iter().map(|push| push.at_ms - begun_ms).collect();
    assert_eq!(times, [0, 0, 6_000, 6_000, 11_000, 11_000]);
    let found = [outcome(1), outcome(3), outcome(4), outcome(5)];
    let [failed, offered] = [Outcome::Failed, Outcome::Offered];
    assert_eq!(found, [("phone", failed), ("phone", failed), ("laptop", offered), ("phone", offered)]);
}

#[tokio::test]
async fn a_notification_that_reaches_no_connection_is_not_counted_as_delivered() {
    let test = TestApp::new().await;
    test.connect("alice", &["gone"]).await;
    test.clock.advance(Duration::from_secs(10));
    test.push.will("gone", &[Outcome::Gone]);
    let sent = send(&test, &["alice"], None).await;
    assert_eq!(counts(&test).await, [1, 0, 0, 0, 0]);
    assert_eq!(outcomes(&test, first(&sent)).await, [("gone".to_owned(), Outcome::Gone)]);
    let metrics = metrics_json(&test).await;
    assert_eq!((&metrics["queue"]["waiting"], &metrics["connections"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn each_refused_recipient_is_counted_once() {
    let mut test = TestApp::new().await;
    with_rate(&mut test, "1/60s");
    send(&test, &["alice"], Some("1")).await;
    send(&test, &["alice", "bob"], Some("2")).await;
    assert_eq!(counts(&test).await, [2, 0, 0, 1, 0]);
    let refused = send(&test, &["alice", "bob"], Some("3")).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(counts(&test).await, [2, 0, 0, 3, 0]);
    // A repeat gets the first answer even though the recipient is at its limit, so nothing is refused.
    for key in ["1", "1"] {
        assert_eq!(send(&test, &["alice"], Some(key)).await.status(), 202);
    }
    assert_eq!(counts(&test).await, [2, 0, 0, 3, 0]);
}

#[tokio::test]
async fn recipients_in_waiting_chunks_are_counted_until_the_drain_delivers_them() {
    let test = TestApp::new().await;
    test.connect("user-0", &["first"]).await;
    test.connect("user-999", &["last"]).await;
    let users: Vec<String> = (0..1_000).map(|n| format!("user-{n}")).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    send(&test, &users, None).await;
    assert_eq!(counts(&test).await, [1_000, 1, 0, 0, 0]);
    assert_eq!(metrics_json(&test).await["queue"]["waiting"], 800);
    drains(&test).await;
    assert_eq!(counts(&test).await, [1_000, 2, 0, 0, 0]);
    assert_eq!(metrics_json(&test).await["queue"]["waiting"], 0);
}

#[tokio::test]
async fn without_the_database_errors_are_counted_and_metrics_are_still_answered() {
    let test = TestApp::new().await;
    test.connect("alice", &["PJqB0fHsqRcCHlw="]).await;
    send(&test, &["alice"], None).await;
    test.record.goes_away().await;
    // Five errors: send, list, ticket, health and a frame.
    assert_eq!(send(&test, &["alice"], None).await.status(), 503);
    for name in ["list", "ticket"] {
        let mut http_event = event(name);
        http_event["headers"]["authorization"] = test.bearer("alice", "").into();
        let answer = match name {
            "list" => invoke(&test.app, inbox::handle, http_event).await,
            _ => invoke(&test.app, tickets::handle, http_event).await,
        };
        assert_eq!(answer.status(), 503, "{name}");
    }
    assert_eq!(invoke(&test.app, health::handle, event("health")).await.status(), 503);
    let reply = message::handle(&test.app, socket_event(event("message"))).await;
    assert!(serde_json::to_string(&reply).unwrap().contains("store_unavailable"));
    let metrics = metrics_json(&test).await;
    assert_eq!(counts(&test).await, [1, 1, 0, 0, 5]);
    assert_eq!(
        (&metrics["database"], &metrics["degraded"]),
        (&json!({"healthy": false, "kind": "sqlite"}), &json!(false))
    );
    let queue = json!({ "waiting": 0, "processing": 0, "delayed": 0, "deadLetters": 0, "oldestMs": 0 });
    assert_eq!((&metrics["queue"], &metrics["connections"], &metrics["onlineUsers"]), (&queue, &json!(0), &json!(0)));
}

#[tokio::test]
async fn mistakes_of_callers_are_not_counted_as_errors() {
    let test = TestApp::new().await;
    test.connect("alice", &["PJqB0fHsqRcCHlw="]).await;
    let mut wrong = event("message");
    wrong["body"] = "{".into();
    let reply = message::handle(&test.app, socket_event(wrong)).await;
    assert!(serde_json::to_string(&reply).unwrap().contains("invalid_json"));
    assert_eq!(invoke(&test.app, |_, request| notfound::handle(request), event("notfound")).await.status(), 404);
    assert_eq!(send(&test, &[], None).await.status(), 422);
    assert_eq!(counts(&test).await, [0; 5]);
}

#[tokio::test]
async fn without_redis_counts_are_zero_and_marked_as_degraded() {
    let mut server = RedisServer::start();
    let mut test = TestApp::new().await;
    let config = server.config("carillon");
    let moment = RedisMoment::with_timeout(&config, Clock::system(), Duration::from_secs(5)).unwrap();
    let moment = Arc::new(moment);
    (test.app.moment.limits, test.app.moment.telemetry, test.app.moment.health) =
        (moment.clone(), moment.clone(), moment);
    test.connect("alice", &["phone"]).await;
    send(&test, &["alice"], None).await;
    assert_eq!(counts(&test).await, [1, 1, 0, 0, 0]);
    let before = metrics_json(&test).await;
    let instance = &before["redis"]["instances"][0];
    assert_eq!((&before["degraded"], &before["redis"]["mode"]), (&json!(false), &json!("single")));
    assert_eq!((&instance["name"], &instance["role"]), (&json!("redis-1"), &json!("primary")));

    server.is_killed();
    assert_eq!(send(&test, &["alice"], None).await.status(), 202);
    let during = metrics_json(&test).await;
    assert_eq!(
        (&during["degraded"], &during["accepted"], &during["connections"]),
        (&json!(true), &json!(0), &json!(1))
    );
    let instance = &during["redis"]["instances"][0];
    assert_eq!((&instance["healthy"], &instance["role"]), (&json!(false), &Value::Null));
    assert!(instance["breaker"] != "closed" && instance["lastError"].is_string(), "{instance}");
    assert!(!during.to_string().contains("127.0.0.1") && !during.to_string().contains(&server.port().to_string()));
    assert!(metrics_text(&test).await.contains("\ncarillon_degraded 1\n"));
}

#[tokio::test]
async fn a_deployment_without_redis_reports_that_it_counts_nothing() {
    let mut test = TestApp::new().await;
    let moment = Arc::new(NoMoment::default());
    (test.app.moment.limits, test.app.moment.telemetry, test.app.moment.health) =
        (moment.clone(), moment.clone(), moment);
    send(&test, &["alice"], None).await;
    let metrics = metrics_json(&test).await;
    assert_eq!((&metrics["degraded"], &metrics["accepted"]), (&json!(true), &json!(0)));
    assert_eq!(metrics["redis"], json!({ "mode": "memory", "instances": [] }));
}

/// Splits a line of OpenMetrics into its name, its unparsed labels and its value.
fn sample(line: &str) -> (&str, &str, f64) {
    let (name, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = match name.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap()),
        None => (name, ""),
    };
    (name, labels, value.parse().unwrap())
}

#[tokio::test]
async fn the_text_is_valid_openmetrics_and_has_the_values_of_the_json() {
    let mut test = TestApp::new().await;
    with_rate(&mut test, "1/60s");
    test.connect("alice", &["phone"]).await;
    send(&test, &["alice", "bob"], None).await;
    send(&test, &["alice"], None).await;
    let text = metrics_text(&test).await;
    let lines: Vec<&str> = text.strip_suffix("# EOF\n").expect("it ends with the marker").lines().collect();
    let (mut family, mut kinds, mut values) = (String::new(), Vec::new(), Vec::new());
    for line in lines {
        if let Some(described) = line.strip_prefix("# ") {
            let [word, name, rest] = described.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            match word {
                "TYPE" => {
                    assert!(["gauge", "summary", "stateset"].contains(&rest), "{line}");
                    assert!(!kinds.contains(&name.to_owned()), "{name} appears twice");
                    name.clone_into(&mut family);
                    kinds.push(family.clone());
                }
                "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{line}"),
                "HELP" => assert!(!rest.is_empty(), "{line}"),
                _ => panic!("{line}"),
            }
            assert_eq!(name, family, "{line}");
            continue;
        }
        let (name, labels, value) = sample(line);
        assert_eq!(name, family, "{line}");
        assert!(name.starts_with("carillon_") && value >= 0.0, "{line}");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (_, value) = label.split_once("=\"").unwrap();
            assert!(value.ends_with('"'), "{line}");
        }
        values.push((format!("{name} {labels}"), value));
    }
    for (name, value) in [
        ("carillon_accepted_last_hour ", 2.0),
        ("carillon_delivered_last_hour ", 1.0),
        ("carillon_rate_limited_last_hour ", 1.0),
        ("carillon_errors_last_hour ", 0.0),
        ("carillon_connections ", 1.0),
        ("carillon_queue state=\"waiting\"", 0.0),
        ("carillon_degraded ", 0.0),
        ("carillon_database_healthy kind=\"sqlite\"", 1.0),
        ("carillon_accept_seconds quantile=\"0.99\"", 0.0),
        ("carillon_redis_breaker instance=\"memory\",carillon_redis_breaker=\"closed\"", 1.0),
        ("carillon_redis_breaker instance=\"memory\",carillon_redis_breaker=\"open\"", 0.0),
    ] {
        assert!(values.contains(&(name.to_owned(), value)), "{name} {value} not in {values:#?}");
    }
}
