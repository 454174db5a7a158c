//! Sends that are due later: in no inbox before that, and exactly once in each inbox from then on.

use shared::delivery::Delivery;
use shared::delivery::deliveries::{Backlog, RowKey};
use shared::ids::UserId;
use shared::inbox::history::{SendQuery, States};
use shared::inbox::send::Due;
use shared::inbox::sends::{Appended, CHUNK_RECIPIENTS};
use shared::telemetry::trace::TraceParent;

use crate::record::{LATE_MS, Record, START_MS, Send, at, concurrently, id, trace, user, users};

on_each_record! {
    a_delayed_send_arrives_at_its_due_time_and_not_a_millisecond_earlier,
    a_due_time_in_the_past_makes_a_chunk_that_is_due_at_once,
    all_recipients_of_a_delayed_send_wait_in_chunks,
    concurrent_drains_start_a_send_once,
    a_repeat_gets_the_first_answer_before_and_after_the_due_time,
    recipients_of_a_delayed_send_are_waiting,
    the_trace_of_a_send_stays_with_its_rows,
}

pub(super) fn delayed(key: &str, delay_ms: i64) -> Send {
    Send::due(key, Due::After(delay_ms))
}

async fn materialises(record: &Record, now_ms: i64) -> bool {
    record.materialise_next(at(now_ms)).await.unwrap().is_some()
}

async fn a_delayed_send_arrives_at_its_due_time_and_not_a_millisecond_earlier(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    for (key, due, due_ms) in
        [("1", Due::After(5_000), 5_010), ("2", Due::At(START_MS + 6_000), 6_000), ("3", Due::After(1), 6_011)]
    {
        let sent_ms = if key == "3" { 6_010 } else { 10 };
        let before = record.position("alice").await;
        assert!(record.send(&Send::due(key, due), &users(&["alice"]), at(sent_ms)).await.is_empty());
        assert_eq!(record.position("alice").await, before);
        assert!(record.inbox().find(&user("alice"), id(key, "alice"), at(LATE_MS)).await.unwrap().is_none());

        assert_eq!(record.next_due().await.unwrap(), Some(START_MS + due_ms));
        assert!(!materialises(&record, due_ms - 1).await, "{key} arrived early");
        let deliveries = record.materialise_next(at(due_ms)).await.unwrap().unwrap();
        let [delivery] = deliveries.as_slice() else { panic!("{deliveries:?}") };
        assert_eq!(delivery.notification.id, id(key, "alice"));
        assert_eq!(delivery.notification.created_at.0, START_MS + due_ms, "created when it arrived in the inbox");
        assert_eq!(delivery.notification.cursor.offset, before.head + 1);
        assert!(!materialises(&record, LATE_MS).await, "{key} arrived twice");
        let marked = record.deliveries().mark_offered(&[(&delivery.user, before.head + 1)], at(due_ms)).await;
        marked.unwrap();
    }
    assert_eq!(record.listed("alice").await.len(), 3);
}

async fn a_due_time_in_the_past_makes_a_chunk_that_is_due_at_once(record: Record) {
    let past = Send::due("1", Due::At(START_MS - 5));
    assert!(record.send(&past, &users(&["alice"]), at(0)).await.is_empty());
    assert_eq!(record.next_due().await.unwrap(), Some(START_MS - 5));
    assert!(materialises(&record, 0).await);
    assert_eq!(record.listed("alice").await[0].created_at.0, START_MS);
}

async fn all_recipients_of_a_delayed_send_wait_in_chunks(record: Record) {
    let to: Vec<UserId> = (0..2 * CHUNK_RECIPIENTS + 50).map(|n| user(&format!("user \"{n}\""))).collect();
    record.send(&delayed("1", 1_000), &to, at(0)).await;
    let backlog = async |now_ms| record.deliveries().backlog(at(now_ms)).await.unwrap();
    assert_eq!(backlog(999).await, Backlog { delayed: 450, ..Backlog::default() });
    assert_eq!(backlog(1_000).await, Backlog { waiting: 450, ..Backlog::default() });
    for left in [250, 50, 0] {
        assert!(!materialises(&record, 999).await);
        assert!(materialises(&record, 1_000).await);
        assert_eq!(backlog(1_000).await, Backlog { waiting: left, ..Backlog::default() });
    }
    assert!(!materialises(&record, LATE_MS).await);
    for recipient in &to {
        assert_eq!(record.position(recipient.as_str()).await.head, 1, "{recipient}");
    }
}

