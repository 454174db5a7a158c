//! Work that is claimed, or falls due, together with other work: which does not suffer from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use harness::{FakePush, TestApp};
use shared::clock::{At, Clock};
use shared::delivery::queue::{Added, CLAIM_MS, Claims, Depth, Entry, MAX_ATTEMPTS, Queue, Resolution};
use shared::delivery::work::PushWork;
use shared::ids::ConnectionId;
use shared::inbox::notification::Priority;
use shared::protocol::Frame;
use shared::sockets::push::{MAX_AT_ONCE, Outcome, Push};
use shared::sockets::streams::Listening;

use crate::queue::{advance, depth, frames, name, pushes, run, send};

/// Sockets of which one panics when it is pushed to.
struct Deadly(Arc<FakePush>);

#[async_trait]
impl Push for Deadly {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        assert!(frames.iter().all(|(connection, _)| connection.as_str() != "deadly"), "the push panics on purpose");
        self.0.push(frames).await
    }

    async fn close(&self, connections: &[ConnectionId]) {
        self.0.close(connections).await;
    }
}

#[tokio::test]
async fn work_that_crashes_its_workers_does_not_affect_its_neighbours() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("bob", &["deadly"]).await;
    test.push.will("deadly", &[Outcome::Failed; 7]);
    send(&test, "bob").await;
    for _ in 0..MAX_ATTEMPTS {
        advance(&test, 300_000).await;
        assert_eq!(pushes(&test).await, frames(&[("deadly", "notification")]));
    }
    for user in ["alice", "carol"] {
        test.connect(user, &[&format!("{user}'s")]).await;
        test.push.will(&format!("{user}'s"), &[Outcome::Failed]);
        send(&test, user).await;
    }
    advance(&test, 300_000).await;
    test.push.taken();
    test.app.push = Arc::new(Deadly(test.push.clone()));
    let app = test.app.clone();
    assert!(tokio::spawn(async move { drain::handle(&app, i64::MAX).await }).await.unwrap_err().is_panic());
    let mut pushed: Vec<String> = test.push.taken().into_iter().map(|(to, _)| to).collect();
    pushed.sort();
    assert_eq!(pushed, ["alice's", "carol's"]);
    // The neighbours were marked as offered before the crash, so only the deadly row is retried.
    test.app.push = test.push.clone();
    advance(&test, 600_000).await;
    assert_eq!(pushes(&test).await, frames(&[("deadly", "notification")]));
}

/// How many messages about earlier work a drain hears first.
const STALE_FRAMES: usize = 100;

/// A queue as on several instances: each claim is two at once, of which the second comes first. It counts them.
struct Several {
    queue: Arc<dyn Queue>,
    claims: AtomicUsize,
}

impl Several {
    fn new(queue: Arc<dyn Queue>) -> Arc<Self> {
        Arc::new(Self { queue, claims: AtomicUsize::new(0) })
    }
}

/// This many messages about earlier work, and then silence.
struct Stale(usize);

#[async_trait]
impl Listening for Stale {
    async fn next(&mut self) -> Option<Frame> {
        match self.0.checked_sub(1) {
            Some(left) => self.0 = left,
            None => std::future::pending().await,
        }
        Some(Frame::from(""))
    }
}

#[async_trait]
impl Queue for Several {
    async fn add(&self, entries: &[Entry], at: At) -> Added {
        self.queue.add(entries, at).await
    }

    async fn claim(&self, limit: usize, at: At) -> Option<Claims> {
        self.claims.fetch_add(1, Ordering::Relaxed);
        let first = self.queue.claim(limit, at).await?;
        let mut both = self.queue.claim(limit, at).await?;
        both.claimed.extend(first.claimed);
        Some(both)
    }

    async fn settle(&self, resolutions: &[Resolution], at: At) -> bool {
        self.queue.settle(resolutions, at).await
    }

    async fn heartbeat(&self, at: At) -> Option<u64> {
        self.queue.heartbeat(at).await
    }

    async fn hear_of_work(&self) -> Option<Box<dyn Listening>> {
        Some(Box::new(Stale(STALE_FRAMES)))
    }

