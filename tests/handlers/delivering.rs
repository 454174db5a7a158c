//! What happens to pushes that a connection accepts, fails or answers with gone.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use harness::{Counted, TestApp, event, invoke};
use serde_json::json;
use shared::clock::At;
use shared::delivery::Delivery;
use shared::delivery::deliveries::{Backlog, Deliveries, Materialised, NextDue, RowKey, Taken};
use shared::error::StoreError;
use shared::ids::{ConnectionId, NotificationId, UserId};
use shared::sockets::push::Outcome;
use shared::telemetry::{Counts, PushAttempt, Report, Telemetry};
use tokio::sync::Barrier;

async fn send(test: &TestApp) {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = json!({"type": "like", "userIds": ["alice"], "title": "Hi"}).to_string().into();
    assert_eq!(invoke(&test.app, send::handle, sending).await.status(), 202);
}

async fn is_known(test: &TestApp, connection: &str) -> bool {
    test.app.record.connections.find(&ConnectionId::new(connection)).await.unwrap().is_some()
}

async fn drained(test: &TestApp) -> usize {
    // A drain stops 10 s before its deadline, so this one does what is due and does not linger.
    drain::handle(&test.app, test.clock.now_ms() + 10_000).await.pushed
}

#[tokio::test]
async fn an_offered_notification_is_not_pushed_again() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    send(&test).await;
    assert_eq!(test.push.taken().len(), 2);
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(drained(&test).await, 0);
    assert!(test.push.taken().is_empty());
}

#[tokio::test]
async fn a_failed_push_is_retried_from_the_record_alone() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed, Outcome::Failed]);
    send(&test).await;
    assert_eq!(test.push.taken().len(), 1);
    // The row is due 5 s after the send, which leaves the sending function time for its own push.
    test.clock.advance(Duration::from_millis(4_999));
    assert_eq!(drained(&test).await, 0);
    test.clock.advance(Duration::from_millis(1));
    assert_eq!(drained(&test).await, 1);
    // The retry failed too, and the next one is 5 s later.
    test.clock.advance(Duration::from_millis(4_999));
    assert_eq!(drained(&test).await, 0);
    test.clock.advance(Duration::from_millis(1));
    assert_eq!(drained(&test).await, 1);
    test.clock.advance(Duration::from_secs(600));
    assert_eq!(drained(&test).await, 0);
    assert!(is_known(&test, "phone").await);
}

#[tokio::test]
async fn a_connection_that_answers_gone_is_forgotten() {
    let test = TestApp::new().await;
    test.connect("alice", &["gone", "phone"]).await;
    test.clock.advance(Duration::from_secs(10));
    test.push.will("gone", &[Outcome::Gone]);
    send(&test).await;
    assert!(!is_known(&test, "gone").await && is_known(&test, "phone").await);
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(drained(&test).await, 0, "it was offered to every remaining connection");
}

#[tokio::test]
async fn a_young_connection_that_answers_gone_gets_a_second_attempt_and_is_kept() {
    let test = TestApp::new().await;
    test.connect("alice", &["new"]).await;
    test.clock.advance(Duration::from_millis(9_999));
    test.push.will("new", &[Outcome::Gone, Outcome::Offered]);
    send(&test).await;
    assert_eq!(test.push.taken().len(), 2);
    test.push.will("new", &[Outcome::Gone, Outcome::Gone]);
    send(&test).await;
    assert_eq!(test.push.taken().len(), 2);
    assert!(is_known(&test, "new").await);
    test.clock.advance(Duration::from_secs(5));
    assert_eq!(drained(&test).await, 1, "the notification that was never offered is retried");
    assert!(is_known(&test, "new").await);
}

#[tokio::test]
async fn a_notification_read_before_the_retry_is_not_pushed() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test).await;
    let user = shared::ids::UserId::new("alice").unwrap();
    let all = shared::inbox::Change::ReadAll { kind: None, before: None };
    test.app.record.inbox.change(&user, &all, test.app.clock.at()).await.unwrap();
    test.push.taken();
    test.clock.advance(Duration::from_secs(60));
    assert_eq!(drained(&test).await, 0);
}

/// A record and a moment that block until both are called: sequential calls never return.
struct Rendezvous {
    record: Arc<Counted>,
    both: Barrier,
}

#[async_trait]
impl Deliveries for Rendezvous {
    async fn materialise(&self, limit: usize, at: At) -> Result<Materialised, StoreError> {
        self.record.materialise(limit, at).await
    }
    async fn take_due(&self, limit: usize, at: At) -> Result<Taken, StoreError> {
        self.record.take_due(limit, at).await
    }
    async fn mark_resynced(&self, users: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        self.record.mark_resynced(users, at).await
    }
    async fn take(&self, keys: &[RowKey<'_>], at: At) -> Result<Vec<Delivery>, StoreError> {
        self.record.take(keys, at).await
    }
    async fn postpone(&self, rows: &[(RowKey<'_>, i64)], at: At) -> Result<Vec<Option<i64>>, StoreError> {
        self.record.postpone(rows, at).await
    }
    async fn mark_offered(&self, rows: &[(&UserId, i64)], at: At) -> Result<(), StoreError> {
        self.both.wait().await;
        self.record.mark_offered(rows, at).await
    }
    async fn next_due(&self) -> Result<NextDue, StoreError> {
        self.record.next_due().await
    }
    async fn backlog(&self, at: At) -> Result<Backlog, StoreError> {
        self.record.backlog(at).await
    }
}

#[async_trait]
impl Telemetry for Rendezvous {
    async fn report(&self, report: &Report<'_>, _: At) {
        assert_eq!((report.hints.len(), report.counts.delivered, report.outcomes.len()), (1, 1, 1), "one report");
        self.both.wait().await;
    }
    async fn counts(&self, _: At) -> Option<Counts> {
        None
    }
    async fn outcomes(&self, _: NotificationId, _: At) -> Option<Vec<PushAttempt>> {
        None
    }
}

#[tokio::test]
async fn telemetry_is_reported_concurrently_with_the_write_to_the_record() {
    let mut test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let both = Arc::new(Rendezvous { record: test.record.clone(), both: Barrier::new(2) });
    (test.app.record.deliveries, test.app.moment.telemetry) = (both.clone(), both);
    tokio::time::timeout(Duration::from_secs(10), send(&test)).await.expect("the two calls are sequential");
}
