//! The handshake: the CONNECT event, and the effect of the function's answer.

use bytes::Bytes;
use lambda_http::aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use serde_json::json;

use crate::harness::{START_MS, Served, Socket};

#[tokio::test]
async fn a_handshake_becomes_a_connect_event() {
    let served = Served::start().await;
    let headers = [("user-agent", "test"), ("cookie", "a=1"), ("x-amzn-trace-id", "Root=1-a-b")];
    Socket::connect_with(served.address(), "/live?token=a&token=b+c", &headers).await.unwrap();
    let mut event = served.socket.event().await;
    let typed: ApiGatewayWebsocketProxyRequest = serde_json::from_value(event.clone()).unwrap();
    assert_eq!(typed.request_context.event_type.as_deref(), Some("CONNECT"));
    assert_eq!(typed.query_string_parameters.first("token"), Some("b c"));

    let context = &mut event["requestContext"];
    let (request_id, extended_request_id) = (context["requestId"].take(), context["extendedRequestId"].take());
    assert_eq!(request_id, extended_request_id);
    let connection_id = context["connectionId"].take();
    assert!(connection_id.as_str().unwrap().len() == 16 && connection_id.as_str().unwrap().ends_with('='));
    let key = event["headers"]["Sec-WebSocket-Key"].clone();
    let (host, port) = (served.address().to_string(), served.address().port().to_string());
    let expected = json!({
        "headers": {
            "Cookie": "a=1", "Host": host, "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13", "User-Agent": "test",
            "X-Amzn-Trace-Id": "Root=1-a-b", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Port": port, "X-Forwarded-Proto": "http",
        },
        "multiValueHeaders": {
            "Cookie": ["a=1"], "Host": [host], "Sec-WebSocket-Key": [key], "Sec-WebSocket-Version": ["13"], "User-Agent": ["test"],
            "X-Amzn-Trace-Id": ["Root=1-a-b"], "X-Forwarded-For": ["127.0.0.1"], "X-Forwarded-Port": [port], "X-Forwarded-Proto": ["http"],
        },
        "queryStringParameters": { "token": "b c" },
        "multiValueQueryStringParameters": { "token": ["a", "b c"] },
        "requestContext": {
            "routeKey": "$connect", "eventType": "CONNECT", "extendedRequestId": null, "requestTime": "29/Nov/2023:08:04:01 +0000",
            "messageDirection": "IN", "stage": "live", "connectedAt": START_MS, "requestTimeEpoch": START_MS,
            "identity": { "sourceIp": "127.0.0.1", "userAgent": "test" },
            "requestId": null, "domainName": host, "connectionId": null, "apiId": "Ws",
        },
        "isBase64Encoded": false,
    });
    assert_eq!(event, expected);
}

#[tokio::test]
async fn a_connect_event_without_a_query_has_no_query_members() {
    let served = Served::start().await;
    Socket::connect(served.address(), "/live").await.unwrap();
    let event = served.socket.event().await;
    let names: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["headers", "multiValueHeaders", "requestContext", "isBase64Encoded"]);
    assert_eq!(event["requestContext"]["identity"], json!({ "sourceIp": "127.0.0.1" }));
}

#[tokio::test]
async fn a_status_other_than_2xx_is_passed_to_the_client() {
    let served = Served::start().await;
    for status in [400, 401, 403, 500] {
        served.socket.answers(json!({ "statusCode": status, "body": "{\"error\":\"no\"}" }));
        assert_eq!(Socket::refused(served.address(), "/live").await, (status, "{\"error\":\"no\"}".to_owned()));
        assert_eq!(served.socket.event().await["requestContext"]["eventType"], "CONNECT");
    }
    assert_eq!(served.http("GET", "/_gateway/connections").send().await.json(), json!({ "connections": [] }));
    assert!(served.socket.has_no_events().await, "$disconnect was called for a refused handshake");
}

