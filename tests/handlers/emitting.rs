//! Emitted events: to whom they are pushed, in the call or by the drain, and who hears of them by syncing.

use std::sync::Arc;
use std::time::Duration;

use drain::Drained;
use harness::{HttpAnswer, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::emit::KEPT_MS;
use shared::moment::none::NoMoment;

async fn emits(test: &TestApp, scope: &str, payload: Value) -> HttpAnswer {
    let mut emitting = event("emit");
    emitting["headers"]["authorization"] = test.bearer("ops", scope).into();
    emitting["body"] = payload.to_string().into();
    invoke(&test.app, emit::handle, emitting).await
}

/// The id of an event that was accepted.
fn accepted(answer: &HttpAnswer) -> Value {
    assert_eq!(answer.status(), 202, "{}", body(answer));
    body(answer)["eventId"].clone()
}

fn refused(answer: &HttpAnswer) -> (u16, Value) {
    (answer.status().as_u16(), body(answer)["error"]["code"].clone())
}

async fn drains(test: &TestApp) -> Drained {
    // As late as possible: it does what is due and does not wait for more.
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await
}

/// The connections that a frame was pushed to since the last call, in order of their names.
fn told(test: &TestApp) -> Vec<String> {
    let mut told: Vec<String> = test.push.taken().into_iter().map(|(connection, _)| connection).collect();
    told.sort();
    told
}

async fn syncs(test: &TestApp, name: &str, tag: Option<&str>) -> HttpAnswer {
    let mut syncing = event("sync");
    syncing["headers"]["authorization"] = test.bearer(name, "").into();
    syncing["rawQueryString"] = "".into();
    syncing["queryStringParameters"] = json!({});
    if let Some(tag) = tag {
        syncing["headers"]["if-none-match"] = tag.into();
    }
    invoke(&test.app, inbox::handle, syncing).await
}

#[tokio::test]
async fn an_event_for_a_few_users_is_pushed_in_the_call_to_each_of_their_devices() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "tab"]).await;
    test.connect("bob", &["tablet"]).await;
    test.connect("carol", &["laptop"]).await;
    let payload = json!({"type": "dashboard", "name": "sales", "title": "Sales", "body": "Up", "data": {"n": 0.1},
        "userIds": ["alice", "bob", "dave"]});
    let id = accepted(&emits(&test, "notify:send", payload).await);
    let frames = test.push.taken();
    let expected =
        json!({"type": "dashboard", "id": id, "name": "sales", "title": "Sales", "body": "Up", "data": {"n": 0.1}});
    assert!(frames.iter().all(|(_, frame)| *frame == expected), "{frames:?}");
    let mut connections: Vec<String> = frames.into_iter().map(|(connection, _)| connection).collect();
    connections.sort();
    assert_eq!(connections, ["phone", "tab", "tablet"]);
    // What is absent is null, and `data` an object.
    accepted(&emits(&test, "notify:send", json!({"type": "system", "userIds": ["carol"]})).await);
    let (_, frame) = test.push.taken().pop().unwrap();
    assert_eq!((&frame["name"], &frame["title"], &frame["data"]), (&Value::Null, &Value::Null, &json!({})));
}

#[tokio::test]
async fn an_event_for_all_is_pushed_by_the_drain_in_pages() {
    let test = TestApp::new().await;
    let names: Vec<String> = (0..110).map(|n| format!("user {n:03}")).collect();
    let mut all = Vec::new();
    for name in &names {
        let connections: Vec<String> = (0..10).map(|n| format!("{name} {n}")).collect();
        let connections: Vec<&str> = connections.iter().map(String::as_str).collect();
        test.connect(name, &connections).await;
        all.extend(connections.into_iter().map(str::to_owned));
    }
    accepted(&emits(&test, "notify:admin", json!({"type": "announcement", "title": "Maintenance"})).await);
    assert!(told(&test).is_empty(), "the call itself pushes to no one");
    test.clock.advance(Duration::from_millis(1));
    test.connect("late", &["late"]).await;
    test.record.round_trips();
    while told(&test).len() < 1_000 {
        drains(&test).await;
    }
    drains(&test).await;
    drains(&test).await;
    // 1,100 connections are two pages.
    assert_eq!(told(&test).len(), 0);
}

