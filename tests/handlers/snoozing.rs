//! Snoozes: what the call answers, what devices are told, and when the drain ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drain::Drained;
use harness::{HttpAnswer, START_MS, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::clock::Time;
use shared::delivery::wake::Wake;
use shared::inbox::snooze::MAX_SNOOZE_MS;
use shared::sockets::push::Outcome;

use crate::sending::sends;

const RETENTION_MS: i64 = 90 * 24 * 60 * 60 * 1_000;

/// Calls the inbox as this user.
async fn calls(test: &TestApp, user: &str, method: &str, route: &str, id: &str, payload: &str) -> HttpAnswer {
    let mut call = event(if method == "GET" { "sync" } else { "read" });
    let path = route.replace("{id}", id);
    call["routeKey"] = format!("ANY {route}").into();
    call["requestContext"]["routeKey"] = format!("ANY {route}").into();
    call["requestContext"]["http"]["method"] = method.into();
    (call["rawPath"], call["rawQueryString"]) = (path.into(), "".into());
    call["pathParameters"] = json!({"id": id});
    call["headers"]["authorization"] = test.bearer(user, "").into();
    call["body"] = payload.into();
    invoke(&test.app, inbox::handle, call).await
}

/// Snoozes alice's notification until this many milliseconds after the beginning.
async fn snoozes(test: &TestApp, id: &str, until_ms: i64) -> HttpAnswer {
    let payload = json!({"until": Time(START_MS + until_ms).to_string()}).to_string();
    calls(test, "alice", "POST", "/api/notifications/{id}/snooze", id, &payload).await
}

/// Sends to alice; returns the id.
async fn rings(test: &TestApp, members: Value) -> String {
    let sent = sends(test, members).await;
    assert_eq!(sent.status(), 202, "{sent:?}");
    body(&sent)["notifications"][0]["id"].as_str().unwrap().to_owned()
}

async fn lists(test: &TestApp) -> Value {
    body(&calls(test, "alice", "GET", "/api/notifications", "", "").await)
}

/// Runs a drain that has no time to linger.
async fn drains(test: &TestApp) -> Drained {
    let drained = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert!(!drained.failed);
    drained
}

async fn advance_to(test: &TestApp, after_ms: i64) {
    let by_ms = START_MS + after_ms - test.clock.now_ms();
    test.clock.advance(Duration::from_millis(by_ms.unsigned_abs()));
}

/// The code, and the fields that it names.
fn refusal(answer: &HttpAnswer) -> (u16, Value) {
    (answer.status().as_u16(), body(answer)["error"]["fields"].clone())
}

#[tokio::test]
async fn a_snoozed_notification_leaves_every_device_and_rings_at_its_time() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    let id = rings(&test, json!({})).await;
    let arrival = test.push.taken()[0].1.clone();
    assert_eq!(snoozes(&test, &id, 600_000).await.status(), 204);
    let frames = test.push.taken();
    assert_eq!(frames.len(), 2);
    for (_, changed) in &frames {
        assert_eq!((&changed["type"], &changed["change"]), (&json!("changed"), &json!("snoozed")));
        assert_eq!((&changed["ids"], &changed["unreadCount"]), (&json!([id]), &json!(0)));
        assert_eq!(changed["prev"], arrival["cursor"]);
    }
    for (method, route) in [
        ("GET", "/api/notifications/{id}"),
        ("POST", "/api/notifications/{id}/read"),
        ("POST", "/api/notifications/{id}/unread"),
    ] {
        assert_eq!(calls(&test, "alice", method, route, &id, "").await.status(), 404, "{method} {route}");
    }
    assert_eq!((&lists(&test).await["items"], &lists(&test).await["unreadCount"]), (&json!([]), &json!(0)));
    // Another time is told to no device.
    assert_eq!(snoozes(&test, &id, 300_000).await.status(), 204);
    assert_eq!(test.push.taken(), []);

    advance_to(&test, 299_999).await;
    assert_eq!(drains(&test).await, Drained::default());
    advance_to(&test, 300_000).await;
    assert_eq!(drains(&test).await, Drained { unsnoozed: 1, ..Drained::default() });
    let rung = test.push.taken();
    assert_eq!(rung.len(), 2);
    for (_, frame) in &rung {
        assert_eq!((&frame["type"], &frame["prev"]), (&json!("notification"), &frames[0].1["cursor"]));
        let notification = &frame["notification"];
        assert_eq!((&notification["id"], &notification["readAt"]), (&json!(id), &Value::Null));
        assert_eq!((&notification["cursor"], &frame["unreadCount"]), (&frame["cursor"], &json!(1)));
        assert_eq!(notification["createdAt"], arrival["notification"]["createdAt"]);
    }
    assert_eq!(lists(&test).await["items"][0], rung[0].1["notification"]);
    advance_to(&test, 900_000).await;
    assert_eq!(drains(&test).await, Drained::default(), "it was offered");
}