#[tokio::test]
async fn a_failed_or_malformed_connect_is_502() {
    let served = Served::start().await;
    served.socket.fails();
    assert_eq!(Socket::refused(served.address(), "/live").await.0, 502);
    for malformed in ["null", "{}", "[]", "no json", r#"{"statusCode":"200"}"#] {
        served.socket.answers_text(malformed);
        assert_eq!(Socket::refused(served.address(), "/live").await.0, 502, "{malformed}");
    }
}

#[tokio::test]
async fn only_the_subprotocol_that_the_function_chose_is_returned() {
    let served = Served::start().await;
    let offers = [("sec-websocket-protocol", "chat1, chat2")];
    for answer in [
        json!({ "statusCode": 200, "headers": { "Sec-WebSocket-Protocol": "chat2" } }),
        json!({ "statusCode": 200, "headers": {}, "multiValueHeaders": { "sec-websocket-protocol": ["chat2"], "x-a": ["1"] } }),
    ] {
        served.socket.answers(answer);
        let socket = Socket::connect_with(served.address(), "/live", &offers).await.unwrap();
        assert_eq!(socket.response.headers()["sec-websocket-protocol"], "chat2");
        assert!(!socket.response.headers().contains_key("x-a"));
    }
    let extensions = [("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")];
    let socket = Socket::connect_with(served.address(), "/live", &extensions).await;
    assert!(socket.is_err(), "the client offered no subprotocol and must fail the handshake if it gets one");
    served.socket.answers(json!({ "statusCode": 200 }));
    let socket = Socket::connect_with(served.address(), "/live", &extensions).await.unwrap();
    assert!(!socket.response.headers().contains_key("sec-websocket-extensions"));
}

#[tokio::test]
async fn a_plain_request_is_426_and_other_paths_in_the_stage_are_403() {
    let served = Served::start().await;
    let plain = served.http("GET", "/live").send().await;
    assert_eq!((plain.status, plain.text()), (426, r#"{"message":"Upgrade Required"}"#));
    let unknown = served.http("GET", "/live/other").send().await;
    assert_eq!((unknown.status, unknown.text()), (403, r#"{"message":"Forbidden"}"#));
    assert_eq!(
        served.http("GET", "/lively").send().await.status,
        404,
        "a path that only begins with the stage's name belongs to the HTTP API"
    );
}

#[tokio::test]
async fn every_handshake_is_accepted_without_a_connect_route() {
    let template = include_str!("template.yaml").replace("$connect:", "later:");
    let served = Served::start_with(&template, |options| options).await;
    Socket::connect(served.address(), "/live").await.unwrap();
    assert!(served.socket.has_no_events().await);
}

#[tokio::test]
async fn a_slow_connect_is_504_and_a_slow_message_gets_an_error_frame() {
    let template = include_str!("template.yaml").replace("Socket.Arn }", "Socket.Arn, IntegrationTimeout: 50 }");
    let served = Served::start_with(&template, |options| options).await;
    let mut alice = served.connects().await;
    served.socket.does(|_| std::future::pending());
    assert_eq!(Socket::refused(served.address(), "/live").await.0, 504);
    alice.sends(r#"{"action":"tell"}"#).await;
    assert!(alice.sees().await.starts_with(r#"{"message": "Endpoint request timed out", "connectionId":""#));
}

#[tokio::test]
async fn disconnect_is_called_for_a_client_that_leaves_during_connect() {
    let served = Served::start().await;
    let (finish, finished) = tokio::sync::watch::channel(false);
    served.socket.does(move |_| {
        let mut finished = finished.clone();
        async move {
            finished.wait_for(|finished| *finished).await.unwrap();
            Ok(Bytes::from_static(br#"{"statusCode":200}"#))
        }
    });
    let address = served.address();
    let client = tokio::spawn(async move { Socket::connect(address, "/live").await });
    assert_eq!(served.socket.event().await["requestContext"]["eventType"], "CONNECT");
    client.abort();
    assert!(client.await.is_err());
    finish.send(true).unwrap();
    let event = served.socket.event().await;
    assert_eq!(event["requestContext"]["eventType"], "DISCONNECT");
    assert_eq!(event["requestContext"]["disconnectStatusCode"], 1006);
}
