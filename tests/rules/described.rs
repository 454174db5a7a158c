//! The comparison of calls and frames with docs/openapi.yaml and docs/asyncapi.yaml, which the harness makes for all
//! suites: what is not as described is found.

use harness::api::{Exchange, check_frame};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

const COUNT: &str = "/api/notifications/unread-count";
const COUNT_OF_NO_TYPE: &str = "/api/notifications/unread-count?type=";
const COUNT_OF_KIND: &str = "/api/notifications/unread-count?kind=like";

/// What is not as described in a call and its answer.
fn found(call: (&str, &str), sent: &Value, status: u16, answer: &Value) -> Vec<String> {
    let ours = [("x-request-id", "a"), ("cache-control", "no-store"), ("content-type", "application/json")];
    let headers: HeaderMap = ours
        .into_iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    let text = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
    let (body, answer) = (text(sent), text(answer));
    let (method, target) = call;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Exchange { method, path, query, body: body.as_bytes(), status, headers: &headers, answer: &answer }.problems()
}

#[test]
fn calls_that_are_as_described_pass() {
    let invalid = json!({"error": {"code": "validation_failed", "message": "x", "requestId": "a", "fields": ["x"]}});
    let unknown = json!({"error": {"code": "not_found", "message": "not found", "requestId": "a"}});
    for (call, sent, status, answer) in [
        (("GET", "/api/notifications/unread-count?type=like"), Value::Null, 200, json!({"count": 3})),
        // What is refused may be anything.
        (("GET", COUNT_OF_KIND), Value::Null, 422, invalid.clone()),
        (("POST", "/api/ack"), json!({"cursor": 1}), 422, invalid),
        (("POST", "/api/ack"), json!({"cursor": "9c1f6e0b7a3d5e24.43"}), 204, Value::Null),
        (("GET", "/nowhere"), Value::Null, 404, unknown),
        (("GET", "/_gateway/connections"), Value::Null, 200, json!([])),
    ] {
        assert_eq!(found(call, &sent, status, &answer), [""; 0], "{call:?}");
    }
}

#[test]
fn what_is_not_as_described_is_found_and_named() {
    let count = json!({"count": 3});
    for (call, sent, status, answer, problem) in [
        (("GET", COUNT), Value::Null, 200, json!({"count": "3"}), "countUnread: answer/count: \"3\" "),
        (("GET", COUNT), Value::Null, 200, json!({"count": 3, "x": 1}), "countUnread: answer: "),
        (("GET", COUNT), Value::Null, 200, Value::Null, "countUnread: answer: is not JSON"),
        (("GET", COUNT), Value::Null, 202, count.clone(), "countUnread: answer: "),
        (("GET", COUNT_OF_KIND), Value::Null, 200, count.clone(), "countUnread: parameter kind: "),
        (("GET", COUNT_OF_NO_TYPE), Value::Null, 200, count.clone(), "countUnread: parameter type: "),
        (("GET", COUNT), json!({}), 200, count.clone(), "countUnread: request: "),
        (("POST", "/api/ack"), json!({"cursor": 1}), 204, Value::Null, "acknowledge: request/cursor: 1 "),
        (("POST", "/api/ack"), Value::Null, 204, Value::Null, "acknowledge: request: "),
        (("POST", "/api/ack"), json!({"cursor": "9c1f6e0b7a3d5e24.43"}), 204, count.clone(), "acknowledge: answer: "),
        (("GET", "/api/ack"), Value::Null, 200, count.clone(), "status: must be 405"),
        (("GET", "/nowhere"), Value::Null, 200, count, "status: must be 404"),
    ] {
        let found = found(call, &sent, status, &answer);
        assert!(found.iter().any(|one| one.starts_with(problem)), "{call:?} {answer}: {found:?} has no {problem}");
    }
}

#[test]
fn headers_that_an_answer_needs_are_missed() {
    let (method, headers, answer) = ("GET", &HeaderMap::new(), r#"{"count":3}"#);
    let exchange = Exchange { method, path: COUNT, query: "", body: b"", status: 200, headers, answer };
    let found = exchange.problems();
    assert!(found.contains(&"countUnread: header x-request-id: is missing".to_owned()), "{found:?}");
}

#[test]
fn a_described_frame_passes() {
    check_frame(&json!({"type": "resync"}));
}

#[test]
#[should_panic(expected = "resync: ")]
fn a_frame_with_an_unknown_member_is_found() {
    check_frame(&json!({"type": "resync", "x": 1}));
}

#[test]
#[should_panic(expected = "[] of channel live")]
fn a_frame_of_an_unknown_type_is_found() {
    check_frame(&json!({"type": "reconnect"}));
}
