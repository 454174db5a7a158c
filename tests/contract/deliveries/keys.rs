//! Rows that are taken by their keys: each once, by a taker that knows the row's current fence.

use shared::delivery::Delivery;
use shared::delivery::deliveries::RowKey;
use shared::ids::NotificationId;
use shared::inbox::Change;

use crate::record::{LATE_MS, Record, START_MS, at, concurrently, id, ids, user};

on_each_record! {
    a_row_can_be_taken_before_it_is_due,
    a_stale_key_takes_nothing,
    a_taken_row_comes_back_five_seconds_after_its_longest_backoff,
    a_finished_row_is_not_taken,
    one_of_many_takers_with_the_same_key_takes_the_row,
    taking_due_rows_makes_their_keys_stale,
    keys_of_rows_that_do_not_exist_take_nothing,
    a_postponed_row_comes_back_after_its_delay,
    only_the_current_key_postpones_a_row,
}

fn key(delivery: &Delivery) -> RowKey<'_> {
    RowKey { user: &delivery.user, offset: delivery.notification.cursor.offset, fence_ms: delivery.fence_ms }
}

async fn take(record: &Record, keys: &[RowKey<'_>], now_ms: i64) -> Vec<Delivery> {
    let taken = record.deliveries().take(keys, at(now_ms)).await;
    taken.unwrap()
}

fn taken_ids(taken: &[Delivery]) -> Vec<NotificationId> {
    taken.iter().map(|row| row.notification.id).collect()
}

async fn a_row_can_be_taken_before_it_is_due(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let sent = record.ring(&["1", "2", "3"], "alice", at(0)).await;
    assert!(sent.iter().all(|row| (row.fence_ms, row.attempt) == (START_MS + 5_000, 0)));
    let taken = take(&record, &[key(&sent[2]), key(&sent[0])], 100).await;
    assert_eq!(taken_ids(&taken), ids(&["1", "3"], "alice"));
    assert!(taken.iter().all(|row| (row.fence_ms, row.attempt) == (START_MS + 5_300, 1)));
    assert!(taken.iter().all(|row| row.connections.len() == 1 && row.unread == 3));
    // The other row is unchanged.
    let due = record.deliveries().take_due(10, at(5_000)).await.unwrap().deliveries;
    assert_eq!(taken_ids(&due), ids(&["2"], "alice"));
    assert_eq!((due[0].fence_ms, due[0].attempt), (START_MS + 10_000, 1));
}

async fn a_stale_key_takes_nothing(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let sent = record.ring(&["1"], "alice", at(0)).await;
    for off_ms in [-1, 1, i64::MIN, i64::MAX] {
        let stale = RowKey { fence_ms: sent[0].fence_ms.saturating_add(off_ms), ..key(&sent[0]) };
        assert!(take(&record, &[stale], 0).await.is_empty());
    }
    let first = take(&record, &[key(&sent[0])], 0).await;
    assert!(take(&record, &[key(&sent[0])], 0).await.is_empty(), "taken twice with one key");
    // The new key is valid once.
    assert_eq!(take(&record, &[key(&first[0]), key(&first[0])], 1).await.len(), 1);
    assert!(take(&record, &[key(&first[0])], 1).await.is_empty());
}

async fn a_taken_row_comes_back_five_seconds_after_its_longest_backoff(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let mut row = record.ring(&["1"], "alice", at(0)).await.remove(0);
    for (n, retry_ms) in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 51_200, 60_000, 60_000].iter().enumerate()
    {
        row = take(&record, &[key(&row)], 0).await.remove(0);
        assert_eq!((row.fence_ms - START_MS, row.attempt as usize), (5_000 + retry_ms, n + 1));
        let due = record.next_due().await.unwrap();
        assert_eq!(due, Some(row.fence_ms));
    }
}

async fn a_finished_row_is_not_taken(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.connect_until("bob", "bob's", START_MS + 1_000, at(0)).await;
    let sent = record.ring(&["offered", "read", "deleted", "left"], "alice", at(0)).await;
    let bob_sent = record.ring(&["bob's"], "bob", at(0)).await;
    record.deliveries().mark_offered(&[(&sent[0].user, 1)], at(1)).await.unwrap();
    record.change("alice", Change::Read(vec![id("read", "alice")]), at(1)).await;
    record.change("alice", Change::Delete(vec![id("deleted", "alice")]), at(1)).await;
    let keys: Vec<RowKey<'_>> = sent.iter().chain(&bob_sent).map(key).collect();
    assert_eq!(taken_ids(&take(&record, &keys, 1_000).await), ids(&["left"], "alice"));
    // Taking what is due does not return the others either.
    let due = record.deliveries().take_due(10, at(LATE_MS - 1)).await.unwrap();
    assert_eq!(taken_ids(&due.deliveries), ids(&["left"], "alice"));
}

