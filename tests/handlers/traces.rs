//! The trace of a call goes with what the call leaves to the drain: a line of the drain has its id.

use std::time::Duration;

use harness::{HttpAnswer, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::ids::ChatId;
use shared::sockets::push::Outcome;

use crate::accepting_fast::chat;
use crate::invocations::Log;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A recorded event with this body, from this user and with a trace.
fn traced(test: &TestApp, name: &str, user: &str, payload: &Value) -> Value {
    let mut event = event(name);
    event["headers"]["authorization"] = test.bearer(user, "notify:send notify:admin").into();
    event["headers"]["traceparent"] = format!("00-{TRACE}-b7ad6b7169203331-01").into();
    event["body"] = payload.to_string().into();
    event
}

async fn sends(test: &TestApp, payload: &Value) -> HttpAnswer {
    let sent = invoke(&test.app, send::handle, traced(test, "send", "billing", payload)).await;
    assert_eq!(sent.status(), 202, "{}", body(&sent));
    sent
}

async fn says(test: &TestApp, chat: ChatId, accept: &str) -> HttpAnswer {
    let payload = json!({"clientId": "1", "body": "Hi", "accept": accept});
    let mut saying = traced(test, "chat", "alice", &payload);
    let route = "ANY /api/chats/{id}/messages";
    (saying["routeKey"], saying["requestContext"]["routeKey"]) = (route.into(), route.into());
    saying["pathParameters"] = json!({"id": chat.to_string()});
    let said = invoke(&test.app, chats::handle, saying).await;
    assert_eq!(said.status(), 201, "{}", body(&said));
    said
}

/// What a run of the drain has pushed of the trace, and how much of it at once.
async fn drained(test: &TestApp, log: &Log) -> Vec<(String, u64)> {
    log.taken();
    // As late as possible: it does what is due and does not wait for more.
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    let text = log.taken();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["fields"].take());
    let pushed = lines.filter(|line| line["traceId"] == TRACE).map(|line| {
        let what = line["what"].as_str().unwrap_or_else(|| panic!("{text}"));
        (what.to_owned(), line["count"].as_u64().unwrap())
    });
    pushed.collect()
}

fn pushed(what: &str, count: u64) -> Vec<(String, u64)> {
    vec![(what.to_owned(), count)]
}

#[tokio::test]
async fn of_a_send_whose_push_has_failed() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    let (log, _guard) = Log::start();
    sends(&test, &json!({"type": "like", "title": "Hi", "userId": "alice"})).await;
    assert!(log.taken().contains(&format!(r#""traceId":"{TRACE}""#)));
    test.clock.advance(Duration::from_secs(1));
    assert_eq!(drained(&test, &log).await, pushed("notifications", 1));
    assert!(drained(&test, &log).await.is_empty());
}

#[tokio::test]
async fn of_a_send_whose_push_the_queue_has_lost() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    let (log, _guard) = Log::start();
    sends(&test, &json!({"type": "like", "title": "Hi", "userId": "alice"})).await;
    test.clock.advance(Duration::from_secs(10));
    assert_eq!(drained(&test, &log).await, pushed("notifications", 1));
}

#[tokio::test]
async fn of_a_delayed_send() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let (log, _guard) = Log::start();
    sends(&test, &json!({"type": "like", "title": "Hi", "userId": "alice", "delayMs": 60_000})).await;
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(drained(&test, &log).await, pushed("notifications", 1));
}

#[tokio::test]
async fn of_a_send_to_250_recipients() {
    let test = TestApp::new().await;
    let names: Vec<String> = (0..250).map(|n| format!("user {n:03}")).collect();
    for name in ["user 000", "user 248", "user 249"] {
        test.connect(name, &[name]).await;
    }
    let (log, _guard) = Log::start();
    sends(&test, &json!({"type": "like", "title": "Hi", "userIds": names})).await;
    assert_eq!(test.push.taken().len(), 1);
    assert_eq!(drained(&test, &log).await, pushed("notifications", 2));
}

#[tokio::test]
async fn of_a_fast_accept() {
    let mut test = TestApp::new().await;
    test.accepts_fast().await;
    test.connect("alice", &["phone"]).await;
    let (log, _guard) = Log::start();
    let sent = sends(&test, &json!({"type": "like", "title": "Hi", "userId": "alice", "accept": "fast"})).await;
    assert_eq!(body(&sent)["durability"], "redis");
    assert_eq!(drained(&test, &log).await, pushed("notifications", 1));
}

#[tokio::test]
async fn of_an_event_for_all() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let (log, _guard) = Log::start();
    let emitting = traced(&test, "emit", "ops", &json!({"type": "announcement", "title": "Hi"}));
    assert_eq!(invoke(&test.app, emit::handle, emitting).await.status(), 202);
    assert_eq!(drained(&test, &log).await, pushed("event", 1));
}

#[tokio::test]
async fn of_a_message_whose_push_has_failed() {
    let test = TestApp::new().await;
    let chat = chat(&test).await;
    test.connect("bob", &["tablet"]).await;
    test.push.will("tablet", &[Outcome::Failed]);
    let (log, _guard) = Log::start();
    says(&test, chat, "durable").await;
    test.clock.advance(Duration::from_secs(10));
    assert_eq!(drained(&test, &log).await, pushed("messages", 1));
}

#[tokio::test]
async fn of_a_message_that_was_accepted_fast() {
    let mut test = TestApp::new().await;
    test.accepts_fast().await;
    let chat = chat(&test).await;
    test.connect("bob", &["tablet"]).await;
    let (log, _guard) = Log::start();
    let said = says(&test, chat, "fast").await;
    assert_eq!(body(&said)["durability"], "redis");
    assert_eq!(drained(&test, &log).await, pushed("messages", 1));
}