#[tokio::test]
async fn what_is_no_time_or_too_late_is_refused() {
    let test = TestApp::new().await;
    let id = rings(&test, json!({})).await;
    let expiring = rings(&test, json!({"expiresAt": Time(START_MS + 60_000).to_string()})).await;
    for payload in [
        r#"{}"#,
        r#"{"until":null}"#,
        r#"{"until":1800000600000}"#,
        r#"{"until":""}"#,
        r#"{"until":"tomorrow"}"#,
        r#"{"until":"2027-01-15"}"#,
        r#"{"until":"2027-01-15T09:00:00"}"#,
        r#"{"until":"99999-01-01T00:00:00Z"}"#,
        r#"{"until":"9999-12-31T23:59:59Z"}"#,
    ] {
        let refused = calls(&test, "alice", "POST", "/api/notifications/{id}/snooze", &id, payload).await;
        assert_eq!(refusal(&refused), (422, json!(["until"])), "{payload}");
    }
    for (id, until_ms) in [
        (&id, RETENTION_MS),
        (&id, MAX_SNOOZE_MS),
        (&id, MAX_SNOOZE_MS + 1),
        (&expiring, 60_000),
        (&expiring, RETENTION_MS),
    ] {
        assert_eq!(refusal(&snoozes(&test, id, until_ms).await), (422, json!(["until"])), "{until_ms}");
    }
    assert_eq!(lists(&test).await["items"].as_array().map(Vec::len), Some(2));
    for (id, until_ms) in [(&id, RETENTION_MS - 1), (&expiring, 59_999)] {
        assert_eq!(snoozes(&test, id, until_ms).await.status(), 204);
    }
    let unknown = r#"{"until":"2027-01-15T09:00:00Z","forMs":1}"#;
    let refused = calls(&test, "alice", "POST", "/api/notifications/{id}/snooze", &id, unknown).await;
    assert_eq!(refusal(&refused), (422, json!(["forMs"])));
    let refused = calls(&test, "alice", "POST", "/api/notifications/{id}/snooze", &id, "").await;
    assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["code"]), (400, &json!("invalid_json")));
    let allowed = calls(&test, "alice", "GET", "/api/notifications/{id}/snooze", &id, "").await;
    assert_eq!((allowed.status().as_u16(), allowed.headers()["allow"].to_str().unwrap()), (405, "POST"));
}