async fn one_of_many_takers_with_the_same_key_takes_the_row(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let sent = record.ring(&["1", "2", "3", "4"], "alice", at(0)).await;
    let taken = concurrently(8, |_| {
        let (record, sent) = (record.clone(), sent.clone());
        async move {
            let keys: Vec<RowKey<'_>> = sent.iter().map(key).collect();
            take(&record, &keys, 100).await.len()
        }
    })
    .await;
    assert_eq!(taken.iter().sum::<usize>(), 4, "{taken:?}");
}

async fn taking_due_rows_makes_their_keys_stale(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let sent = record.ring(&["1", "2"], "alice", at(0)).await;
    take(&record, &[key(&sent[0])], 4_999).await;
    let due = record.deliveries().take_due(10, at(5_000)).await.unwrap();
    assert_eq!(taken_ids(&due.deliveries), ids(&["2"], "alice"));
    assert!(take(&record, &[key(&sent[0]), key(&sent[1])], 5_000).await.is_empty());
}

async fn keys_of_rows_that_do_not_exist_take_nothing(record: Record) {
    let alice = user("alice");
    assert!(take(&record, &[], 0).await.is_empty());
    let none = RowKey { user: &alice, offset: 1, fence_ms: 0 };
    assert!(take(&record, &[none], 0).await.is_empty());
    // A row that arrived while its user was not connected has nothing to push.
    record.ring(&["1"], "alice", at(0)).await;
    record.connect("alice", "tab", at(1)).await;
    assert!(take(&record, &[none, RowKey { fence_ms: START_MS + 5_000, ..none }], 1).await.is_empty());
}

async fn a_postponed_row_comes_back_after_its_delay(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let sent = record.ring(&["1", "2", "3"], "alice", at(0)).await;
    let rows = [(key(&sent[2]), 60_000), (key(&sent[0]), 30_000)];
    let fences = record.deliveries().postpone(&rows, at(100)).await.unwrap();
    assert_eq!(fences, [Some(START_MS + 65_100), Some(START_MS + 35_100)]);
    let due = record.deliveries().take_due(10, at(35_099)).await.unwrap().deliveries;
    assert_eq!(taken_ids(&due), ids(&["2"], "alice"), "the others are left alone");
    record.deliveries().mark_offered(&[(&due[0].user, 2)], at(35_099)).await.unwrap();
    assert_eq!(record.next_due().await.unwrap(), Some(START_MS + 35_100));
    // The new key takes it before that. Postponing does not count as an attempt.
    let sooner = RowKey { fence_ms: START_MS + 65_100, ..key(&sent[2]) };
    let taken = take(&record, &[key(&sent[2]), sooner], 30_100).await;
    assert_eq!((taken_ids(&taken), taken[0].attempt), (ids(&["3"], "alice"), 1));
    let due = record.deliveries().take_due(10, at(35_100)).await.unwrap().deliveries;
    assert_eq!(taken_ids(&due), ids(&["1"], "alice"));
}

async fn only_the_current_key_postpones_a_row(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let sent = record.ring(&["held", "offered", "taken"], "alice", at(0)).await;
    record.deliveries().mark_offered(&[(&sent[1].user, 2)], at(1)).await.unwrap();
    take(&record, &[key(&sent[2])], 1).await;
    let (stale, alice) = (RowKey { fence_ms: sent[0].fence_ms - 1, ..key(&sent[0]) }, user("alice"));
    let none = RowKey { user: &alice, offset: 9, fence_ms: START_MS + 5_000 };
    let rows = [key(&sent[1]), key(&sent[2]), stale, none].map(|key| (key, 60_000));
    assert_eq!(record.deliveries().postpone(&rows, at(2)).await.unwrap(), [None; 4]);
    assert_eq!(record.deliveries().postpone(&[], at(2)).await.unwrap(), []);
    let due = record.deliveries().take_due(10, at(LATE_MS - 1)).await.unwrap().deliveries;
    assert_eq!(taken_ids(&due), ids(&["held", "taken"], "alice"));
}
