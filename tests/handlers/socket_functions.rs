//! The functions behind the WebSocket API.

use harness::{TestApp, body, event, request, socket_event};
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
    body(&tickets::handle(&test.app, request(http_event)).await)["ticket"].clone()
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