async fn concurrent_drains_start_a_send_once(record: Record) {
    let to: Vec<UserId> = (0..4 * CHUNK_RECIPIENTS).map(|n| user(&format!("user {n}"))).collect();
    record.send(&delayed("1", 1_000), &to, at(0)).await;
    let materialised = concurrently(8, |_| {
        let record = record.clone();
        async move {
            let mut mine = 0;
            while materialises(&record, 1_000).await {
                mine += 1;
            }
            mine
        }
    })
    .await;
    assert_eq!(materialised.iter().sum::<i32>(), 4, "{materialised:?}");
    for recipient in &to {
        assert_eq!(record.position(recipient.as_str()).await.head, 1, "{recipient}");
    }
}

async fn a_repeat_gets_the_first_answer_before_and_after_the_due_time(record: Record) {
    let send = delayed("1", 1_000);
    record.send(&send, &users(&["alice"]), at(0)).await;
    // Also if the repeat is due at another time than the first send.
    let repeats = [send.clone(), Send::new("1"), Send::due("1", Due::At(START_MS))];
    for (now_ms, arrived) in [(1, 0), (1_000, 1)] {
        for repeat in &repeats {
            match record.append(repeat, &users(&["alice", "bob"]), at(now_ms)).await {
                Appended::Known(first) => assert_eq!(first.answer, send.answer),
                stored => panic!("{stored:?}"),
            }
        }
        assert_eq!(materialises(&record, now_ms).await, arrived == 1);
        assert_eq!(record.position("alice").await.head, arrived);
    }
    assert_eq!(record.position("bob").await.head, 0);
    assert_eq!(record.next_due().await.unwrap(), None);
    // The same for concurrent repeats.
    let appended = concurrently(6, |_| {
        let record = record.clone();
        async move { record.append(&delayed("2", 1_000), &users(&["carol"]), at(0)).await }
    })
    .await;
    let stored = appended.iter().filter(|appended| matches!(appended, Appended::Stored(_)));
    assert_eq!(stored.count(), 1);
    assert!(materialises(&record, 1_000).await && !materialises(&record, 1_000).await);
}

async fn recipients_of_a_delayed_send_are_waiting(record: Record) {
    record.send(&delayed("1", 1_000), &users(&["alice", "bob"]), at(7)).await;
    let states = async || {
        let page = record.send_history().sends(&SendQuery { limit: 1, ..SendQuery::default() }, at(10)).await.unwrap();
        (page.sends[0].key.at_ms, page.sends[0].states)
    };
    let waiting = (START_MS + 7, States { waiting: 2, ..States::default() });
    assert_eq!(states().await, waiting);
    let trace = async || record.send_history().trace(id("1", "bob"), None, at(10)).await.unwrap().unwrap();
    assert_eq!((trace().await.accepted_at_ms, trace().await.materialised_at_ms), (START_MS + 7, None));
    assert!(materialises(&record, 1_007).await);
    assert_eq!(states().await, waiting);
    assert_eq!(trace().await.materialised_at_ms, Some(START_MS + 1_007));
}

/// The traces of what is pushed.
fn traces(deliveries: &[Delivery]) -> Vec<Option<TraceParent>> {
    deliveries.iter().map(|delivery| delivery.notification.content.trace).collect()
}

async fn the_trace_of_a_send_stays_with_its_rows(record: Record) {
    let many: Vec<UserId> = (0..CHUNK_RECIPIENTS).map(|n| user(&format!("user {n}"))).chain([user("alice")]).collect();
    record.connect("alice", "tab", at(0)).await;
    for (send, to) in [(Send::new("1"), &many[..]), (delayed("2", 0), &many[CHUNK_RECIPIENTS..])] {
        record.send(&send.traced(), to, at(0)).await;
        let arrived = record.materialise_next(at(0)).await.unwrap().unwrap();
        assert_eq!(traces(&arrived), [Some(trace())]);
        let [Delivery { user, notification, fence_ms, .. }] = &arrived[..] else { panic!("{arrived:?}") };
        let key = RowKey { user, offset: notification.cursor.offset, fence_ms: *fence_ms };
        let taken = record.deliveries().take(&[key], at(1)).await.unwrap();
        assert_eq!(traces(&taken), [Some(trace())]);
    }
    let due = record.deliveries().take_due(10, at(1_000_000)).await.unwrap().deliveries;
    assert_eq!(traces(&due), [Some(trace()); 2]);
}
