//! Messages on open sockets, and how sockets are closed.

use std::sync::Arc;

use bytes::Bytes;
use lambda_http::aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use serde_json::json;
use tokio::sync::{Barrier, Semaphore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::harness::{START_MS, Served, Socket};

#[tokio::test]
async fn a_message_becomes_an_event_without_headers() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    served.clock.advance(std::time::Duration::from_millis(1_500));
    alice.sends(r#"{"action":"tell","data":"hello"}"#).await;
    let mut event = served.socket.event().await;
    let typed: ApiGatewayWebsocketProxyRequest = serde_json::from_value(event.clone()).unwrap();
    assert_eq!(typed.request_context.route_key.as_deref(), Some("tell"));
    let context = &mut event["requestContext"];
    let (request_id, extended, message_id) =
        (context["requestId"].take(), context["extendedRequestId"].take(), context["messageId"].take());
    assert!(request_id == extended && request_id != message_id && message_id.as_str().unwrap().len() == 16);
    let expected = json!({
        "requestContext": {
            "routeKey": "tell", "messageId": null, "eventType": "MESSAGE", "extendedRequestId": null,
            "requestTime": "29/Nov/2023:08:04:03 +0000", "messageDirection": "IN", "stage": "live",
            "connectedAt": START_MS, "requestTimeEpoch": START_MS + 1_500, "identity": { "sourceIp": "127.0.0.1" },
            "requestId": null, "domainName": served.address().to_string(), "connectionId": alice.id, "apiId": "Ws",
        },
        "body": "{\"action\":\"tell\",\"data\":\"hello\"}",
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn only_a_two_way_route_sends_its_answer_to_the_client() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    served.socket.answers(json!({ "statusCode": 200, "body": "answered" }));
    alice.sends(r#"{"action":"tell"}"#).await;
    served.socket.event().await;
    alice.sends(r#"{"action":"ask"}"#).await;
    assert_eq!(alice.sees().await, "answered");
    for nothing in [json!({ "statusCode": 200, "body": "" }), json!({ "statusCode": 200 }), json!(null)] {
        served.socket.answers(nothing);
        alice.sends(r#"{"action":"ask"}"#).await;
        served.socket.event().await;
    }
    served.socket.answers(json!({ "body": "last" }));
    alice.sends(r#"{"action":"ask"}"#).await;
    assert_eq!(alice.sees().await, "last");
}

#[tokio::test]
async fn an_answer_over_128_kib_is_replaced_by_an_error_frame() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    for (length_bytes, is_sent) in [(128 * 1024, true), (128 * 1024 + 1, false)] {
        served.socket.answers(json!({ "body": "x".repeat(length_bytes) }));
        alice.sends(r#"{"action":"ask"}"#).await;
        let frame = alice.sees().await;
        assert_eq!(frame.len() == length_bytes, is_sent);
        assert_eq!(frame.starts_with(r#"{"message": "Internal server error""#), !is_sent);
    }
}

#[tokio::test]
async fn a_message_without_a_route_is_forbidden_and_the_connection_stays_open() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    for message in ["hello", r#"{"action":"unknown"}"#, r#"{"action":"$connect"}"#] {
        alice.sends(message).await;
        let frame = alice.sees().await;
        let start = format!(r#"{{"message": "Forbidden", "connectionId":"{}", "requestId":""#, alice.id);
        assert!(frame.starts_with(&start) && frame.ends_with("=\"}"), "{frame}");
    }
}

#[tokio::test]
async fn a_failed_function_sends_an_internal_server_error_frame() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    served.socket.fails();
    alice.sends(r#"{"action":"tell"}"#).await;
    let event = served.socket.event().await;
    let request_id = event["requestContext"]["requestId"].as_str().unwrap();
    let id = &alice.id;
    let frame = format!(r#"{{"message": "Internal server error", "connectionId":"{id}", "requestId":"{request_id}"}}"#);
    assert_eq!(alice.sees().await, frame);
}

#[tokio::test]
async fn messages_of_one_connection_are_handled_concurrently() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    let barrier = Arc::new(Barrier::new(3));
    served.socket.does(move |_| {
        let barrier = Arc::clone(&barrier);
        async move {
            barrier.wait().await;
            Ok(Bytes::from_static(br#"{"body":"together"}"#))
        }
    });
    for _ in 0..3 {
        alice.sends(r#"{"action":"ask"}"#).await;
    }
    for _ in 0..3 {
        assert_eq!(alice.sees().await, "together");
    }
}

/// Makes messages of the route `tell` wait for a permit, which each takes.
fn tell_waits_for(permits: &Arc<Semaphore>, served: &Served) {
    let permits = Arc::clone(permits);
    served.socket.does(move |event| {
        let permits = Arc::clone(&permits);
        async move {
            if event["requestContext"]["routeKey"] == "tell" {
                permits.acquire().await.unwrap().forget();
            }
            Ok(Bytes::from_static(br#"{"body":"answered"}"#))
        }
    });
}

/// Sends many messages at once and waits until 8 have arrived.
async fn floods(served: &Served, socket: &mut Socket, messages: usize) {
    for _ in 0..messages {
        socket.sends(r#"{"action":"tell"}"#).await;
    }
    for _ in 0..8 {
        assert_eq!(served.socket.event().await["requestContext"]["connectionId"], socket.id);
    }
}

/// Asserts that no message of another connection arrives while this one gets many answers.
async fn is_alone(served: &Served, socket: &mut Socket) {
    for _ in 0..20 {
        socket.sends(r#"{"action":"ask"}"#).await;
        assert_eq!(served.socket.event().await["requestContext"]["connectionId"], socket.id);
        assert_eq!(socket.sees().await, "answered");
    }
}

#[tokio::test]
async fn at_most_8_messages_of_a_connection_are_in_flight() {
    let served = Served::start().await;
    let (mut alice, mut bob) = (served.connects().await, served.connects().await);
    let permits = Arc::new(Semaphore::new(0));
    tell_waits_for(&permits, &served);
    floods(&served, &mut alice, 11).await;
    is_alone(&served, &mut bob).await;
    assert_eq!(served.pushes(&alice.id, "still written").await, 200);
    assert_eq!(alice.sees().await, "still written");
    for _ in 0..3 {
        permits.add_permits(1);
        assert_eq!(served.socket.event().await["requestContext"]["connectionId"], alice.id);
        is_alone(&served, &mut bob).await;
    }
}

#[tokio::test]
async fn a_function_outlives_the_timeout_of_its_route_and_its_message_is_in_flight_until_it_ends() {
    let tell = "tell: { FunctionArn: !GetAtt Socket.Arn";
    let template = include_str!("template.yaml").replace(tell, &format!("{tell}, IntegrationTimeout: 50"));
    let served = Served::start_with(&template, |options| options).await;
    let mut alice = served.connects().await;
    let permits = Arc::new(Semaphore::new(0));
    tell_waits_for(&permits, &served);
    floods(&served, &mut alice, 9).await;
    for _ in 0..8 {
        assert!(alice.sees().await.starts_with(r#"{"message": "Endpoint request timed out""#));
    }
    assert!(served.socket.has_no_events().await, "a message began although 8 functions are still running");
    permits.add_permits(1);
    assert_eq!(served.socket.event().await["requestContext"]["connectionId"], alice.id);
}

#[tokio::test]
async fn a_connection_that_is_not_read_is_closed_by_the_gateway_at_once() {
    let served = Served::start().await;
    let (mut alice, mut bob) = (served.connects().await, served.connects().await);
    tell_waits_for(&Arc::new(Semaphore::new(0)), &served);
    floods(&served, &mut alice, 20).await;
    assert_eq!(served.management("DELETE", &alice.id).send().await.status, 204);
    assert_eq!(alice.sees_close().await.0, 1000);
    assert_eq!(served.socket.event().await["requestContext"]["disconnectStatusCode"], 1000);

    floods(&served, &mut bob, 20).await;
    served.clock.advance(std::time::Duration::from_secs(600));
    assert_eq!(bob.sees_close().await.0, 1001);
    assert_eq!(served.socket.event().await["requestContext"]["disconnectStatusCode"], 1001);
}

#[tokio::test]
async fn disconnect_follows_when_a_client_leaves_that_is_not_read() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    let permits = Arc::new(Semaphore::new(0));
    tell_waits_for(&permits, &served);
    floods(&served, &mut alice, 11).await;
    alice.closes(None).await;
    permits.add_permits(11);
    let mut codes = Vec::new();
    for _ in 0..4 {
        codes.push(served.socket.event().await["requestContext"]["disconnectStatusCode"].as_u64());
    }
    assert_eq!(codes, [None, None, None, Some(1005)]);
}

#[tokio::test]
async fn a_ping_is_answered() {
    let served = Served::start().await;
    let mut alice = served.connects().await;
    alice.sends_message(Message::Ping("beat".into())).await;
    alice.sees_pong().await;
}

#[tokio::test]
async fn disconnect_receives_the_code_and_reason_of_the_client() {
    let served = Served::start().await;
    let with_status = CloseFrame { code: 4001.into(), reason: "finished".into() };
    for (frame, code, reason) in
        [(Some(with_status), 4001, "finished"), (None, 1005, "Client-side close frame status not set")]
    {
        let mut alice = served.connects().await;
        alice.closes(frame).await;
        let mut event = served.socket.event().await;
        let _: ApiGatewayWebsocketProxyRequest = serde_json::from_value(event.clone()).unwrap();
        event["requestContext"]["requestId"].take();
        event["requestContext"]["extendedRequestId"].take();
        let host = served.address().to_string();
        let expected = json!({
            "headers": { "Host": host, "x-api-key": "", "X-Forwarded-For": "", "x-restapi": "" },
            "multiValueHeaders": { "Host": [host], "x-api-key": [""], "X-Forwarded-For": [""], "x-restapi": [""] },
            "requestContext": {
                "routeKey": "$disconnect", "disconnectStatusCode": code, "eventType": "DISCONNECT", "extendedRequestId": null,
                "requestTime": "29/Nov/2023:08:04:01 +0000", "messageDirection": "IN", "disconnectReason": reason, "stage": "live",
                "connectedAt": START_MS, "requestTimeEpoch": START_MS, "identity": { "sourceIp": "127.0.0.1" },
                "requestId": null, "domainName": host, "connectionId": alice.id, "apiId": "Ws",
            },
            "isBase64Encoded": false,
        });
        assert_eq!(event, expected);
        assert_eq!(served.pushes(&alice.id, "late").await, 410);
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_reported_as_1006() {
    let served = Served::start().await;
    let alice = served.connects().await;
    drop(alice);
    let event = served.socket.event().await;
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1006);
}
