//! Events of API Gateway, and the functions that get them.

use std::time::Duration;

use aws_lambda_events::apigw::ApiGatewayWebsocketProxyRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::app::request;
use harness::{TestApp, body};
use serde_json::Value;
use shared::ids::ConnectionId;

use crate::target::{Target, files, runtime, shape, signature};

const WORDS: &[&str] = &[
    "headers",
    "authorization",
    "content-type",
    "application/json",
    "idempotency-key",
    "if-none-match",
    "origin",
    "content-encoding",
    "gzip",
    "queryStringParameters",
    "rawQueryString",
    "limit=5",
    "cursor",
    "since",
    "pathParameters",
    "routeKey",
    "requestContext",
    "body",
    "isBase64Encoded",
    "http",
    "method",
    "POST",
    "GET",
    "DELETE",
    "ANY /api/sync",
    "ANY /api/notifications/{id}",
    "$default",
    "$connect",
    "$disconnect",
    "connectionId",
    "multiValueHeaders",
    "\\\"action\\\"",
    "TOKEN",
];

/// Stands for a good token in inputs.
const TOKEN: &str = "TOKEN";
const CONNECTION: &str = "PJqB0fHsqRcCHlw=";

/// The recorded events, each with a good token.
fn recorded() -> Vec<Vec<u8>> {
    let events = files("events").into_iter().map(|text| {
        let mut event: Value = serde_json::from_slice(&text).unwrap();
        if event["headers"].is_object() && event["version"] == "2.0" {
            event["headers"]["authorization"] = format!("Bearer {TOKEN}").into();
        }
        event
    });
    events.map(|event| event.to_string().into_bytes()).collect()
}

pub(crate) fn http() -> Target {
    let runtime = runtime();
    let test = runtime.block_on(TestApp::new());
    Target {
        name: "http_events",
        seeds: recorded(),
        words: WORDS,
        attempt: Box::new(move |input| runtime.block_on(http_event(&test, input))),
    }
}

async fn http_event(test: &TestApp, input: &[u8]) -> u64 {
    // A second passes, so that limits refuse only some.
    test.clock.advance(Duration::from_secs(1));
    let bearer = test.bearer("alice", "notify:send notify:admin");
    let text = String::from_utf8_lossy(input).replace(TOKEN, bearer.trim_start_matches("Bearer "));
    let Ok(mut event) = serde_json::from_str::<Value>(&text) else {
        return signature("not JSON");
    };
    if !as_api_gateway_writes(&mut event) {
        return signature("not of API Gateway");
    }
    if serde_json::from_value::<lambda_http::request::LambdaRequest>(event.clone()).is_err() {
        return signature("no event");
    }
    let app = &test.app;
    let mut outcomes = Vec::new();
    // The functions look at the route themselves.
    let answers = [
        send::handle(app, request(event.clone())).await,
        inbox::handle(app, request(event.clone())).await,
        history::handle(app, request(event.clone())).await,
        deadletters::handle(app, request(event.clone())).await,
        tickets::handle(app, request(event.clone())).await,
        metrics::handle(app, request(event.clone())).await,
        testing::handle(app, request(event.clone())).await,
        health::handle(app, request(event.clone())).await,
        page::handle(&app.config, request(event.clone())).await,
        notfound::handle(request(event)).await,
    ];
    for answer in &answers {
        let status = answer.status().as_u16();
        assert!(status < 500, "{status} {}", body(answer));
        let error = &body(answer)["error"];
        if status >= 400 {
            assert!(error["code"].is_string() && error["message"].is_string(), "{status} {}", body(answer));
            let bytes = error.to_string().len();
            assert!(bytes <= 4 * 1_024, "an error of {bytes} bytes");
        }
        outcomes.push((
            status,
            error["code"].as_str().unwrap_or_default().to_owned(),
            start(error["message"].as_str()),
        ));
    }
    signature(outcomes)
}

