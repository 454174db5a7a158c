//! Answers about an inbox that is full of the largest notifications: no answer exceeds its bound, and paging still reaches
//! everything.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::{HttpAnswer, TestApp, event, invoke, socket_event};
use serde_json::{Value, json};

/// The bounds of the contract.
const MAX_ANSWER_BYTES: usize = 1_024 * 1_024;
const MAX_SYNC_FRAME_BYTES: usize = 96 * 1_024;
const SENDS: usize = 205;

/// Fills the inbox of alice. Everything about these notifications is as large as it may be.
async fn full_inbox() -> TestApp {
    let mut test = TestApp::new().await;
    let mut config = (*test.app.config).clone();
    config.rate_limit_send_types.insert("large".into(), None);
    test.app.config = config.into();
    let data = json!({ "quotes": "\"".repeat(8_180) });
    let send = json!({"type": "large", "userId": "alice", "title": "🔔".repeat(200), "body": "🔔".repeat(4_000), "data": data});
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["headers"].as_object_mut().unwrap().remove("idempotency-key");
    sending["body"] = send.to_string().into();
    for _ in 0..SENDS {
        assert_eq!(invoke(&test.app, send::handle, sending.clone()).await.status(), 202);
    }
    test
}

fn text(answer: &HttpAnswer) -> &str {
    assert_eq!(answer.status(), 200);
    let lambda_http::Body::Text(text) = answer.body() else { panic!("{answer:?}") };
    text
}

async fn asks(test: &TestApp, name: &str, query: &[(&str, &str)]) -> Value {
    let mut asking = event(name);
    asking["headers"]["authorization"] = test.bearer("alice", "").into();
    asking["rawQueryString"] =
        query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&").into();
    let parameters = query.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value)));
    asking["queryStringParameters"] = Value::Object(parameters.collect());
    let answer = invoke(&test.app, inbox::handle, asking).await;
    let text = text(&answer);
    assert!(text.len() <= MAX_ANSWER_BYTES, "{} bytes", text.len());
    // Bounded, and not needlessly short.
    let read: Value = serde_json::from_str(text).unwrap();
    assert!(read["complete"] == true || read["nextCursor"].is_null() || text.len() > MAX_ANSWER_BYTES / 2);
    read
}

fn ids(items: &Value) -> Vec<String> {
    items.as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_full_inbox_is_listed_and_synced_in_bounded_answers() {
    let test = full_inbox().await;
    let mut listed = Vec::new();
    let mut page = asks(&test, "list", &[("limit", "200")]).await;
    assert_eq!(page["unreadCount"], SENDS);
    loop {
        listed.extend(ids(&page["items"]));
        let Some(next) = page["nextCursor"].as_str().map(str::to_owned) else { break };
        page = asks(&test, "list", &[("limit", "200"), ("cursor", &next)]).await;
    }
    assert_eq!((listed.len(), BTreeSet::from_iter(&listed).len()), (SENDS, SENDS));

    let mut synced = Vec::new();
    let mut part = asks(&test, "sync", &[]).await;
    loop {
        synced.extend(ids(&part["notifications"]));
        if part["complete"] == true {
            break;
        }
        assert!(part.get("chats").is_none());
        let cursor = part["cursor"].as_str().unwrap().to_owned();
        part = asks(&test, "sync", &[("since", &cursor), ("limit", "500")]).await;
    }
    synced.reverse();
    assert_eq!(synced, listed);
}

#[tokio::test]
async fn a_full_inbox_is_synced_over_a_socket_in_bounded_frames() {
    let test = full_inbox().await;
    test.connect("alice", &["PJqB0fHsqRcCHlw="]).await;
    let (mut synced, mut since) = (0, None);
    loop {
        let mut frame = event("message");
        frame["body"] = json!({"action": "sync", "ref": "r".repeat(64), "since": since}).to_string().into();
        if since.is_none() {
            frame["body"] = json!({"action": "sync", "ref": "r".repeat(64)}).to_string().into();
        }
        let reply = serde_json::to_value(message::handle(&test.app, socket_event(frame)).await).unwrap();
        let reply = reply["body"].as_str().unwrap();
        assert!(reply.len() <= MAX_SYNC_FRAME_BYTES, "{} bytes", reply.len());
        let reply: Value = serde_json::from_str(reply).unwrap();
        assert_eq!(reply["type"], "sync");
        test.clock.advance(Duration::from_millis(20));
        synced += reply["notifications"].as_array().unwrap().len();
        if reply["complete"] == true {
            break;
        }
        since = Some(reply["cursor"].clone());
    }
    assert_eq!(synced, SENDS);
}
