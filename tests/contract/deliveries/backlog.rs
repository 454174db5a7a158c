//! How much waits, and for how long.

use shared::delivery::deliveries::Backlog;
use shared::inbox::Change;
use shared::inbox::sends::CHUNK_RECIPIENTS;

use crate::record::{LATE_MS, Record, Send, at, ids, user};

on_each_record! {
    nothing_waits_in_a_new_record,
    a_row_waits_until_it_is_offered,
    the_oldest_age_counts_from_the_first_due_time,
    recipients_in_chunks_are_delayed_until_due_and_waiting_from_then_on,
    a_row_that_was_read_does_not_wait,
}

async fn backlog(record: &Record, now_ms: i64) -> Backlog {
    record.deliveries().backlog(at(now_ms)).await.unwrap()
}

async fn nothing_waits_in_a_new_record(record: Record) {
    assert_eq!(backlog(&record, 0).await, Backlog::default());
    // Nor after a send to a user without connections.
    record.ring(&["1"], "alice", at(0)).await;
    assert_eq!(backlog(&record, LATE_MS).await, Backlog::default());
}

async fn a_row_waits_until_it_is_offered(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2"], "alice", at(0)).await;
    assert_eq!(backlog(&record, 0).await, Backlog { waiting: 2, ..Backlog::default() });
    let alice = user("alice");
    record.deliveries().mark_offered(&[(&alice, 1)], at(1)).await.unwrap();
    assert_eq!(backlog(&record, 1).await, Backlog { waiting: 1, ..Backlog::default() });
    // A taken row is still waiting, since its taker may die.
    record.deliveries().take_due(10, at(5_000)).await.unwrap();
    assert_eq!(backlog(&record, 5_000).await, Backlog { waiting: 1, ..Backlog::default() });
    record.deliveries().mark_offered(&[(&alice, 2)], at(5_001)).await.unwrap();
    assert_eq!(backlog(&record, LATE_MS).await, Backlog::default());
}

async fn the_oldest_age_counts_from_the_first_due_time(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(700)).await;
    record.ring(&["2"], "alice", at(0)).await;
    for (now_ms, oldest_ms) in [(0, 0), (4_999, 0), (5_000, 0), (5_001, 1), (65_000, 60_000)] {
        assert_eq!(
            backlog(&record, now_ms).await,
            Backlog { waiting: 2, oldest_ms, ..Backlog::default() },
            "at {now_ms} ms"
        );
    }
    // A chunk ages as a row does.
    let many: Vec<_> = (0..CHUNK_RECIPIENTS + 1).map(|n| user(&format!("user {n}"))).collect();
    record.send(&Send::new("large"), &many, at(3_000)).await;
    assert_eq!(backlog(&record, 65_000).await, Backlog { waiting: 3, oldest_ms: 62_000, ..Backlog::default() });
}

async fn recipients_in_chunks_are_delayed_until_due_and_waiting_from_then_on(record: Record) {
    let many: Vec<_> = (0..3 * CHUNK_RECIPIENTS + 7).map(|n| user(&format!("user \"{n}\", 🔔"))).collect();
    record.send(&Send::new("1"), &many, at(1_000)).await;
    let beyond = many.len() as u64 - CHUNK_RECIPIENTS as u64;
    assert_eq!(backlog(&record, 999).await, Backlog { delayed: beyond, ..Backlog::default() });
    assert_eq!(backlog(&record, 1_000).await, Backlog { waiting: beyond, ..Backlog::default() });
    for left in [beyond - 200, beyond - 400, 0] {
        assert!(record.materialise_next(at(1_000)).await.unwrap().is_some());
        let oldest_ms = if left > 0 { 500 } else { 0 };
        assert_eq!(backlog(&record, 1_500).await, Backlog { waiting: left, oldest_ms, ..Backlog::default() });
    }
}

async fn a_row_that_was_read_does_not_wait(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2"], "alice", at(0)).await;
    record.change("alice", Change::Read(ids(&["1"], "alice")), at(1)).await;
    record.deliveries().take_due(10, at(5_000)).await.unwrap();
    assert_eq!(backlog(&record, 5_000).await, Backlog { waiting: 1, ..Backlog::default() });
}
