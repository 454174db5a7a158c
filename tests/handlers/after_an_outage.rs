//! What a drain tells after nobody could push for long: at most six frames to each socket, however much is due.

use std::time::Duration;

use harness::{TestApp, event, request};
use serde_json::json;
use shared::delivery::deliveries::MAX_FRAMES_PER_USER;
use shared::sockets::push::Outcome;

/// So many notifications for alice while her phone takes nothing.
async fn missed(test: &TestApp, count: usize) {
    for n in 0..count {
        test.push.will("phone", &[Outcome::Failed]);
        let mut sending = event("send");
        sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
        sending["body"] = json!({"type": format!("news-{n}"), "userId": "alice", "title": "Hi"}).to_string().into();
        assert_eq!(send::handle(&test.app, request(sending)).await.status(), 202);
    }
    test.push.taken();
}

/// The types of the frames that a drain pushes which has no time to stay.
async fn drained(test: &TestApp) -> Vec<String> {
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    let types = test.push.taken().into_iter().map(|(_, frame)| frame["type"].as_str().unwrap().to_owned());
    types.collect()
}

#[tokio::test]
async fn a_few_come_by_themselves_and_many_as_one_resync() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone"]).await;
    missed(&test, MAX_FRAMES_PER_USER).await;
    test.clock.turn(Duration::from_secs(5));
    assert_eq!(drained(&test).await, ["notification"; MAX_FRAMES_PER_USER]);
    missed(&test, 250).await;
    test.clock.turn(Duration::from_secs(5));
    assert_eq!(drained(&test).await, ["resync"]);
    test.clock.turn(Duration::from_secs(600));
    assert!(drained(&test).await.is_empty(), "all of it was offered");
}

#[tokio::test]
async fn a_resync_goes_to_each_device_and_comes_again_until_all_took_it() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone", "laptop", "gone"]).await;
    test.clock.turn(Duration::from_secs(10));
    missed(&test, 20).await;
    test.clock.turn(Duration::from_secs(5));
    test.push.will("phone", &[Outcome::Failed]);
    test.push.will("gone", &[Outcome::Gone]);
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert_eq!((run.pushed, run.resynced), (0, 1));
    assert_eq!(test.push.taken().len(), 3);
    test.clock.turn(Duration::from_millis(4_999));
    assert!(drained(&test).await.is_empty(), "who failed waits");
    test.clock.turn(Duration::from_millis(1));
    assert_eq!(drained(&test).await, ["resync"; 2], "and who is gone was forgotten");
    test.clock.turn(Duration::from_secs(600));
    assert!(drained(&test).await.is_empty());
}

#[tokio::test]
async fn what_arrives_meanwhile_has_its_own_frame() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone"]).await;
    missed(&test, 20).await;
    test.clock.turn(Duration::from_secs(4));
    missed(&test, 1).await;
    test.clock.turn(Duration::from_secs(1));
    assert_eq!(drained(&test).await, ["resync"]);
    missed(&test, 1).await;
    test.clock.turn(Duration::from_secs(5));
    // The one that came before the resync went with it.
    assert_eq!(drained(&test).await, ["notification"]);
}