/// Sets the headers that API Gateway sets whatever the client sends. False if it would not write the rest: the library
/// trusts it to write paths and base64.
fn as_api_gateway_writes(event: &mut Value) -> bool {
    if event["isBase64Encoded"] == true && event["body"].as_str().is_some_and(|body| STANDARD.decode(body).is_err()) {
        return false;
    }
    if let Some(headers) = event.get_mut("headers").and_then(Value::as_object_mut) {
        headers.retain(|name, _| !["host", "x-forwarded-proto"].iter().any(|own| name.eq_ignore_ascii_case(own)));
    }
    if let Some(context) = event.get_mut("requestContext").and_then(Value::as_object_mut) {
        context.insert("domainName".into(), "localhost".into());
    }
    // The library makes a URL of both. A request whose line holds anything else is 400 before an event is made of it.
    let query = event["rawQueryString"].as_str().unwrap_or_default();
    let is_query = format!("/?{query}").parse::<http::Uri>().is_ok() && !query.contains('#');
    let path = event["rawPath"].as_str();
    path.is_some_and(|path| path.starts_with('/')) && is_query && event["version"] == "2.0"
}

pub(crate) fn sockets() -> Target {
    let runtime = runtime();
    let test = runtime.block_on(TestApp::new());
    Target {
        name: "socket_events",
        seeds: recorded(),
        words: WORDS,
        attempt: Box::new(move |input| runtime.block_on(socket_event(&test, input))),
    }
}

async fn socket_event(test: &TestApp, input: &[u8]) -> u64 {
    test.clock.advance(Duration::from_millis(100));
    let Ok(event) = serde_json::from_slice::<ApiGatewayWebsocketProxyRequest>(input) else {
        return signature("no event");
    };
    if test
        .app
        .record
        .connections
        .find(&ConnectionId::new(CONNECTION))
        .await
        .unwrap()
        .is_none_or(|known| known.token_expires_at_ms < test.clock.now_ms() + 60_000)
    {
        disconnected(test).await;
        test.connect("alice", &[CONNECTION]).await;
    }
    // API Gateway names a connection in every event.
    if event.request_context.connection_id.is_none() {
        return signature("no connection");
    }
    let route = event.request_context.route_key.clone().unwrap_or_default();
    let reply = match route.as_str() {
        "$connect" => connect::handle(&test.app, event).await,
        "$disconnect" => {
            disconnect::handle(&test.app, event).await;
            return signature("disconnected");
        }
        _ => message::handle(&test.app, event).await,
    };
    let reply = serde_json::to_value(reply).unwrap();
    let status = reply["statusCode"].as_u64().unwrap();
    assert!(status < 500, "{reply}");
    let mut outcomes = Vec::new();
    let frames = test.push.taken().into_iter().map(|(_, frame)| frame);
    let answer = reply["body"].as_str().map(|text| serde_json::from_str::<Value>(text).unwrap());
    for frame in frames.chain(answer) {
        let bytes = frame.to_string().len();
        let limit_bytes = match frame["type"].as_str() {
            Some("error") => 4 * 1_024,
            Some("sync") => 96 * 1_024,
            _ => 32 * 1_024,
        };
        assert!(bytes <= limit_bytes, "a frame of {bytes} bytes: {frame:.200}");
        let code = frame["code"].as_str().or(frame["error"]["code"].as_str()).unwrap_or_default();
        assert!(code != "internal", "{frame}");
        outcomes.push((frame["type"].to_string(), code.to_owned(), start(frame["message"].as_str())));
    }
    signature((status, outcomes))
}

/// The first requirement in a message, without the name of the field.
fn start(message: Option<&str>) -> String {
    let first = message.unwrap_or_default().split(';').next().unwrap_or_default();
    shape(first.rsplit(": ").next().unwrap_or_default())
}

/// Forgets the connection, so that it can be opened anew.
async fn disconnected(test: &TestApp) {
    let mut event: Value =
        serde_json::from_slice(&std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/events/disconnect.json")).unwrap())
            .unwrap();
    event["requestContext"]["connectionId"] = CONNECTION.into();
    disconnect::handle(&test.app, serde_json::from_value(event).unwrap()).await;
}
