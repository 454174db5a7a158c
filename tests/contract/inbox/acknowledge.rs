//! Acknowledging a cursor settles everything up to it.

use shared::cursor::{Cursor, Epoch};

use crate::record::{Record, at, concurrently, user};

on_each_record! {
    acknowledging_never_moves_backwards,
    a_cursor_outside_the_history_settles_nothing,
    the_beginning_of_an_empty_inbox_can_be_acknowledged,
    acknowledging_changes_nothing_else,
    the_furthest_of_many_concurrent_acknowledgements_counts,
}

async fn acknowledge(record: &Record, name: &str, cursor: Cursor) -> bool {
    let known = record.inbox().acknowledge(&user(name), cursor, at(1)).await;
    known.unwrap()
}

async fn acknowledging_never_moves_backwards(record: Record) {
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    let position = record.position("alice").await;
    for (offset, acked) in [(0, 0), (2, 2), (1, 2), (0, 2), (2, 2), (3, 3), (1, 3)] {
        assert!(acknowledge(&record, "alice", position.cursor_at(offset)).await);
        assert_eq!(record.position("alice").await.acked, acked);
    }
}

async fn a_cursor_outside_the_history_settles_nothing(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    let position = record.position("alice").await;
    let other = Cursor { epoch: Epoch(position.epoch.0 ^ 1), offset: 1 };
    for cursor in [other, position.cursor_at(3), position.cursor_at(i64::MAX)] {
        assert!(!acknowledge(&record, "alice", cursor).await, "{cursor}");
        assert_eq!(record.position("alice").await, position);
    }
}

async fn the_beginning_of_an_empty_inbox_can_be_acknowledged(record: Record) {
    let position = record.position("alice").await;
    assert!(acknowledge(&record, "alice", position.cursor()).await);
    assert!(!acknowledge(&record, "alice", position.cursor_at(1)).await);
    let other = Cursor { epoch: Epoch(position.epoch.0 ^ 1), offset: 0 };
    assert!(!acknowledge(&record, "alice", other).await);
    record.ring(&["1"], "alice", at(0)).await;
    assert_eq!(record.position("alice").await.acked, 0);
}

async fn acknowledging_changes_nothing_else(record: Record) {
    record.ring(&["1", "2"], "alice", at(0)).await;
    record.ring(&["3"], "bob", at(0)).await;
    let (alice, bob) = (record.position("alice").await, record.position("bob").await);
    assert!(acknowledge(&record, "alice", alice.cursor()).await);
    let after = record.position("alice").await;
    assert_eq!((after.head, after.unread, after.acked), (2, 2, 2));
    assert_eq!(record.position("bob").await, bob);
}

async fn the_furthest_of_many_concurrent_acknowledgements_counts(record: Record) {
    let keys: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    record.ring(&keys, "alice", at(0)).await;
    let position = record.position("alice").await;
    concurrently(20, |n| {
        let record = record.clone();
        let cursor = position.cursor_at((n * 7 % 20) as i64);
        async move { assert!(acknowledge(&record, "alice", cursor).await) }
    })
    .await;
    assert_eq!(record.position("alice").await.acked, 19);
}