#[tokio::test]
async fn an_event_for_many_users_is_pushed_by_the_drain() {
    let test = TestApp::new().await;
    let names: Vec<String> = (0..250).map(|n| format!("user {n:03}")).collect();
    for name in &names {
        test.connect(name, &[name]).await;
    }
    test.connect("other", &["other"]).await;
    accepted(&emits(&test, "notify:send", json!({"type": "system", "userIds": names})).await);
    assert!(told(&test).is_empty(), "the call itself pushes to no one");
    drains(&test).await;
    assert_eq!(told(&test), names);
    assert_eq!(body(&syncs(&test, "user 249", None).await)["events"][0]["type"], "system");
}

#[tokio::test]
async fn without_the_moment_the_call_pushes_to_all_and_nothing_is_kept() {
    let mut test = TestApp::new().await;
    test.uses_moment(Arc::new(NoMoment::default()));
    let names: Vec<String> = (0..30).map(|n| format!("user {n:03}")).collect();
    for name in &names {
        test.connect(name, &[name]).await;
    }
    accepted(&emits(&test, "notify:send", json!({"type": "system", "userIds": names})).await);
    assert_eq!(told(&test), names);
    accepted(&emits(&test, "notify:admin", json!({"type": "system"})).await);
    assert_eq!(told(&test), names);
    assert_eq!(body(&syncs(&test, "user 000", None).await)["events"], json!([]));
}

#[tokio::test]
async fn a_sync_lists_the_events_of_five_minutes() {
    let test = TestApp::new().await;
    let to_alice = json!({"type": "system", "title": "first", "userIds": ["alice"]});
    accepted(&emits(&test, "notify:send", to_alice).await);
    test.clock.advance(Duration::from_secs(1));
    accepted(&emits(&test, "notify:admin", json!({"type": "announcement", "title": "second"})).await);
    drains(&test).await;
    let titles = async |name| {
        let sync = body(&syncs(&test, name, None).await);
        let titles = sync["events"].as_array().unwrap().iter().map(|event| event["title"].clone());
        titles.collect::<Vec<_>>()
    };
    assert_eq!(
        (titles("alice").await, titles("bob").await),
        (vec![json!("first"), json!("second")], vec![json!("second")])
    );
    test.clock.advance(Duration::from_millis(KEPT_MS.unsigned_abs() - 1_000));
    assert_eq!(titles("alice").await, [json!("second")]);
    test.clock.advance(Duration::from_secs(1));
    assert_eq!(titles("alice").await, Vec::<Value>::new());
}

#[tokio::test]
async fn only_the_second_part_of_the_etag_changes_with_an_event() {
    let test = TestApp::new().await;
    let tag = |answer: &HttpAnswer| answer.headers()["etag"].to_str().unwrap().to_owned();
    let before = tag(&syncs(&test, "alice", None).await);
    assert_eq!(syncs(&test, "alice", Some(&before)).await.status(), 304);
    accepted(&emits(&test, "notify:send", json!({"type": "system", "userIds": ["alice"]})).await);
    let answer = syncs(&test, "alice", Some(&before)).await;
    assert_eq!(answer.status(), 200);
    let after = tag(&answer);
    let parts = |tag: &str| tag.trim_matches('"').split('.').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((parts(&before).len(), &parts(&before)[0]), (2, &parts(&after)[0]));
    assert_ne!(parts(&before)[1], parts(&after)[1]);
    assert_eq!(syncs(&test, "alice", Some(&after)).await.status(), 304);
    // While the moment is away, the first part decides.
    let mut away = test.app.clone();
    away.moment.emitted = Arc::new(NoMoment::default());
    let mut syncing = event("sync");
    syncing["headers"]["authorization"] = test.bearer("alice", "").into();
    syncing["rawQueryString"] = "".into();
    syncing["queryStringParameters"] = json!({});
    for (tag, status) in [(after.as_str(), 304), (before.as_str(), 304), ("\"other.0\"", 200)] {
        syncing["headers"]["if-none-match"] = tag.into();
        assert_eq!(invoke(&away, inbox::handle, syncing.clone()).await.status(), status, "{tag}");
    }
}

