//! What a drain pushes after a long outage: at most six frames to each socket, no matter how much is due.

use std::time::Duration;

use harness::{TestApp, event, invoke};
use serde_json::json;
use shared::delivery::deliveries::MAX_FRAMES_PER_USER;
use shared::sockets::push::Outcome;

/// Sends `count` notifications to alice whose pushes to her phone fail.
async fn send_undelivered(test: &TestApp, count: usize) {
    for n in 0..count {
        test.push.will("phone", &[Outcome::Failed]);
        let mut sending = event("send");
        sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
        sending["body"] = json!({"type": format!("news-{n}"), "userId": "alice", "title": "Hi"}).to_string().into();
        assert_eq!(invoke(&test.app, send::handle, sending).await.status(), 202);
    }
    test.push.taken();
}

/// Runs a drain that has no time to linger; returns the types of the frames that it pushes.
async fn drained(test: &TestApp) -> Vec<String> {
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    let types = test.push.taken().into_iter().map(|(_, frame)| frame["type"].as_str().unwrap().to_owned());
    types.collect()
}

#[tokio::test]
async fn a_few_notifications_are_pushed_individually_and_many_as_one_resync() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone"]).await;
    send_undelivered(&test, MAX_FRAMES_PER_USER).await;
    test.clock.advance(Duration::from_secs(5));
    assert_eq!(drained(&test).await, ["notification"; MAX_FRAMES_PER_USER]);
    send_undelivered(&test, 250).await;
    test.clock.advance(Duration::from_secs(5));
    assert_eq!(drained(&test).await, ["resync"]);
    test.clock.advance(Duration::from_secs(600));
    assert!(drained(&test).await.is_empty(), "everything was offered");
}

#[tokio::test]
async fn a_resync_goes_to_every_device_and_is_repeated_until_all_accept_it() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone", "laptop", "gone"]).await;
    test.clock.advance(Duration::from_secs(10));
    send_undelivered(&test, 20).await;
    test.clock.advance(Duration::from_secs(5));
    test.push.will("phone", &[Outcome::Failed]);
    test.push.will("gone", &[Outcome::Gone]);
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert_eq!((run.pushed, run.resynced), (0, 1));
    assert_eq!(test.push.taken().len(), 3);
    test.clock.advance(Duration::from_millis(4_999));
    assert!(drained(&test).await.is_empty(), "the failed push waits for its retry");
    test.clock.advance(Duration::from_millis(1));
    assert_eq!(drained(&test).await, ["resync"; 2], "the connection that is gone was forgotten");
    test.clock.advance(Duration::from_secs(600));
    assert!(drained(&test).await.is_empty());
}

#[tokio::test]
async fn a_notification_that_arrives_after_a_resync_has_its_own_frame() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone"]).await;
    send_undelivered(&test, 20).await;
    test.clock.advance(Duration::from_secs(4));
    send_undelivered(&test, 1).await;
    test.clock.advance(Duration::from_secs(1));
    assert_eq!(drained(&test).await, ["resync"]);
    send_undelivered(&test, 1).await;
    test.clock.advance(Duration::from_secs(5));
    // The resync covered the one that had arrived before it.
    assert_eq!(drained(&test).await, ["notification"]);
}
