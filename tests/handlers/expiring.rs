//! Sends that expire.

use std::time::Duration;

use harness::{HttpAnswer, START_MS, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::clock::{Clock, Time};

use crate::sending::sends;

/// Calls the inbox as alice, with this event and query, and with an `If-None-Match` if there is a tag.
async fn call_inbox(test: &TestApp, name: &str, query: &str, tag: Option<&str>) -> HttpAnswer {
    let mut http_event = event(name);
    http_event["headers"]["authorization"] = test.bearer("alice", "").into();
    http_event["rawQueryString"] = query.into();
    if let Some(tag) = tag {
        http_event["headers"]["if-none-match"] = tag.into();
    }
    invoke(&test.app, inbox::handle, http_event).await
}

fn instant(after_ms: i64) -> Value {
    Time(START_MS + after_ms).to_string().into()
}

#[tokio::test]
async fn an_expiry_that_is_not_after_the_due_time_is_refused() {
    let test = TestApp::new().await;
    for members in [
        json!({"expiresAt": "soon"}),
        json!({"expiresAt": instant(0)}),
        json!({"expiresAt": instant(-1)}),
        json!({"expiresAt": instant(60_000), "delayMs": 60_000}),
        json!({"expiresAt": instant(60_000), "deliverAt": instant(60_000)}),
        json!({"expiresAt": instant(-1), "deliverAt": instant(-2)}),
    ] {
        let mut members = members;
        members["idempotencyKey"] = "key".into();
        let refused = sends(&test, members.clone()).await;
        let found = (refused.status().as_u16(), body(&refused)["error"]["fields"].clone());
        assert_eq!(found, (422, json!(["expiresAt"])), "{members}");
    }
    // Nothing was stored, so the key is still free.
    for members in [
        json!({"expiresAt": instant(1), "idempotencyKey": "key"}),
        json!({"expiresAt": instant(60_001), "delayMs": 60_000}),
        json!({"expiresAt": instant(60_001), "deliverAt": instant(60_000)}),
        json!({"expiresAt": instant(1), "deliverAt": instant(-1)}),
    ] {
        assert_eq!(sends(&test, members.clone()).await.status(), 202, "{members}");
    }
}

#[tokio::test]
async fn an_expiry_beyond_the_retention_is_refused_with_its_bound() {
    const RETENTION_MS: i64 = 90 * 24 * 60 * 60 * 1_000;
    let test = TestApp::new().await;
    for members in [
        json!({"expiresAt": "9999-12-31T23:59:59Z"}),
        json!({"expiresAt": instant(RETENTION_MS + 1)}),
        json!({"expiresAt": instant(RETENTION_MS + 1_001), "delayMs": 1_000}),
        json!({"expiresAt": instant(RETENTION_MS + 1), "deliverAt": instant(-5_000)}),
    ] {
        let refused = sends(&test, members.clone()).await;
        let error = &body(&refused)["error"];
        assert_eq!((refused.status().as_u16(), &error["fields"]), (422, &json!(["expiresAt"])), "{members}");
        assert!(error["message"].as_str().unwrap().contains("90 days"), "{error}");
    }
    for members in [
        json!({"expiresAt": instant(RETENTION_MS)}),
        json!({"expiresAt": instant(RETENTION_MS + 1_000), "delayMs": 1_000}),
        json!({"expiresAt": instant(RETENTION_MS + 1_000), "deliverAt": instant(1_000)}),
    ] {
        assert_eq!(sends(&test, members.clone()).await.status(), 202, "{members}");
    }
}

#[tokio::test]
async fn a_past_expiry_is_refused_only_with_a_new_key() {
    let mut test = TestApp::new().await;
    let members = json!({"expiresAt": instant(1_000), "idempotencyKey": "key"});
    let first = sends(&test, members.clone()).await;
    test.clock.advance(Duration::from_secs(1));
    let again = sends(&test, members.clone()).await;
    assert_eq!((again.status().as_u16(), body(&again)), (202, body(&first)));
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    let other = sends(&test, json!({"expiresAt": instant(999), "idempotencyKey": "key"})).await;
    assert_eq!(body(&other)["error"]["code"], "idempotency_key_reused");
    assert_eq!(sends(&test, json!({"expiresAt": instant(1_000), "idempotencyKey": "new"})).await.status(), 422);
    // A process whose clock is behind accepts the send. The notification has expired by the time of the list, which
    // leaves it out.
    test.connect("alice", &["phone"]).await;
    test.app.clock = Clock::manual(START_MS);
    assert_eq!(sends(&test, json!({"expiresAt": instant(1)})).await.status(), 202);
    test.app.clock = test.clock.clone();
    assert_eq!(body(&call_inbox(&test, "list", "", None).await)["items"], json!([]));
}

#[tokio::test]
async fn no_answer_contains_an_expired_notification() {
    let test = TestApp::new().await;
    let sent = body(&sends(&test, json!({"expiresAt": instant(1_000)})).await);
    let id = &sent["notifications"][0]["id"];
    let listed = body(&call_inbox(&test, "list", "", None).await);
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["expiresAt"]), (id, &instant(1_000)));
    assert_eq!(listed["unreadCount"], 1);
    let synced = body(&call_inbox(&test, "sync", "", None).await);
    let (tag, since) = (synced["etag"].as_str().unwrap(), format!("since={}", synced["cursor"].as_str().unwrap()));
    test.clock.advance(Duration::from_millis(999));
    assert_eq!(call_inbox(&test, "sync", &since, Some(tag)).await.status(), 304);

    test.clock.advance(Duration::from_millis(1));
    // The head has not moved, but the tag must not match any more.
    let after = call_inbox(&test, "sync", &since, Some(tag)).await;
    assert_eq!((after.status().as_u16(), &body(&after)["unreadCount"]), (200, &json!(0)));
    let listed = body(&call_inbox(&test, "list", "", None).await);
    assert_eq!((&listed["items"], &listed["unreadCount"]), (&json!([]), &json!(0)));
    let tag = body(&after)["etag"].as_str().unwrap().to_owned();
    assert_eq!(call_inbox(&test, "sync", &since, Some(&tag)).await.status(), 304);

    assert_eq!(drain::handle(&test.app, i64::MAX).await.expired, 1);
    let synced = body(&call_inbox(&test, "sync", &since, Some(&tag)).await);
    assert_eq!((&synced["deleted"], &synced["notifications"]), (&json!([id]), &json!([])));
}