#[tokio::test]
async fn only_its_owner_can_snooze_it_and_only_while_it_is_there() {
    let test = TestApp::new().await;
    let id = rings(&test, json!({})).await;
    let deleted = rings(&test, json!({})).await;
    assert_eq!(calls(&test, "alice", "DELETE", "/api/notifications/{id}", &deleted, "").await.status(), 204);
    let payload = json!({"until": Time(START_MS + 600_000).to_string()}).to_string();
    for (user, id) in [
        ("mallory", id.as_str()),
        ("alice", &deleted),
        ("alice", "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1"),
        ("alice", "7"),
        ("alice", &id.to_uppercase()),
    ] {
        let refused = calls(&test, user, "POST", "/api/notifications/{id}/snooze", id, &payload).await;
        assert_eq!((refused.status().as_u16(), &body(&refused)["error"]["code"]), (404, &json!("not_found")), "{id}");
    }
    assert_eq!(lists(&test).await["items"][0]["id"], json!(id));
}

#[tokio::test]
async fn what_is_deleted_while_it_is_snoozed_does_not_come_back() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let id = rings(&test, json!({})).await;
    snoozes(&test, &id, 600_000).await;
    test.push.taken();
    for _ in 0..2 {
        assert_eq!(calls(&test, "alice", "DELETE", "/api/notifications/{id}", &id, "").await.status(), 204);
    }
    assert_eq!(test.push.taken(), [], "devices know it as deleted");
    assert_eq!(snoozes(&test, &id, 700_000).await.status(), 404);
    advance_to(&test, 700_000).await;
    assert_eq!(drains(&test).await, Drained::default());
}

/// Counts how often the drain is woken.
struct Counting(AtomicUsize);

#[async_trait]
impl Wake for Counting {
    async fn wake_drain(&self, _: bool) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_snooze_that_ends_within_a_minute_wakes_the_drain() {
    let mut test = TestApp::new().await;
    // Without a queue, nobody knows whether a drain is awake.
    test.loses_its_queue();
    let wake = Arc::new(Counting(AtomicUsize::new(0)));
    test.app.wake = Some(wake.clone());
    let id = rings(&test, json!({})).await;
    for (until_ms, woken) in [(60_001, 0), (60_000, 1), (30_000, 1), (-1, 1), (60_001, 0)] {
        assert_eq!(snoozes(&test, &id, until_ms).await.status(), 204);
        assert_eq!(wake.0.swap(0, Ordering::Relaxed), woken, "{until_ms}");
    }
    assert_eq!(snoozes(&test, "d9a24cc6-f5c2-8bb7-a2a6-3e0d1d39d4b1", 1).await.status(), 404);
    assert_eq!(wake.0.load(Ordering::Relaxed), 0);
}

/// Real time passes for a drain to run, while the clock does not advance. Returns the ids that are pushed meanwhile.
async fn waits(test: &TestApp) -> Vec<Value> {
    let mut ids = Vec::new();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        ids.extend(test.push.taken().into_iter().map(|(_, frame)| frame["notification"]["id"].clone()));
    }
    ids
}

#[tokio::test]
async fn a_waiting_drain_hears_of_a_snooze_and_ends_it_in_time() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let [first, last, between] =
        [rings(&test, json!({})).await, rings(&test, json!({})).await, rings(&test, json!({})).await];
    snoozes(&test, &first, -1).await;
    snoozes(&test, &last, 50_000).await;
    test.push.taken();
    let app = test.app.clone();
    let draining = tokio::spawn(async move { drain::handle(&app, START_MS + 90_000).await });
    let mut rung = Vec::new();
    while rung.is_empty() {
        rung = waits(&test).await;
    }
    assert_eq!(rung, [json!(first)]);
    // The drain waits for the last one.
    waits(&test).await;
    snoozes(&test, &between, 20_000).await;
    test.push.taken();
    for (now_ms, id) in [(20_000, &between), (50_000, &last)] {
        advance_to(&test, now_ms).await;
        let mut rung = Vec::new();
        while rung.is_empty() {
            rung = waits(&test).await;
        }
        assert_eq!(rung, [json!(id)]);
    }
    assert_eq!(draining.await.unwrap().unsnoozed, 3);
}

