//! What an invocation did not finish, and how the drain works it off the queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use drain::Drained;
use harness::{FakePush, TestApp, event, request};
use serde_json::json;
use shared::delivery::deliveries::MAX_FRAMES_PER_USER;
use shared::delivery::queue::{AWAKE_MS, CLAIM_MS, Depth, Entry, MAX_ATTEMPTS};
use shared::delivery::wake::Wake;
use shared::delivery::work::PushWork;
use shared::ids::{ConnectionId, UserId};
use shared::inbox::Change;
use shared::inbox::notification::Priority;
use shared::protocol::Frame;
use shared::sockets::push::{Outcome, Push};

const THROTTLED: Outcome = Outcome::Throttled { retry_after_ms: 0 };

async fn send_with(test: &TestApp, user: &str, priority: &str) {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    let kind = format!("news-{}", test.app.record.inbox.position(&name(user), test.app.clock.at()).await.unwrap().head);
    sending["body"] = json!({"type": kind, "userId": user, "title": "Hi", "priority": priority}).to_string().into();
    assert_eq!(send::handle(&test.app, request(sending)).await.status(), 202);
}

async fn send(test: &TestApp, user: &str) {
    send_with(test, user, "normal").await;
}

fn name(user: &str) -> UserId {
    UserId::new(user).unwrap()
}

/// A run that has no time to stay: it does what is due.
async fn run(test: &TestApp) -> Drained {
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert!(!run.failed);
    run
}

/// To whom a drain pushes now, and what.
async fn pushes(test: &TestApp) -> Vec<(String, String)> {
    test.push.taken();
    run(test).await;
    let told = |(to, frame): (String, serde_json::Value)| (to, frame["type"].as_str().unwrap().to_owned());
    test.push.taken().into_iter().map(told).collect()
}

fn frames(to: &[(&str, &str)]) -> Vec<(String, String)> {
    to.iter().map(|(to, kind)| ((*to).to_owned(), (*kind).to_owned())).collect()
}

async fn turn(test: &TestApp, ms: u64) {
    test.clock.turn(Duration::from_millis(ms));
}

async fn depth(test: &TestApp) -> [u64; 3] {
    let Depth { waiting, processing, delayed, .. } = test.app.moment.queue.depth(test.app.clock.at()).await.unwrap();
    [waiting, processing, delayed]
}

#[tokio::test]
async fn what_failed_is_pushed_again_within_a_tenth_of_a_second_and_only_to_whom_it_failed() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    turn(&test, 100).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
    // It is done: in the queue, and in the record.
    assert_eq!(depth(&test).await, [0, 0, 0]);
    turn(&test, 600_000).await;
    assert_eq!(pushes(&test).await, []);
}

#[tokio::test]
async fn what_fails_again_and_again_is_tried_less_and_less_often() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed; 12]);
    send(&test, "alice").await;
    let (mut tries, mut now_ms) = (Vec::new(), 0);
    while tries.len() < 12 {
        turn(&test, 50).await;
        now_ms += 50;
        if !pushes(&test).await.is_empty() {
            tries.push(now_ms);
        }
        assert!(now_ms < 400_000, "{tries:?}");
    }
    // Each within twice the time of the one before, up to a minute; and a look each 50 ms.
    let mut before_ms = 0;
    for (n, tried_ms) in tries.iter().enumerate() {
        let longest_ms = (100 << n).min(60_000) + 50;
        assert!(tried_ms - before_ms <= longest_ms, "try {n}: {tries:?}");
        before_ms = *tried_ms;
    }
    assert!(now_ms > 5_000, "it was tried as often as it could be: {tries:?}");
    turn(&test, 600_000).await;
    assert_eq!(pushes(&test).await, [], "the last was taken");
}

#[tokio::test]
async fn who_asks_to_wait_is_left_alone_for_so_long() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Throttled { retry_after_ms: 3_000 }]);
    send(&test, "alice").await;
    turn(&test, 2_999).await;
    assert_eq!(pushes(&test).await, []);
    turn(&test, 1).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
}

