//! Drains that wait for work, and who wakes one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drain::Drained;
use harness::TestApp;
use shared::delivery::queue::AWAKE_MS;
use shared::delivery::wake::Wake;
use shared::sockets::push::Outcome;

use crate::queue::{advance, depth, run, send};

/// Counts how often the drain is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

#[async_trait]
impl Wake for Bell {
    async fn wake_drain(&self, _: bool) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_drain_is_woken_only_if_none_is_awake() {
    let mut test = TestApp::new().await;
    let bell = Arc::new(Bell::default());
    test.app.wake = Some(bell.clone());
    let wakes = || bell.0.swap(0, Ordering::Relaxed);
    test.connect("alice", &["phone"]).await;
    send(&test, "alice").await;
    assert_eq!(wakes(), 0, "nothing was enqueued");
    test.push.will("phone", &[Outcome::Failed, Outcome::Failed]);
    send(&test, "alice").await;
    assert_eq!(wakes(), 1);
    test.app.moment.queue.heartbeat(test.app.clock.at()).await;
    send(&test, "alice").await;
    assert_eq!(wakes(), 0, "a drain is awake");
    advance(&test, AWAKE_MS.unsigned_abs()).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    assert_eq!(wakes(), 1, "its heartbeat has lapsed");
    run(&test).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    assert_eq!(wakes(), 1, "the drain has signed off");
}

#[tokio::test]
async fn a_waiting_drain_picks_up_new_work() {
    let mut test = TestApp::new().await;
    let bell = Arc::new(Bell::default());
    test.app.wake = Some(bell.clone());
    test.connect("alice", &["phone"]).await;
    test.connect("bob", &["tablet"]).await;
    // The delayed retry keeps the drain waiting.
    test.push.will("phone", &[Outcome::Throttled { retry_after_ms: 4_000 }]);
    send(&test, "alice").await;
    assert_eq!(bell.0.swap(0, Ordering::Relaxed), 1);
    let (app, deadline_ms) = (test.app.clone(), test.clock.now_ms() + 60_000);
    let lingering = tokio::spawn(async move { drain::handle(&app, deadline_ms).await });
    while !test.app.moment.queue.add(&[], test.app.clock.at()).await.drain_is_awake.unwrap() {
        tokio::task::yield_now().await;
    }
    test.push.taken();
    test.push.will("tablet", &[Outcome::Failed]);
    send(&test, "bob").await;
    assert_eq!(bell.0.load(Ordering::Relaxed), 0, "the waiting drain is enough");
    advance(&test, 100).await;
    let mut pushed = Vec::new();
    while pushed.len() < 2 {
        pushed.extend(test.push.taken());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!([&pushed[0].0, &pushed[1].0], ["tablet", "tablet"], "the call itself, and the drain");
    advance(&test, 4_000).await;
    assert_eq!(lingering.await.unwrap(), Drained { pushed: 2, ..Drained::default() });
}

#[tokio::test]
async fn an_idle_drain_picks_up_new_work_until_its_process_ends() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let app = test.app.clone();
    let idling = tokio::spawn(async move {
        let ending = async {
            let _ = ended.await;
        };
        drain::handle_until(&app, i64::MAX, Duration::from_secs(30), ending).await
    });
    for _ in 0..2 {
        while !test.app.moment.queue.add(&[], test.app.clock.at()).await.drain_is_awake.unwrap() {
            tokio::task::yield_now().await;
        }
        assert!(!idling.is_finished());
        test.push.will("phone", &[Outcome::Failed]);
        send(&test, "alice").await;
        advance(&test, 100).await;
        let pushing = async {
            // By the call itself, and by the drain.
            let mut pushed = 0;
            while pushed < 2 {
                pushed += test.push.taken().len();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), pushing).await.expect("no drain listens");
    }
    drop(end);
    assert_eq!(idling.await.unwrap(), Drained { pushed: 2, ..Drained::default() });
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

#[tokio::test]
async fn a_drain_that_may_not_linger_is_not_idle_either() {
    let secret = ("JWT_SECRET", "a secret of at least thirty-two bytes");
    let test = TestApp::with(&[secret, ("DRAIN_LINGER_MS", "0")]).await;
    let idle = Duration::from_secs(30);
    let ending = drain::handle_until(&test.app, i64::MAX, idle, std::future::pending());
    let run = tokio::time::timeout(Duration::from_secs(10), ending).await;
    assert_eq!(run.expect("it waits"), Drained::default());
}

#[tokio::test]
async fn a_lingering_drain_retries_as_soon_as_a_new_one_would() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed; 5]);
    send(&test, "alice").await;
    test.push.taken();
    let app = test.app.clone();
    let lingering = tokio::spawn(async move { drain::handle(&app, i64::MAX).await });
    let (mut attempts, mut now_ms) = (0, 0);
    while attempts < 5 {
        assert!(now_ms < 4_000, "{attempts} attempts: the drain waited for the record");
        advance(&test, 50).await;
        now_ms += 50;
        // Real time passes for the drain to run, while the clock does not advance.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            attempts += test.push.taken().len();
        }
    }
    // Five attempts, after at most 0.1, 0.2, 0.4, 0.8 and 1.6 s.
    assert_eq!(lingering.await.unwrap(), Drained { pushed: 5, ..Drained::default() });
}
