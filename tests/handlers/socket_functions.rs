//! The functions behind the WebSocket API.

use std::time::Duration;

use harness::{TestApp, body, event, invoke, socket_event};
use serde_json::{Value, json};
use shared::http::reply::SocketReply;
use shared::ids::ConnectionId;

const CONNECTION: &str = "PJqB0fHsqRcCHlw=";

fn answer(reply: &SocketReply) -> (u64, Value) {
    let reply = serde_json::to_value(reply).unwrap();
    let body = reply["body"].as_str().map(|text| serde_json::from_str(text).unwrap()).unwrap_or_default();
    (reply["statusCode"].as_u64().unwrap(), body)
}

async fn ticket(test: &TestApp) -> Value {
    let mut http_event = event("ticket");
    http_event["headers"]["authorization"] = test.bearer("alice", "").into();
    body(&invoke(&test.app, tickets::handle, http_event).await)["ticket"].clone()
}

async fn connect(test: &TestApp, ticket: &Value) -> (u64, Value) {
    let mut opening = event("connect");
    opening["queryStringParameters"]["ticket"] = ticket.clone();
    opening["multiValueQueryStringParameters"]["ticket"] = json!([ticket]);
    answer(&connect::handle(&test.app, socket_event(opening)).await)
}

#[tokio::test]
async fn a_socket_is_opened_used_and_closed() {
    let test = TestApp::new().await;
    let ticket = ticket(&test).await;
    assert_eq!(connect(&test, &ticket).await, (200, Value::Null));
    let (status, pong) = answer(&message::handle(&test.app, socket_event(event("message"))).await);
    assert_eq!((status, &pong["type"], &pong["ref"]), (200, &json!("pong"), &json!("1")));
    disconnect::handle(&test.app, socket_event(event("disconnect"))).await;
    assert_eq!(test.app.record.connections.find(&ConnectionId::new(CONNECTION)).await.unwrap(), None);
}

#[tokio::test]
async fn a_handshake_without_a_valid_ticket_gets_the_documented_error() {
    let test = TestApp::new().await;
    let (status, refusal) = connect(&test, &json!("an unknown ticket")).await;
    assert_eq!((status, &refusal["error"]["code"]), (401, &json!("invalid_ticket")));
    assert_eq!(refusal["error"]["requestId"], "PJqCFEqHqRcFd0w=");
    let mut other_origin = event("connect");
    other_origin["queryStringParameters"]["ticket"] = ticket(&test).await;
    other_origin["headers"]["Origin"] = "https://evil.example.com".into();
    let (status, refusal) = answer(&connect::handle(&test.app, socket_event(other_origin)).await);
    assert_eq!((status, &refusal["error"]["code"]), (403, &json!("origin_not_allowed")));
}

#[tokio::test]
async fn a_frame_from_an_unknown_connection_closes_it() {
    let test = TestApp::new().await;
    let reply = message::handle(&test.app, socket_event(event("message"))).await;
    assert_eq!(answer(&reply), (200, Value::Null));
    let frames = test.push.taken();
    assert_eq!((frames[0].0.as_str(), &frames[0].1["code"]), (CONNECTION, &json!("invalid_ticket")));
    assert_eq!(frames[0].1["ref"], "1");
    assert_eq!(test.push.closed(), [CONNECTION]);
}

/// An app whose connections may send three frames a minute.
async fn with_few_frames() -> TestApp {
    let mut test = TestApp::new().await;
    let mut config = (*test.app.config).clone();
    config.rate_limit_frames = "3/60s".parse().unwrap();
    test.app.config = config.into();
    test
}

async fn sends_frame(test: &TestApp) -> Value {
    answer(&message::handle(&test.app, socket_event(event("message"))).await).1
}

/// Sends many frames, which cost nothing and are not answered.
async fn is_ignored(test: &TestApp) {
    test.record.round_trips();
    test.push.taken();
    let closed = test.push.closed().len();
    for _ in 0..100 {
        assert_eq!(sends_frame(test).await, Value::Null);
    }
    assert_eq!((test.record.round_trips(), test.push.taken().len(), test.push.closed().len()), (0, 0, closed));
}

#[tokio::test]
async fn a_connection_over_its_rate_is_told_once_a_second_and_closed_once() {
    let test = with_few_frames().await;
    test.connect("alice", &[CONNECTION]).await;
    for _ in 0..3 {
        assert_eq!(sends_frame(&test).await["type"], "pong");
    }
    for _ in 0..5 {
        assert_eq!(sends_frame(&test).await["code"], "rate_limited");
        is_ignored(&test).await;
        test.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(sends_frame(&test).await, Value::Null);
    let last = test.push.taken();
    assert_eq!((last.len(), &last[0].1["code"]), (1, &json!("rate_limited")));
    assert_eq!(test.push.closed(), [CONNECTION]);
    is_ignored(&test).await;
    assert_eq!(test.app.record.connections.find(&ConnectionId::new(CONNECTION)).await.unwrap(), None);
}

#[tokio::test]
async fn another_process_that_sees_a_flood_neither_asks_the_record_for_each_frame_nor_tells_again() {
    let test = with_few_frames().await;
    test.connect("alice", &[CONNECTION]).await;
    for _ in 0..4 {
        sends_frame(&test).await;
    }
    // A sandbox of its own: only the moment is shared.
    let mut other = test.app.clone();
    other.flood = std::sync::Arc::default();
    test.record.round_trips();
    for _ in 0..100 {
        let reply = message::handle(&other, socket_event(event("message"))).await;
        assert_eq!(answer(&reply).1, Value::Null);
    }
    assert!(test.record.round_trips() <= 1);
}

#[tokio::test]
async fn further_frames_of_a_connection_that_was_refused_cost_nothing() {
    let test = TestApp::new().await;
    assert_eq!(sends_frame(&test).await, Value::Null);
    assert_eq!(test.push.taken()[0].1["code"], "invalid_ticket");
    is_ignored(&test).await;
}

#[tokio::test]
async fn an_error_frame_is_small_however_large_the_frame() {
    let test = TestApp::new().await;
    test.connect("alice", &[CONNECTION]).await;
    let members: serde_json::Map<String, Value> = (0..2_000).map(|n| (format!("m{n}"), Value::Null)).collect();
    let mut frame = event("message");
    frame["body"] =
        json!({"action": "ping", "ref": "🔔".repeat(64), "ids": vec!["x"; 9], "more": members}).to_string().into();
    let mut flat = members.clone();
    flat.insert("action".into(), "ping".into());
    for body in [frame["body"].clone(), Value::Object(flat).to_string().into()] {
        frame["body"] = body;
        let reply = serde_json::to_value(message::handle(&test.app, socket_event(frame.clone())).await).unwrap();
        let reply = reply["body"].as_str().unwrap();
        assert!(reply.contains("validation_failed") && reply.len() <= 4_096, "{} bytes", reply.len());
    }
}
