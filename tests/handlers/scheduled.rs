//! Sends with a delay or a due time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use harness::{HttpAnswer, START_MS, TestApp, body, event, invoke};
use serde_json::{Value, json};
use shared::clock::{Clock, Time};
use shared::delivery::wake::Wake;
use shared::inbox::send::MAX_DELAY_MS;

/// Counts how often the drain is woken.
struct Counting(AtomicUsize);

#[async_trait]
impl Wake for Counting {
    async fn wake_drain(&self, _: bool) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Sends to alice, with this key and this additional member.
async fn sends(test: &TestApp, key: Option<&str>, name: &str, value: Value) -> HttpAnswer {
    let mut payload = json!({"type": "like", "userId": "alice", "title": "Hi"});
    if let Some(key) = key {
        payload["idempotencyKey"] = key.into();
    }
    payload[name] = value;
    let mut sending = event("send");
    sending["headers"]["authorization"] = test.bearer("reports", "notify:send").into();
    sending["body"] = payload.to_string().into();
    invoke(&test.app, send::handle, sending).await
}

/// The ids in alice's inbox.
async fn listed(test: &TestApp) -> Vec<Value> {
    let mut list = event("list");
    list["headers"]["authorization"] = test.bearer("alice", "").into();
    (list["rawQueryString"], list["queryStringParameters"]) = ("".into(), json!({}));
    let listed = body(&invoke(&test.app, inbox::handle, list).await);
    listed["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect()
}

fn instant(after_ms: i64) -> Value {
    Time(START_MS + after_ms).to_string().into()
}

#[tokio::test]
async fn a_delayed_send_is_answered_with_its_ids_and_delivered_when_it_is_due() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone"]).await;
    for (name, value) in [("delayMs", json!(60_000)), ("delay", json!(6e4)), ("deliverAt", instant(180_000))] {
        let sent = sends(&test, None, name, value).await;
        assert_eq!(sent.status(), 202);
        let answer = body(&sent);
        assert_eq!((&answer["status"], &answer["durability"]), (&json!("scheduled"), &json!("durable")));
        assert_eq!(answer["notifications"][0]["status"], "accepted");
        let id = &answer["notifications"][0]["id"];
        assert!(id.is_string() && !listed(&test).await.contains(id));

        test.clock.advance(Duration::from_millis(59_999));
        // The deadline leaves the drain no time to wait for the due time.
        let early = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
        assert_eq!((early.chunks, test.push.taken().len()), (0, 0), "{name}");
        test.clock.advance(Duration::from_millis(1));
        assert_eq!(drain::handle(&test.app, i64::MAX).await.chunks, 1, "{name}");
        let pushed = test.push.taken();
        assert_eq!(pushed[0].1["notification"]["id"], *id, "{name}");
        assert_eq!(pushed[0].1["notification"]["createdAt"], Time(test.clock.now_ms()).to_string());
        assert_eq!(listed(&test).await[0], *id);
    }
}

#[tokio::test]
async fn a_due_time_in_the_past_means_now() {
    let test = TestApp::new().await;
    for after_ms in [-MAX_DELAY_MS * 2, -1, 0] {
        let answer = body(&sends(&test, None, "deliverAt", instant(after_ms)).await);
        assert_eq!(answer["status"], "accepted", "{after_ms}");
        assert_eq!(listed(&test).await[0], answer["notifications"][0]["id"]);
    }
    assert_eq!(body(&sends(&test, None, "deliverAt", instant(1)).await)["status"], "scheduled");
}

#[tokio::test]
async fn an_invalid_delay_or_due_time_is_refused() {
    let test = TestApp::new().await;
    for (name, value) in [
        ("delayMs", json!(-1)),
        ("delayMs", json!(1.5)),
        ("delay", json!("5")),
        ("delayMs", json!(MAX_DELAY_MS + 1)),
        ("deliverAt", json!("soon")),
        ("deliverAt", json!(1_800_000_000_000_i64)),
        ("deliverAt", instant(MAX_DELAY_MS + 1)),
    ] {
        let refused = sends(&test, Some("key"), name, value.clone()).await;
        let found = (refused.status().as_u16(), body(&refused)["error"]["fields"].clone());
        assert_eq!(found, (422, json!([name])), "{name}: {value}");
    }
    // Nothing was stored, so the key is still free.
    assert_eq!(sends(&test, Some("key"), "deliverAt", instant(MAX_DELAY_MS)).await.status(), 202);
    assert_eq!(sends(&test, None, "delayMs", json!(MAX_DELAY_MS)).await.status(), 202);
}

#[tokio::test]
async fn the_maximum_of_a_year_is_checked_only_for_a_new_key() {
    let mut test = TestApp::new().await;
    let first = sends(&test, Some("key"), "deliverAt", instant(MAX_DELAY_MS)).await;
    assert_eq!(first.status(), 202);
    // As in another process whose clock is behind.
    test.app.clock = Clock::manual(START_MS - 1_000);
    let again = sends(&test, Some("key"), "deliverAt", instant(MAX_DELAY_MS)).await;
    assert_eq!((again.status().as_u16(), body(&again)), (202, body(&first)));
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    let other = sends(&test, Some("key"), "deliverAt", instant(MAX_DELAY_MS + 1)).await;
    assert_eq!(body(&other)["error"]["code"], "idempotency_key_reused");
    assert_eq!(sends(&test, Some("new"), "deliverAt", instant(MAX_DELAY_MS)).await.status(), 422);
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_even_after_the_due_time() {
    let test = TestApp::new().await;
    let first = body(&sends(&test, Some("key"), "deliverAt", instant(60_000)).await);
    test.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        let again = sends(&test, Some("key"), "deliverAt", instant(60_000)).await;
        assert_eq!((body(&again), again.headers()["idempotency-replayed"].to_str().unwrap()), (first.clone(), "true"));
        drain::handle(&test.app, i64::MAX).await;
    }
    assert_eq!(listed(&test).await.len(), 1);
    let other = sends(&test, Some("key"), "delayMs", json!(60_000)).await;
    assert_eq!(body(&other)["error"]["code"], "idempotency_key_reused");
}

#[tokio::test]
async fn a_scheduled_send_counts_against_the_limit_when_it_is_accepted() {
    let test = TestApp::new().await;
    for n in 0..30 {
        assert_eq!(sends(&test, None, "delayMs", json!(1_000_000)).await.status(), 202, "{n}");
    }
    assert_eq!(sends(&test, None, "delayMs", json!(1_000_000)).await.status(), 429);
    assert_eq!(sends(&test, None, "priority", json!("low")).await.status(), 429);
}

#[tokio::test]
async fn a_send_due_within_a_minute_wakes_the_drain() {
    let mut test = TestApp::new().await;
    let woken = Arc::new(Counting(AtomicUsize::new(0)));
    test.app.wake = Some(woken.clone());
    for (name, value, times) in [
        ("delayMs", json!(0), 0),
        ("delayMs", json!(1), 1),
        ("delayMs", json!(60_000), 1),
        ("delayMs", json!(60_001), 0),
        ("deliverAt", instant(0), 0),
        ("deliverAt", instant(60_000), 1),
        ("deliverAt", instant(60_001), 0),
    ] {
        // Clears the heartbeat, so that no drain seems to be awake.
        test.app.moment.queue.sign_off(test.app.clock.at()).await;
        sends(&test, None, name, value.clone()).await;
        assert_eq!(woken.0.swap(0, Ordering::Relaxed), times, "{name}: {value}");
    }
}

#[tokio::test]
async fn more_than_five_sends_due_at_once_to_a_user_are_pushed_as_one_resync() {
    let test = TestApp::new().await;
    test.connect("alice", &["phone", "laptop"]).await;
    for (count, expected) in [(5, "notification"), (6, "resync")] {
        for _ in 0..count {
            assert_eq!(sends(&test, None, "delayMs", json!(60_000)).await.status(), 202);
        }
        test.clock.advance(Duration::from_secs(60));
        test.push.will("laptop", &[shared::sockets::push::Outcome::Failed]);
        let before = listed(&test).await.len();
        let run = drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
        assert_eq!((run.chunks, run.resynced), (count, usize::from(expected == "resync")));
        let frames: Vec<Value> = test.push.taken().into_iter().map(|(_, frame)| frame["type"].clone()).collect();
        assert_eq!(frames, vec![expected; if expected == "resync" { 2 } else { 2 * count }]);
        assert_eq!(listed(&test).await.len(), before + count);
        // The laptop failed the resync, or the first of the notifications.
        test.clock.advance(Duration::from_secs(5));
        drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
        let again: Vec<(String, Value)> =
            test.push.taken().into_iter().map(|(to, frame)| (to, frame["type"].clone())).collect();
        let retried: &[&str] = if expected == "resync" { &["laptop", "phone"] } else { &["laptop"] };
        let mut to: Vec<&str> = again.iter().map(|(to, _)| to.as_str()).collect();
        to.sort_unstable();
        assert_eq!(to, retried, "{again:?}");
        assert!(again.iter().all(|(_, kind)| kind == expected), "{again:?}");
        test.clock.advance(Duration::from_secs(600));
        drain::handle(&test.app, test.clock.now_ms() + 10_000).await;
        assert_eq!(test.push.taken(), []);
    }
}

#[tokio::test]
async fn a_drain_stops_waiting_when_its_process_ends() {
    let mut test = TestApp::new().await;
    assert_eq!(sends(&test, None, "delayMs", json!(30_000)).await.status(), 202);
    // The clock does not advance, so a drain that ignored the end of the process would wait forever.
    let run = drain::handle_until(&test.app, i64::MAX, Duration::ZERO, std::future::ready(())).await;
    assert_eq!(run, drain::Drained::default());
    let bell = Arc::new(Counting(AtomicUsize::new(0)));
    test.app.wake = Some(bell.clone());
    assert_eq!(sends(&test, None, "delayMs", json!(30_000)).await.status(), 202);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1, "the drain has signed off");
}