/// Even though the unread count stays the same.
#[tokio::test]
async fn the_etag_changes_when_a_read_notification_expires() {
    let test = TestApp::new().await;
    let sent = body(&sends(&test, json!({"expiresAt": instant(1_000)})).await);
    let mut reading = event("read");
    reading["headers"]["authorization"] = test.bearer("alice", "").into();
    reading["pathParameters"]["id"] = sent["notifications"][0]["id"].clone();
    assert_eq!(invoke(&test.app, inbox::handle, reading).await.status(), 204);
    let tag = body(&call_inbox(&test, "sync", "", None).await)["etag"].as_str().unwrap().to_owned();
    test.clock.advance(Duration::from_secs(1));
    let synced = call_inbox(&test, "sync", "", Some(&tag)).await;
    assert_eq!((synced.status().as_u16(), &body(&synced)["notifications"]), (200, &json!([])));
}

#[tokio::test]
async fn every_device_is_notified_when_the_drain_makes_tombstones() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    let mut ids = Vec::new();
    for end_ms in [1_000, 1_000, 60_000] {
        let sent = body(&sends(&test, json!({"expiresAt": instant(end_ms)})).await);
        ids.push(sent["notifications"][0]["id"].clone());
    }
    test.push.taken();
    test.clock.advance(Duration::from_secs(1));
    // The deadline leaves no time to wait for the third expiry.
    assert_eq!(drain::handle(&test.app, test.clock.now_ms() + 10_000).await.expired, 2);
    let frames = test.push.taken();
    assert_eq!(frames.len(), 2);
    for (_, frame) in &frames {
        assert_eq!((&frame["type"], &frame["change"]), (&json!("changed"), &json!("expired")));
        assert_eq!((&frame["ids"], &frame["unreadCount"]), (&json!(ids[..2]), &json!(1)));
    }
    assert_eq!(drain::handle(&test.app, test.clock.now_ms() + 10_000).await.expired, 0);
    assert!(test.push.taken().is_empty());
}

#[tokio::test]
async fn a_drain_waits_for_notifications_that_expire_soon() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    sends(&test, json!({"expiresAt": instant(30_000)})).await;
    test.push.taken();
    let draining = async { drain::handle(&test.app, i64::MAX).await };
    let turning = async {
        tokio::task::yield_now().await;
        test.clock.advance(Duration::from_secs(30));
    };
    let (drained, ()) = tokio::join!(draining, turning);
    assert_eq!((drained.expired, test.push.taken()[0].1["change"].clone()), (1, json!("expired")));
}

#[tokio::test]
async fn more_expiries_than_fit_into_a_frame_are_pushed_as_a_resync() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    for n in 0..101 {
        // Each type has its own rate limit, so several types avoid a refusal.
        let members = json!({"expiresAt": instant(1_000), "type": format!("like.{}", n / 20)});
        assert_eq!(sends(&test, members).await.status(), 202);
    }
    test.push.taken();
    test.clock.advance(Duration::from_secs(1));
    assert_eq!(drain::handle(&test.app, i64::MAX).await.expired, 101);
    assert_eq!(test.push.taken(), [("phone".to_owned(), json!({"type": "resync"}))]);
}