    async fn sign_off(&self, at: At) -> Option<u64> {
        self.queue.sign_off(at).await
    }

    async fn depth(&self, at: At) -> Option<Depth> {
        self.queue.depth(at).await
    }
}

#[tokio::test]
async fn an_entry_whose_claim_lapsed_is_processed_alone_after_those_that_are_claimed_with_it() {
    let mut test = TestApp::new().await;
    test.connect("bob", &["deadly"]).await;
    test.push.will("deadly", &[Outcome::Failed]);
    send(&test, "bob").await;
    advance(&test, 100).await;
    // As a drain does that crashes then.
    assert_eq!(test.app.moment.queue.claim(64, test.app.clock.at()).await.unwrap().claimed.len(), 1);
    advance(&test, CLAIM_MS.unsigned_abs()).await;
    for user in ["alice", "carol"] {
        test.connect(user, &[&format!("{user}'s")]).await;
        test.push.will(&format!("{user}'s"), &[Outcome::Failed]);
        send(&test, user).await;
    }
    advance(&test, 100).await;
    test.push.taken();
    test.app.moment.queue = Several::new(test.app.moment.queue.clone());
    test.app.push = Arc::new(Deadly(test.push.clone()));
    let app = test.app.clone();
    assert!(tokio::spawn(async move { drain::handle(&app, i64::MAX).await }).await.unwrap_err().is_panic());
    let mut pushed: Vec<String> = test.push.taken().into_iter().map(|(to, _)| to).collect();
    pushed.sort();
    assert_eq!(pushed, ["alice's", "carol's"]);
    assert_eq!(depth(&test).await, [0, 1, 0], "the others are settled");
}

#[tokio::test]
async fn what_a_waiting_drain_hears_of_earlier_work_costs_no_claim() {
    let mut test = TestApp::new().await;
    let queue = Several::new(test.app.moment.queue.clone());
    test.app.moment.queue = queue.clone();
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Throttled { retry_after_ms: 4_000 }]);
    send(&test, "alice").await;
    let (app, deadline_ms) = (test.app.clone(), test.clock.now_ms() + 60_000);
    let waiting = tokio::spawn(async move { drain::handle(&app, deadline_ms).await });
    let claims = || queue.claims.load(Ordering::Relaxed);
    let hearing = async {
        while claims() < 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), hearing).await.unwrap();
    // Real time passes for further claims.
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(claims(), 1);
    advance(&test, 4_000).await;
    assert_eq!(waiting.await.unwrap().pushed, 1);
}

#[tokio::test]
async fn a_push_gets_no_more_frames_than_it_attempts() {
    const USERS: usize = 30;
    let test = TestApp::new().await;
    for user in (0..USERS).map(|n| format!("user-{n}")) {
        let devices = ["phone", "laptop", "tablet"].map(|device| format!("{user}'s {device}"));
        test.connect(&user, &devices.each_ref().map(String::as_str)).await;
        devices.iter().for_each(|device| test.push.will(device, &[Outcome::Failed]));
        send(&test, &user).await;
    }
    advance(&test, 100).await;
    assert_eq!(pushes(&test).await.len(), 3 * USERS);
    assert!(test.push.most_at_once() <= MAX_AT_ONCE);
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

/// Sockets of which some take long: the clock of the test moves on by so many milliseconds.
struct Slow {
    push: Arc<FakePush>,
    clock: Clock,
    takes_ms: u64,
}

#[async_trait]
impl Push for Slow {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        if frames.iter().any(|(connection, _)| connection.as_str().ends_with("slow")) {
            self.clock.advance(Duration::from_millis(self.takes_ms));
        }
        self.push.push(frames).await
    }

    async fn close(&self, connections: &[ConnectionId]) {
        self.push.close(connections).await;
    }
}

fn slowly(test: &TestApp, takes_ms: u64) -> Arc<Slow> {
    Arc::new(Slow { push: test.push.clone(), clock: test.clock.clone(), takes_ms })
}