#[tokio::test]
async fn a_failed_push_of_what_comes_back_is_retried_as_any() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone"]).await;
    let id = rings(&test, json!({})).await;
    snoozes(&test, &id, 600_000).await;
    test.push.taken();
    advance_to(&test, 600_000).await;
    test.push.will("phone", &[Outcome::Failed, Outcome::Failed]);
    assert_eq!(drains(&test).await.unsnoozed, 1);
    assert_eq!(test.push.taken().len(), 1);
    for (now_ms, pushed) in [(604_999, 0), (605_000, 1), (609_999, 0), (610_000, 1), (900_000, 0)] {
        advance_to(&test, now_ms).await;
        assert_eq!((drains(&test).await.pushed, test.push.taken().len()), (pushed, pushed), "{now_ms}");
    }
}

#[tokio::test]
async fn many_that_come_back_at_once_are_pushed_as_a_resync() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    for n in 0..6 {
        let id = rings(&test, json!({"title": n.to_string()})).await;
        snoozes(&test, &id, 600_000 + n).await;
    }
    test.push.taken();
    advance_to(&test, 700_000).await;
    let drained = drains(&test).await;
    assert_eq!((drained.unsnoozed, drained.resynced), (6, 1));
    assert_eq!(test.push.taken(), [("phone".to_owned(), json!({"type": "resync"}))]);
    let titles: Vec<Value> =
        lists(&test).await["items"].as_array().unwrap().iter().map(|item| item["title"].clone()).collect();
    assert_eq!(titles, ["5", "4", "3", "2", "1", "0"]);
}

#[tokio::test]
async fn what_was_accepted_fast_can_be_snoozed_at_once() {
    let mut test = TestApp::new().await;
    test.accepts_fast().await;
    let sent = body(&sends(&test, json!({"accept": "fast"})).await);
    assert_eq!(sent["durability"], "redis");
    let id = sent["notifications"][0]["id"].as_str().unwrap();
    assert_eq!(snoozes(&test, id, 600_000).await.status(), 204);
    assert_eq!(lists(&test).await["items"], json!([]));
    advance_to(&test, 600_000).await;
    assert_eq!(drains(&test).await.unsnoozed, 1);
    assert_eq!(lists(&test).await["items"][0]["id"], json!(id));
}

#[tokio::test]
async fn its_trace_stays_and_its_latency_counts_from_its_new_arrival() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let id = rings(&test, json!({})).await;
    test.clock.advance(Duration::from_millis(100));
    snoozes(&test, &id, 600_000).await;
    let trace = async || {
        let mut call = event("trace");
        call["headers"]["authorization"] = test.bearer("alice", "").into();
        (call["pathParameters"], call["rawQueryString"]) = (json!({"id": id}), "".into());
        let answer = invoke(&test.app, history::handle, call).await;
        assert_eq!(answer.status(), 200);
        let steps = body(&answer)["steps"].as_array().unwrap().clone();
        let name = |step: &Value| (step["step"].as_str().unwrap().to_owned(), step["at"].as_str().unwrap().to_owned());
        steps.iter().map(name).collect::<Vec<_>>()
    };
    let at = |name: &str, after_ms: i64| (name.to_owned(), Time(START_MS + after_ms).to_string());
    let first = [at("accepted", 0), at("pushed", 0)];
    assert_eq!(trace().await, [&first[..], &[at("offered", 0), at("snoozed", 100)]].concat());
    advance_to(&test, 600_050).await;
    assert_eq!(drains(&test).await.unsnoozed, 1);
    let second = [at("unsnoozed", 600_050), at("pushed", 600_050), at("offered", 600_050)];
    assert_eq!(trace().await, [&first[..], &second].concat());

    let mut call = event("metrics");
    call["headers"]["authorization"] = test.bearer("ops", "notify:admin").into();
    let metrics = body(&invoke(&test.app, metrics::handle, call).await);
    assert_eq!((&metrics["delivered"], &metrics["latency"]["deliverMs"]["p99"]), (&json!(2), &json!(0)));
}