#[tokio::test]
async fn who_asks_to_wait_for_longer_than_the_record_does_is_left_alone_by_both() {
    for (asked_ms, waits_ms) in [(4_600, 4_600), (30_000, 30_000), (u32::MAX, 300_000)] {
        for loses in [false, true] {
            let mut test = TestApp::new().await;
            test.connect("alice", &["phone", "laptop"]).await;
            test.push.will("phone", &[Outcome::Throttled { retry_after_ms: asked_ms }]);
            send(&test, "alice").await;
            // What only the record knows is tried by itself 5 s later, and everywhere.
            let (waits_ms, to) = if loses {
                test.loses_its_queue();
                (waits_ms + 5_000, vec!["laptop", "phone"])
            } else {
                (waits_ms, vec!["phone"])
            };
            turn(&test, waits_ms - 1).await;
            assert_eq!(pushes(&test).await, []);
            turn(&test, 1).await;
            let mut told = pushes(&test).await;
            told.sort();
            assert_eq!(told, frames(&to.iter().map(|to| (*to, "notification")).collect::<Vec<_>>()), "{asked_ms}");
            turn(&test, 600_000).await;
            assert_eq!(pushes(&test).await, []);
        }
    }
}

#[tokio::test]
async fn nobody_waits_for_long_because_another_device_was_asked_to() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    test.push.will("laptop", &[Outcome::Throttled { retry_after_ms: 300_000 }]);
    send(&test, "alice").await;
    turn(&test, 4_500).await;
    let mut told = pushes(&test).await;
    told.sort();
    assert_eq!(told, frames(&[("laptop", "notification"), ("phone", "notification")]));
    turn(&test, 600_000).await;
    assert_eq!(pushes(&test).await, []);
}

#[tokio::test]
async fn a_drain_that_stays_tries_again_as_soon_as_one_that_comes() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed; 5]);
    send(&test, "alice").await;
    test.push.taken();
    let app = test.app.clone();
    let staying = tokio::spawn(async move { drain::handle(&app, i64::MAX).await });
    let (mut tries, mut now_ms) = (0, 0);
    while tries < 5 {
        assert!(now_ms < 4_000, "{tries} tries: the record was waited for");
        turn(&test, 50).await;
        now_ms += 50;
        // It gets some time of this process, and nothing of the clock's.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            tries += test.push.taken().len();
        }
    }
    // Up to 0.1, 0.2, 0.4, 0.8 and 1.6 s.
    assert_eq!(staying.await.unwrap(), Drained { pushed: 5, ..Drained::default() });
}

#[tokio::test]
async fn a_connection_that_was_sent_too_much_three_times_is_told_to_sync_instead() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[THROTTLED; 5]);
    send(&test, "alice").await;
    let mut told = Vec::new();
    for _ in 0..60 {
        turn(&test, 100).await;
        told.extend(pushes(&test).await);
    }
    let [notification, resync] = [("phone", "notification"), ("phone", "resync")];
    // Twice by the drain after the call itself; then two that are refused, too, and one that is taken.
    assert_eq!(told, frames(&[notification, notification, resync, resync, resync]));
    assert_eq!(depth(&test).await, [0, 0, 0]);
    turn(&test, 600_000).await;
    assert_eq!(pushes(&test).await, []);
}

#[tokio::test]
async fn a_connection_that_is_told_to_sync_takes_nothing_from_the_others() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[THROTTLED; 3]);
    send(&test, "alice").await;
    for _ in 0..3 {
        turn(&test, 400).await;
        pushes(&test).await;
    }
    test.push.will("laptop", &[Outcome::Failed]);
    send(&test, "alice").await;
    let mut told = Vec::new();
    for _ in 0..20 {
        turn(&test, 100).await;
        told.extend(pushes(&test).await);
    }
    told.sort();
    assert_eq!(told, frames(&[("laptop", "notification"), ("phone", "resync")]));
}

#[tokio::test]
async fn a_connection_that_is_not_open_yet_is_tried_again_after_a_second() {
    let test = TestApp::new().await;
    test.connect("alice", &["new"]).await;
    test.push.will("new", &[Outcome::Gone, Outcome::Gone]);
    send(&test, "alice").await;
    turn(&test, 999).await;
    assert_eq!(pushes(&test).await, []);
    turn(&test, 1).await;
    assert_eq!(pushes(&test).await, frames(&[("new", "notification")]));
}

