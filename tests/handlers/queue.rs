//! Pushes that an invocation did not finish, and how the drain retries them from the queue.

use std::time::Duration;

use drain::Drained;
use harness::{TestApp, event, invoke};
use serde_json::json;
use shared::delivery::dead_letters::{Reason, Redriven};
use shared::delivery::deliveries::MAX_FRAMES_PER_USER;
use shared::delivery::queue::{CLAIM_MS, Depth, Entry, MAX_ATTEMPTS, MAX_UNKNOWN_AGE_MS, RETURN_MS};
use shared::delivery::work::{PushWork, UnknownWork, Work};
use shared::ids::UserId;
use shared::inbox::Change;
use shared::inbox::notification::Priority;
use shared::sockets::push::Outcome;

const THROTTLED: Outcome = Outcome::Throttled { retry_after_ms: 0 };

async fn send_with(test: &TestApp, user: &str, priority: &str) {
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    let kind = format!("news-{}", test.app.record.inbox.position(&name(user), test.app.clock.at()).await.unwrap().head);
    sending["body"] = json!({"type": kind, "userId": user, "title": "Hi", "priority": priority}).to_string().into();
    assert_eq!(invoke(&test.app, send::handle, sending).await.status(), 202);
}

pub(crate) async fn send(test: &TestApp, user: &str) {
    send_with(test, user, "normal").await;
}

pub(crate) fn name(user: &str) -> UserId {
    UserId::new(user).unwrap()
}

/// Runs a drain that has no time to linger: it does only what is due.
pub(crate) async fn run(test: &TestApp) -> Drained {
    let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
    assert!(!run.failed);
    run
}

/// Runs a drain; returns the connection and the type of each frame that it pushes.
pub(crate) async fn pushes(test: &TestApp) -> Vec<(String, String)> {
    test.push.taken();
    run(test).await;
    let with_type = |(to, frame): (String, serde_json::Value)| (to, frame["type"].as_str().unwrap().to_owned());
    test.push.taken().into_iter().map(with_type).collect()
}

pub(crate) fn frames(to: &[(&str, &str)]) -> Vec<(String, String)> {
    to.iter().map(|(to, kind)| ((*to).to_owned(), (*kind).to_owned())).collect()
}

pub(crate) async fn advance(test: &TestApp, ms: u64) {
    test.clock.advance(Duration::from_millis(ms));
}

pub(crate) async fn depth(test: &TestApp) -> [u64; 3] {
    let Depth { waiting, processing, delayed, .. } = test.app.moment.queue.depth(test.app.clock.at()).await.unwrap();
    [waiting, processing, delayed]
}

#[tokio::test]
async fn a_failed_push_is_retried_within_100_ms_and_only_on_the_failed_connection() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    advance(&test, 100).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
    // Neither the queue nor the record has any work left.
    assert_eq!(depth(&test).await, [0, 0, 0]);
    advance(&test, 600_000).await;
    assert_eq!(pushes(&test).await, []);
}

#[tokio::test]
async fn retries_back_off_exponentially_up_to_a_minute() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed; 12]);
    send(&test, "alice").await;
    let (mut attempts, mut now_ms) = (Vec::new(), 0);
    while attempts.len() < 12 {
        advance(&test, 50).await;
        now_ms += 50;
        if !pushes(&test).await.is_empty() {
            attempts.push(now_ms);
        }
        assert!(now_ms < 400_000, "{attempts:?}");
    }
    // The maximum delay doubles with every attempt, up to a minute; the test looks every 50 ms.
    let mut before_ms = 0;
    for (n, tried_ms) in attempts.iter().enumerate() {
        let longest_ms = (100 << n).min(60_000) + 50;
        assert!(tried_ms - before_ms <= longest_ms, "attempt {n}: {attempts:?}");
        before_ms = *tried_ms;
    }
    assert!(now_ms > 5_000, "the delays do not grow: {attempts:?}");
    advance(&test, 600_000).await;
    assert_eq!(pushes(&test).await, [], "the last attempt succeeded");
}

#[tokio::test]
async fn a_throttled_push_waits_as_long_as_asked() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Throttled { retry_after_ms: 3_000 }]);
    send(&test, "alice").await;
    advance(&test, 2_999).await;
    assert_eq!(pushes(&test).await, []);
    advance(&test, 1).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
}

#[tokio::test]
async fn a_wait_longer_than_the_delay_of_the_record_is_respected_by_queue_and_record() {
    for (asked_ms, waits_ms) in [(4_600, 4_600), (30_000, 30_000), (u32::MAX, 300_000)] {
        for loses in [false, true] {
            let mut test = TestApp::new().await;
            test.connect("alice", &["phone", "laptop"]).await;
            test.push.will("phone", &[Outcome::Throttled { retry_after_ms: asked_ms }]);
            send(&test, "alice").await;
            // Without its queue entry, the record retries the row 5 s later and on all connections.
            let (waits_ms, to) = if loses {
                test.loses_its_queue();
                (waits_ms + 5_000, vec!["laptop", "phone"])
            } else {
                (waits_ms, vec!["phone"])
            };
            advance(&test, waits_ms - 1).await;
            assert_eq!(pushes(&test).await, []);
            advance(&test, 1).await;
            let mut pushed = pushes(&test).await;
            pushed.sort();
            assert_eq!(pushed, frames(&to.iter().map(|to| (*to, "notification")).collect::<Vec<_>>()), "{asked_ms}");
            advance(&test, 600_000).await;
            assert_eq!(pushes(&test).await, []);
        }
    }
}