#[tokio::test]
async fn slow_devices_do_not_make_others_ring_again() {
    const USERS: usize = 64;
    let mut test = TestApp::new().await;
    for user in (0..USERS).map(|n| format!("user-{n:02}")) {
        let devices = ["phone", "laptop", "slow"].map(|device| format!("{user}'s {device}"));
        test.connect(&user, &devices.each_ref().map(String::as_str)).await;
        devices.iter().for_each(|device| test.push.will(device, &[Outcome::Failed]));
        send(&test, &user).await;
        test.push.will(&devices[2], &[Outcome::Failed]);
    }
    advance(&test, 100).await;
    test.push.taken();
    test.app.push = slowly(&test, 2_000);
    let (app, deadline_ms) = (test.app.clone(), test.clock.now_ms() + 60_000);
    let draining = tokio::spawn(async move { drain::handle(&app, deadline_ms).await });
    while !draining.is_finished() {
        advance(&test, 20).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let pushed = test.push.taken();
    let times = |end: &str| pushed.iter().filter(|(to, _)| to.ends_with(end)).count();
    assert_eq!([times("phone"), times("laptop")], [USERS, USERS]);
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

#[tokio::test]
async fn what_falls_due_together_with_deadly_work_is_pushed_too() {
    // So many that a random order does not put the deadly one first each time.
    const NEIGHBOURS: usize = 40;
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    // Alice is the first of them in the record.
    test.connect("alice", &["deadly"]).await;
    let neighbours: Vec<String> = (0..NEIGHBOURS).map(|n| format!("neighbour-{n}")).collect();
    for neighbour in &neighbours {
        test.connect(neighbour, &[neighbour]).await;
    }
    let devices = || neighbours.iter().map(String::as_str).chain(["deadly"]);
    devices().for_each(|device| test.push.will(device, &[Outcome::Failed; 7]));
    for user in neighbours.iter().map(String::as_str).chain(["alice"]) {
        send(&test, user).await;
    }
    for _ in 0..MAX_ATTEMPTS {
        advance(&test, 300_000).await;
        assert_eq!(pushes(&test).await.len(), NEIGHBOURS + 1);
    }
    test.app.push = Arc::new(Deadly(test.push.clone()));
    for _ in 0..5 {
        advance(&test, 300_000).await;
        let app = test.app.clone();
        assert!(tokio::spawn(async move { drain::handle(&app, i64::MAX).await }).await.unwrap_err().is_panic());
        if !test.push.taken().is_empty() {
            return;
        }
    }
    panic!("the deadly one always came first");
}

#[tokio::test]
async fn a_stale_entry_does_not_replace_the_one_for_what_is_left() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    let stale = PushWork {
        user: name("alice"),
        offset: 1,
        fence_ms: test.clock.now_ms() + 4_000,
        // It is claimed first.
        priority: Priority::Critical,
        throttled: 0,
        left: Vec::new(),
    };
    test.app.moment.queue.add(&[Entry { work: stale.into(), wait_ms: 0 }], test.app.clock.at()).await;
    advance(&test, 100).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

#[tokio::test]
async fn an_entry_whose_claim_lapsed_keeps_its_attempts_if_its_turn_does_not_come() {
    let mut test = TestApp::new().await;
    test.connect("bob", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "bob").await;
    advance(&test, 100).await;
    assert_eq!(test.app.moment.queue.claim(64, test.app.clock.at()).await.unwrap().claimed.len(), 1);
    advance(&test, CLAIM_MS.unsigned_abs()).await;
    test.connect("alice", &["slow"]).await;
    test.push.will("slow", &[Outcome::Failed]);
    send(&test, "alice").await;
    advance(&test, 100).await;
    test.app.moment.queue = Several::new(test.app.moment.queue.clone());
    test.app.push = slowly(&test, 60_000);
    run(&test).await;
    advance(&test, CLAIM_MS.unsigned_abs()).await;
    let claims = test.app.moment.queue.claim(64, test.app.clock.at()).await.unwrap();
    let attempts: Vec<u32> = claims.claimed.iter().map(|claimed| claimed.attempts).collect();
    assert_eq!(attempts, [3]);
}