#[tokio::test]
async fn what_is_urgent_goes_first() {
    let test = TestApp::new().await;
    for priority in ["low", "normal", "high", "critical"] {
        test.connect(priority, &[priority]).await;
        test.push.will(priority, &[Outcome::Failed]);
        send_with(&test, priority, priority).await;
    }
    turn(&test, 100).await;
    let order: Vec<String> = pushes(&test).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(order, ["critical", "high", "normal", "low"]);
}

#[tokio::test]
async fn what_was_read_meanwhile_is_not_pushed() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    let all = Change::ReadAll { kind: None, before: None };
    test.app.record.inbox.change(&name("alice"), &all, test.app.clock.at()).await.unwrap();
    turn(&test, 100).await;
    assert_eq!(pushes(&test).await, []);
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

#[tokio::test]
async fn an_entry_that_stands_there_twice_is_pushed_once_and_so_is_one_that_the_record_was_faster_with() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    let work = PushWork {
        user: name("alice"),
        offset: 1,
        fence_ms: test.clock.now_ms() + 5_000,
        priority: Priority::Critical,
        throttled: 0,
        left: Vec::new(),
    };
    let doubled = [0, 1, 6_000].map(|wait_ms| Entry { work: work.clone(), wait_ms });
    test.app.moment.queue.add(&doubled, test.app.clock.at()).await;
    turn(&test, 100).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
    turn(&test, 6_000).await;
    assert_eq!(pushes(&test).await, []);
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

#[tokio::test]
async fn many_of_one_user_are_one_resync() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.connect("bob", &["tablet"]).await;
    for _ in 0..40 {
        test.push.will("phone", &[Outcome::Failed]);
        send(&test, "alice").await;
    }
    for _ in 0..MAX_FRAMES_PER_USER {
        test.push.will("tablet", &[Outcome::Failed]);
        send(&test, "bob").await;
    }
    turn(&test, 100).await;
    let told = pushes(&test).await;
    let count = |frame: (&str, &str)| told.iter().filter(|told| **told == (frame.0.into(), frame.1.into())).count();
    assert_eq!(count(("tablet", "notification")), MAX_FRAMES_PER_USER);
    assert_eq!((count(("phone", "resync")), told.len()), (1, MAX_FRAMES_PER_USER + 1), "{told:?}");
    turn(&test, 600_000).await;
    assert_eq!(pushes(&test).await, []);
}

#[tokio::test]
async fn what_a_dead_drain_had_claimed_comes_back_from_the_record_and_is_not_pushed_twice() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    turn(&test, 100).await;
    let claims = test.app.moment.queue.claim(64, test.app.clock.at()).await.unwrap();
    assert_eq!(claims.claimed.len(), 1);
    turn(&test, 4_900).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
    assert_eq!(depth(&test).await, [0, 1, 0]);
    turn(&test, CLAIM_MS.unsigned_abs()).await;
    assert_eq!(pushes(&test).await, []);
    assert_eq!(depth(&test).await, [0, 0, 0], "it was found to be stale");
}

/// A send whose entry ended so many workers before they took its row.
async fn ends_its_workers(test: &TestApp) {
    test.push.will("phone", &[Outcome::Failed]);
    send(test, "alice").await;
    turn(test, 100).await;
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(test.app.moment.queue.claim(64, test.app.clock.at()).await.unwrap().claimed.len(), 1);
        turn(test, CLAIM_MS.unsigned_abs()).await;
    }
}

#[tokio::test]
async fn what_ended_its_workers_is_set_aside() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    ends_its_workers(&test).await;
    test.push.taken();
    assert_eq!(run(&test).await, Drained { dead_letter: 1, ..Drained::default() });
    assert!(test.push.taken().is_empty());
    let letters = test.app.record.dead_letters.page(None, 10).await.unwrap().letters;
    assert_eq!((letters.len(), letters[0].user.as_ref()), (1, Some(&name("alice"))));
    assert_eq!(depth(&test).await, [0, 0, 0]);
    // Whoever redrives it pushes it.
    assert!(test.app.record.dead_letters.redrive(letters[0].key.id, test.app.clock.at()).await.unwrap());
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
}