#[tokio::test]
async fn a_repeat_is_pushed_once() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let payload = json!({"type": "system", "userIds": ["alice"], "idempotencyKey": "k"});
    let first = accepted(&emits(&test, "notify:send", payload.clone()).await);
    assert_eq!(told(&test), ["phone"]);
    assert_eq!(accepted(&emits(&test, "notify:send", payload.clone()).await), first);
    assert!(told(&test).is_empty());
    let other = json!({"type": "system", "userIds": ["alice"], "idempotencyKey": "l"});
    assert_ne!(accepted(&emits(&test, "notify:send", other).await), first);
    assert_eq!(told(&test), ["phone"]);
}

#[tokio::test]
async fn who_may_emit_follows_from_whom_it_is_for() {
    let test = TestApp::new().await;
    let (named, all) = (json!({"type": "system", "userIds": ["alice"]}), json!({"type": "system"}));
    for (scope, payload, status) in [
        ("", &named, 403),
        ("", &all, 403),
        ("notify:send", &named, 202),
        ("notify:send", &all, 403),
        ("notify:admin", &named, 403),
        ("notify:admin", &all, 202),
        ("notify:send notify:admin", &named, 202),
    ] {
        assert_eq!(emits(&test, scope, payload.clone()).await.status(), status, "{scope:?} {payload}");
    }
}

#[tokio::test]
async fn a_bad_event_is_refused_and_reaches_no_one() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let invalid = (422, json!("validation_failed"));
    for payload in [
        json!({"userIds": ["alice"]}),
        json!({"type": "message", "userIds": ["alice"]}),
        json!({"type": "system", "userIds": []}),
        json!({"type": "system", "userIds": "alice"}),
        json!({"type": "system", "userIds": null}),
        json!({"type": "system", "userIds": [""]}),
        json!({"type": "system", "userIds": (0..1_001).map(|n| format!("u{n}")).collect::<Vec<_>>()}),
        json!({"type": "system", "userIds": ["alice"], "name": ""}),
        json!({"type": "system", "userIds": ["alice"], "name": "x".repeat(65)}),
        json!({"type": "system", "userIds": ["alice"], "title": " "}),
        json!({"type": "system", "userIds": ["alice"], "title": "x".repeat(201)}),
        json!({"type": "system", "userIds": ["alice"], "body": "x".repeat(4_001)}),
        json!({"type": "system", "userIds": ["alice"], "data": []}),
        json!({"type": "system", "userIds": ["alice"], "data": {"x": "\u{0}"}}),
        json!({"type": "system", "userIds": ["alice"], "idempotencyKey": "a b"}),
        json!({"type": "system", "userIds": ["alice"], "priority": "high"}),
    ] {
        assert_eq!(refused(&emits(&test, "notify:send", payload.clone()).await), invalid, "{payload}");
    }
    for bytes in [33 * 1_024, 200 * 1_024] {
        let large = json!({"type": "system", "userIds": ["alice"], "data": {"x": "x".repeat(bytes)}});
        assert_eq!(refused(&emits(&test, "notify:send", large).await), (413, json!("payload_too_large")));
    }
    assert!(told(&test).is_empty());
    // As large as a frame may be, to the byte: the type, the id and the members around `data` take 114 bytes.
    let largest = json!({"type": "system", "userIds": ["alice"], "data": {"x": "x".repeat(32 * 1_024 - 114)}});
    accepted(&emits(&test, "notify:send", largest).await);
    let (_, frame) = test.push.taken().pop().unwrap();
    assert_eq!(frame.to_string().len(), 32 * 1_024);
    let larger = json!({"type": "system", "userIds": ["alice"], "data": {"x": "x".repeat(32 * 1_024 - 113)}});
    assert_eq!(refused(&emits(&test, "notify:send", larger).await), (413, json!("payload_too_large")));
}
