//! Sends with a collapse key.

use std::time::Duration;

use harness::{TestApp, body, event, invoke};
use serde_json::{Value, json};

use crate::sending::sends;

/// Sends to alice; returns the id of the notification.
async fn sent(test: &TestApp, members: Value) -> Value {
    let answer = sends(test, members).await;
    assert_eq!(answer.status(), 202, "{answer:?}");
    body(&answer)["notifications"][0]["id"].clone()
}

async fn listed(test: &TestApp) -> Value {
    let mut list = event("list");
    list["headers"]["authorization"] = test.bearer("alice", "").into();
    (list["rawQueryString"], list["queryStringParameters"]) = ("".into(), json!({}));
    body(&invoke(&test.app, inbox::handle, list).await)
}

#[tokio::test]
async fn the_frame_of_a_newer_notification_names_the_one_it_replaces() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    let older = sent(&test, json!({"collapseKey": "door"})).await;
    let first = test.push.taken();
    assert_eq!(first[0].1["replaces"], Value::Null);
    let newer = sent(&test, json!({"collapseKey": "door"})).await;
    let second = test.push.taken();
    assert_eq!(second.len(), 2);
    for (_, frame) in &second {
        assert_eq!((&frame["replaces"], &frame["unreadCount"]), (&json!([older]), &json!(1)));
        assert_eq!((&frame["notification"]["id"], &frame["notification"]["collapseKey"]), (&newer, &json!("door")));
        // The frame covers every change between the two cursors.
        assert_eq!((&frame["prev"], &frame["cursor"]), (&first[0].1["cursor"], &frame["notification"]["cursor"]));
    }
    let listed = listed(&test).await;
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["id"]), (1, &newer));
    assert_eq!((&listed["unreadCount"], &listed["cursor"]), (&json!(1), &second[0].1["cursor"]));
}

#[tokio::test]
async fn a_replacement_too_large_for_a_frame_leaves_a_gap_at_the_tombstone() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    sent(&test, json!({"collapseKey": "door"})).await;
    let large = json!({"collapseKey": "door", "body": "\u{1f514}".repeat(4_000), "data": {"x": "y".repeat(16_000)},
        "actionUrl": format!("/{}", "z".repeat(2_000))});
    let newer = sent(&test, large).await;
    let frames = test.push.taken();
    let (first, fetch) = (&frames[0].1, &frames[1].1);
    assert_eq!((&fetch["type"], &fetch["id"]), (&json!("fetch"), &newer));
    assert_ne!(fetch["prev"], first["cursor"], "a client that does not know the tombstone must sync");
    assert_ne!(fetch["prev"], fetch["cursor"]);
}

#[tokio::test]
async fn a_notification_older_than_its_replacement_is_not_pushed() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    sent(&test, json!({"collapseKey": "door", "delayMs": 60_000})).await;
    test.clock.advance(Duration::from_secs(61));
    let newer = sent(&test, json!({"collapseKey": "door"})).await;
    assert_eq!(test.push.taken().len(), 1);
    assert_eq!(drain::handle(&test.app, i64::MAX).await.chunks, 1);
    assert!(test.push.taken().is_empty());
    let listed = listed(&test).await;
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]["id"]), (1, &newer));
}

#[tokio::test]
async fn an_invalid_collapse_key_is_refused_and_a_different_one_makes_a_different_send() {
    let test = TestApp::new().await;
    for value in [json!(""), json!("k".repeat(65)), json!(7), json!(null), json!("a\u{0}")] {
        let refused = sends(&test, json!({"collapseKey": value})).await;
        let found = (refused.status().as_u16(), body(&refused)["error"]["fields"].clone());
        assert_eq!(found, (422, json!(["collapseKey"])), "{value}");
    }
    sent(&test, json!({"collapseKey": "k".repeat(64), "idempotencyKey": "key"})).await;
    let other = sends(&test, json!({"collapseKey": "j", "idempotencyKey": "key"})).await;
    assert_eq!(body(&other)["error"]["code"], "idempotency_key_reused");
}