#[tokio::test]
async fn what_ended_its_workers_and_was_finished_otherwise_is_not_set_aside() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    ends_its_workers(&test).await;
    let (alice, at) = (name("alice"), test.app.clock.at());
    test.app.record.deliveries.mark_offered(&[(&alice, 1)], at).await.unwrap();
    assert_eq!(run(&test).await, Drained::default());
    assert!(test.app.record.dead_letters.page(None, 10).await.unwrap().letters.is_empty());
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

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
async fn the_drain_is_woken_where_none_is_awake() {
    let mut test = TestApp::new().await;
    let bell = Arc::new(Bell::default());
    test.app.wake = Some(bell.clone());
    let rings = || bell.0.swap(0, Ordering::Relaxed);
    test.connect("alice", &["phone"]).await;
    send(&test, "alice").await;
    assert_eq!(rings(), 0, "nothing is left");
    test.push.will("phone", &[Outcome::Failed, Outcome::Failed]);
    send(&test, "alice").await;
    assert_eq!(rings(), 1);
    test.app.moment.queue.heartbeat(test.app.clock.at()).await;
    send(&test, "alice").await;
    assert_eq!(rings(), 0, "one is awake");
    turn(&test, AWAKE_MS.unsigned_abs()).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    assert_eq!(rings(), 1, "it was not heard of any more");
    run(&test).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    assert_eq!(rings(), 1, "it went to rest");
}

#[tokio::test]
async fn a_drain_that_waits_hears_of_new_work() {
    let mut test = TestApp::new().await;
    let bell = Arc::new(Bell::default());
    test.app.wake = Some(bell.clone());
    test.connect("alice", &["phone"]).await;
    test.connect("bob", &["tablet"]).await;
    // Something to wait for.
    test.push.will("phone", &[Outcome::Throttled { retry_after_ms: 4_000 }]);
    send(&test, "alice").await;
    assert_eq!(bell.0.swap(0, Ordering::Relaxed), 1);
    let (app, deadline_ms) = (test.app.clone(), test.clock.now_ms() + 60_000);
    let staying = tokio::spawn(async move { drain::handle(&app, deadline_ms).await });
    while !test.app.moment.queue.add(&[], test.app.clock.at()).await.drain_is_awake.unwrap() {
        tokio::task::yield_now().await;
    }
    test.push.taken();
    test.push.will("tablet", &[Outcome::Failed]);
    send(&test, "bob").await;
    assert_eq!(bell.0.load(Ordering::Relaxed), 0, "the one that waits is enough");
    turn(&test, 100).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(test.push.taken());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!([&told[0].0, &told[1].0], ["tablet", "tablet"], "the call itself, and the drain");
    turn(&test, 4_000).await;
    assert_eq!(staying.await.unwrap(), Drained { pushed: 2, ..Drained::default() });
}

/// Sockets of which one ends whoever pushes to it.
struct Deadly(Arc<FakePush>);

#[async_trait]
impl Push for Deadly {
    async fn push(&self, frames: &[(ConnectionId, Frame)]) -> Vec<Outcome> {
        assert!(frames.iter().all(|(connection, _)| connection.as_str() != "deadly"), "as it was to be");
        self.0.push(frames).await
    }

    async fn close(&self, connections: &[ConnectionId]) {
        self.0.close(connections).await;
    }
}

#[tokio::test]
async fn what_ends_its_workers_again_and_again_takes_no_neighbour_with_it() {
    let mut test = TestApp::new().await;
    test.loses_its_queue();
    test.connect("bob", &["deadly"]).await;
    test.push.will("deadly", &[Outcome::Failed; 7]);
    send(&test, "bob").await;
    for _ in 0..MAX_ATTEMPTS {
        turn(&test, 300_000).await;
        assert_eq!(pushes(&test).await, frames(&[("deadly", "notification")]));
    }
    for user in ["alice", "carol"] {
        test.connect(user, &[&format!("{user}'s")]).await;
        test.push.will(&format!("{user}'s"), &[Outcome::Failed]);
        send(&test, user).await;
    }
    turn(&test, 300_000).await;
    test.push.taken();
    test.app.push = Arc::new(Deadly(test.push.clone()));
    let app = test.app.clone();
    assert!(tokio::spawn(async move { drain::handle(&app, i64::MAX).await }).await.unwrap_err().is_panic());
    let mut told: Vec<String> = test.push.taken().into_iter().map(|(to, _)| to).collect();
    told.sort();
    assert_eq!(told, ["alice's", "carol's"]);
    // And it was noted.
    test.app.push = test.push.clone();
    turn(&test, 600_000).await;
    assert_eq!(pushes(&test).await, frames(&[("deadly", "notification")]));
}