#[tokio::test]
async fn a_long_wait_of_one_device_does_not_delay_the_retry_on_another() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    test.push.will("laptop", &[Outcome::Throttled { retry_after_ms: 300_000 }]);
    send(&test, "alice").await;
    advance(&test, 4_500).await;
    let mut pushed = pushes(&test).await;
    pushed.sort();
    assert_eq!(pushed, frames(&[("laptop", "notification"), ("phone", "notification")]));
    advance(&test, 600_000).await;
    assert_eq!(pushes(&test).await, []);
}

#[tokio::test]
async fn a_connection_throttled_three_times_gets_a_resync_instead() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[THROTTLED; 5]);
    send(&test, "alice").await;
    let mut pushed = Vec::new();
    for _ in 0..60 {
        advance(&test, 100).await;
        pushed.extend(pushes(&test).await);
    }
    let [notification, resync] = [("phone", "notification"), ("phone", "resync")];
    // After the push by the call: two retries by the drain, then two throttled resyncs and one that is accepted.
    assert_eq!(pushed, frames(&[notification, notification, resync, resync, resync]));
    assert_eq!(depth(&test).await, [0, 0, 0]);
    advance(&test, 600_000).await;
    assert_eq!(pushes(&test).await, []);
}

#[tokio::test]
async fn a_resync_of_one_connection_does_not_replace_the_pushes_to_others() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    test.push.will("phone", &[THROTTLED; 3]);
    send(&test, "alice").await;
    for _ in 0..3 {
        advance(&test, 400).await;
        pushes(&test).await;
    }
    test.push.will("laptop", &[Outcome::Failed]);
    send(&test, "alice").await;
    let mut pushed = Vec::new();
    for _ in 0..20 {
        advance(&test, 100).await;
        pushed.extend(pushes(&test).await);
    }
    pushed.sort();
    assert_eq!(pushed, frames(&[("laptop", "notification"), ("phone", "resync")]));
}

#[tokio::test]
async fn a_push_to_a_connection_that_is_not_open_yet_is_retried_after_a_second() {
    let test = TestApp::new().await;
    test.connect("alice", &["new"]).await;
    test.push.will("new", &[Outcome::Gone, Outcome::Gone]);
    send(&test, "alice").await;
    advance(&test, 999).await;
    assert_eq!(pushes(&test).await, []);
    advance(&test, 1).await;
    assert_eq!(pushes(&test).await, frames(&[("new", "notification")]));
}

#[tokio::test]
async fn higher_priorities_are_pushed_first() {
    let test = TestApp::new().await;
    for priority in ["low", "normal", "high", "critical"] {
        test.connect(priority, &[priority]).await;
        test.push.will(priority, &[Outcome::Failed]);
        send_with(&test, priority, priority).await;
    }
    advance(&test, 100).await;
    let order: Vec<String> = pushes(&test).await.into_iter().map(|(to, _)| to).collect();
    assert_eq!(order, ["critical", "high", "normal", "low"]);
}

#[tokio::test]
async fn a_notification_read_before_the_retry_is_not_pushed() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    let all = Change::ReadAll { kind: None, before: None };
    test.app.record.inbox.change(&name("alice"), &all, test.app.clock.at()).await.unwrap();
    advance(&test, 100).await;
    assert_eq!(pushes(&test).await, []);
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

#[tokio::test]
async fn duplicate_and_stale_entries_are_pushed_once() {
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
    let doubled = [0, 1, 6_000].map(|wait_ms| Entry { work: work.clone().into(), wait_ms });
    test.app.moment.queue.add(&doubled, test.app.clock.at()).await;
    advance(&test, 100).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
    advance(&test, 6_000).await;
    assert_eq!(pushes(&test).await, []);
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

#[tokio::test]
async fn many_entries_of_one_user_are_pushed_as_one_resync() {
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
    advance(&test, 100).await;
    let pushed = pushes(&test).await;
    let count = |frame: (&str, &str)| pushed.iter().filter(|one| **one == (frame.0.into(), frame.1.into())).count();
    assert_eq!(count(("tablet", "notification")), MAX_FRAMES_PER_USER);
    assert_eq!((count(("phone", "resync")), pushed.len()), (1, MAX_FRAMES_PER_USER + 1), "{pushed:?}");
    advance(&test, 600_000).await;
    assert_eq!(pushes(&test).await, []);
}

#[tokio::test]
async fn a_row_claimed_by_a_dead_drain_is_pushed_once_from_the_record() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    advance(&test, 100).await;
    let claims = test.app.moment.queue.claim(64, test.app.clock.at()).await.unwrap();
    assert_eq!(claims.claimed.len(), 1);
    advance(&test, 4_900).await;
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
    assert_eq!(depth(&test).await, [0, 1, 0]);
    advance(&test, CLAIM_MS.unsigned_abs()).await;
    assert_eq!(pushes(&test).await, []);
    assert_eq!(depth(&test).await, [0, 0, 0], "the lapsed claim is found to be stale");
}

