//! What becomes of a push that is not taken.

use std::time::Duration;

use harness::{TestApp, event, request};
use serde_json::json;
use shared::ids::ConnectionId;
use shared::push::Outcome;

async fn send(test: &TestApp) {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = json!({"type": "like", "userIds": ["alice"], "title": "Hi"}).to_string().into();
    assert_eq!(send::handle(&test.app, request(sending)).await.status(), 202);
}

async fn is_known(test: &TestApp, connection: &str) -> bool {
    test.app.connections.find(&ConnectionId::new(connection)).await.unwrap().is_some()
}

async fn drained(test: &TestApp) -> usize {
    // 10 s is what a drain leaves itself before its deadline: it does what is due and does not stay.
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await.pushed
}

#[tokio::test]
async fn what_was_taken_is_not_pushed_again() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    send(&test).await;
    assert_eq!(test.push.taken().len(), 2);
    test.clock.turn(Duration::from_secs(60));
    assert_eq!(drained(&test).await, 0);
    assert!(test.push.taken().is_empty());
}

#[tokio::test]
async fn what_failed_waits_for_the_drain() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed, Outcome::Failed]);
    send(&test).await;
    assert_eq!(test.push.taken().len(), 1);
    // Not before the sending function's own time is over.
    test.clock.turn(Duration::from_millis(4_999));
    assert_eq!(drained(&test).await, 0);
    test.clock.turn(Duration::from_millis(1));
    assert_eq!(drained(&test).await, 1);
    // It failed once more, and waits longer.
    test.clock.turn(Duration::from_millis(4_999));
    assert_eq!(drained(&test).await, 0);
    test.clock.turn(Duration::from_millis(1));
    assert_eq!(drained(&test).await, 1);
    test.clock.turn(Duration::from_secs(600));
    assert_eq!(drained(&test).await, 0);
    assert!(is_known(&test, "phone").await);
}

#[tokio::test]
async fn a_connection_that_is_gone_is_forgotten() {
    let test = TestApp::new().await;
    test.connect("alice", &["gone", "phone"]).await;
    test.clock.turn(Duration::from_secs(10));
    test.push.will("gone", &[Outcome::Gone]);
    send(&test).await;
    assert!(!is_known(&test, "gone").await && is_known(&test, "phone").await);
    test.clock.turn(Duration::from_secs(60));
    assert_eq!(drained(&test).await, 0, "all that are left took it");
}

#[tokio::test]
async fn a_young_connection_that_seems_gone_gets_a_second_try_and_is_kept() {
    let test = TestApp::new().await;
    test.connect("alice", &["new"]).await;
    test.clock.turn(Duration::from_millis(9_999));
    test.push.will("new", &[Outcome::Gone, Outcome::Offered]);
    send(&test).await;
    assert_eq!(test.push.taken().len(), 2);
    test.push.will("new", &[Outcome::Gone, Outcome::Gone]);
    send(&test).await;
    assert_eq!(test.push.taken().len(), 2);
    assert!(is_known(&test, "new").await);
    test.clock.turn(Duration::from_secs(5));
    assert_eq!(drained(&test).await, 1, "what it never took waits");
    assert!(is_known(&test, "new").await);
}

#[tokio::test]
async fn what_was_read_meanwhile_is_not_pushed() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test).await;
    let user = shared::ids::UserId::new("alice").unwrap();
    let all = shared::inbox::Change::ReadAll { kind: None, before: None };
    test.app.inbox.change(&user, &all, test.app.clock.at()).await.unwrap();
    test.push.taken();
    test.clock.turn(Duration::from_secs(60));
    assert_eq!(drained(&test).await, 0);
}