/// Sends to alice and lets [`MAX_ATTEMPTS`] claims of the queue entry lapse, as workers do that crash before they take
/// the row.
async fn exhaust_attempts(test: &TestApp) {
    test.push.will("phone", &[Outcome::Failed]);
    send(test, "alice").await;
    advance(test, 100).await;
    for _ in 0..MAX_ATTEMPTS {
        assert_eq!(test.app.moment.queue.claim(64, test.app.clock.at()).await.unwrap().claimed.len(), 1);
        advance(test, CLAIM_MS.unsigned_abs()).await;
    }
}

#[tokio::test]
async fn work_that_crashed_its_workers_is_dead_lettered() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    exhaust_attempts(&test).await;
    test.push.taken();
    assert_eq!(run(&test).await, Drained { dead_lettered: 1, ..Drained::default() });
    assert!(test.push.taken().is_empty());
    let dead_letters = test.app.record.dead_letters.page(None, 10).await.unwrap().letters;
    assert_eq!((dead_letters.len(), dead_letters[0].user.as_ref()), (1, Some(&name("alice"))));
    assert_eq!(depth(&test).await, [0, 0, 0]);
    // A redrive makes it due again.
    assert_eq!(
        test.app.record.dead_letters.redrive(dead_letters[0].key.id, test.app.clock.at()).await.unwrap(),
        Redriven::Done
    );
    assert_eq!(pushes(&test).await, frames(&[("phone", "notification")]));
}

#[tokio::test]
async fn work_that_crashed_its_workers_but_was_offered_is_not_dead_lettered() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    exhaust_attempts(&test).await;
    let (alice, at) = (name("alice"), test.app.clock.at());
    test.app.record.deliveries.mark_offered(&[(&alice, 1)], at).await.unwrap();
    assert_eq!(run(&test).await, Drained::default());
    assert!(test.app.record.dead_letters.page(None, 10).await.unwrap().letters.is_empty());
    assert_eq!(depth(&test).await, [0, 0, 0]);
}

/// Adds work of a kind that this version does not know, as a later version does.
async fn add_unknown(test: &TestApp, text: &str) {
    let work = Work::Unknown(UnknownWork::new(text).unwrap());
    test.app.moment.queue.add(&[Entry { work, wait_ms: 0 }], test.app.clock.at()).await;
}

#[tokio::test]
async fn work_of_an_unknown_kind_is_returned_and_delays_nothing() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    for text in ["2 high {\"user\":\"alice\"}", "presence/2 critical {}"] {
        add_unknown(&test, text).await;
    }
    test.push.will("phone", &[Outcome::Failed]);
    send(&test, "alice").await;
    test.push.taken();
    advance(&test, 100).await;
    assert_eq!(run(&test).await, Drained { pushed: 1, returned: 2, ..Drained::default() });
    assert_eq!(test.push.taken().len(), 1);
    assert_eq!(depth(&test).await, [0, 2, 0]);
    // Not due again yet, then returned again: it stays for a drain that knows it.
    assert_eq!(run(&test).await, Drained::default());
    advance(&test, RETURN_MS.unsigned_abs()).await;
    assert_eq!(run(&test).await.returned, 2);
    let claims = {
        advance(&test, RETURN_MS.unsigned_abs()).await;
        test.app.moment.queue.claim(1, test.app.clock.at()).await.unwrap()
    };
    assert!(matches!(claims.claimed[0].work, Ok(Work::Unknown(_))));
    assert!(test.app.record.dead_letters.page(None, 10).await.unwrap().letters.is_empty());
}

#[tokio::test]
async fn work_of_an_unknown_kind_is_dead_lettered_after_a_day() {
    let test = TestApp::new().await;
    let text = "presence/2 high {\"user\":\"alice\"}";
    add_unknown(&test, text).await;
    advance(&test, MAX_UNKNOWN_AGE_MS.unsigned_abs() - 1).await;
    assert_eq!(run(&test).await, Drained { returned: 1, ..Drained::default() });
    advance(&test, RETURN_MS.unsigned_abs()).await;
    assert_eq!(run(&test).await, Drained { dead_lettered: 1, ..Drained::default() });
    assert_eq!(depth(&test).await, [0, 0, 0]);
    let letters = test.app.record.dead_letters.page(None, 10).await.unwrap().letters;
    assert_eq!((letters.len(), letters[0].error.as_str()), (1, Reason::Unknown.text()));
    assert_eq!(run(&test).await, Drained::default());
}
