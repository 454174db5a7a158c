//! Rows whose push is not finished: each is taken by one taker at a time when it is due, until it is offered.

use std::collections::HashSet;

use shared::delivery::Delivery;
use shared::ids::{ConnectionId, NotificationId};
use shared::inbox::Change;

use crate::record::{LATE_MS, Record, START_MS, Send, at, concurrently, id, ids, user, users};

on_each_record! {
    a_row_is_due_when_its_grace_period_ends,
    each_take_doubles_the_wait_up_to_five_minutes,
    an_offered_row_is_no_longer_due,
    only_the_named_rows_are_marked_as_offered,
    each_due_row_is_taken_by_one_of_many_takers,
    a_taker_gets_at_most_its_limit_and_the_longest_due_first,
    a_user_who_has_disconnected_is_not_pushed_to,
    a_connection_opened_after_the_send_is_pushed_to,
    rows_that_need_no_push_do_not_hide_the_rest,
    next_due_is_the_earliest_due_time,
    a_taken_row_shows_the_current_state,
}

async fn take(record: &Record, limit: usize, now_ms: i64) -> Vec<Delivery> {
    let taken = record.deliveries().take_due(limit, at(now_ms)).await;
    taken.unwrap().deliveries
}

async fn taken_ids(record: &Record, limit: usize, now_ms: i64) -> Vec<NotificationId> {
    let taken = take(record, limit, now_ms).await;
    taken.iter().map(|row| row.notification.id).collect()
}

/// When the next row or chunk is due, in milliseconds after the beginning.
async fn next_due(record: &Record) -> Option<i64> {
    let due = record.next_due().await.unwrap();
    due.map(|due| due - START_MS)
}

async fn a_row_is_due_when_its_grace_period_ends(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(100)).await;
    assert_eq!(next_due(&record).await, Some(5_100));
    assert!(take(&record, 10, 5_099).await.is_empty());
    assert_eq!(taken_ids(&record, 10, 5_100).await, ids(&["1"], "alice"));
}

async fn each_take_doubles_the_wait_up_to_five_minutes(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    let mut now_ms = 5_000;
    for wait_s in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
        assert_eq!(taken_ids(&record, 10, now_ms).await.len(), 1);
        let again_ms = now_ms + wait_s * 1_000;
        assert_eq!(next_due(&record).await, Some(again_ms));
        // No other taker gets it meanwhile. If its push is not finished, it comes back.
        assert!(take(&record, 10, now_ms).await.is_empty());
        assert!(take(&record, 10, again_ms - 1).await.is_empty());
        now_ms = again_ms;
    }
}

async fn an_offered_row_is_no_longer_due(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let sent = record.ring(&["1", "2"], "alice", at(0)).await;
    let offered: Vec<_> = sent.iter().map(|row| (&row.user, row.notification.cursor.offset)).collect();
    // Before its grace period ends, as the send does, and after it was taken, as the drain does.
    let deliveries = record.deliveries();
    deliveries.mark_offered(&offered[..1], at(1)).await.unwrap();
    assert_eq!(taken_ids(&record, 10, 5_000).await, ids(&["2"], "alice"));
    deliveries.mark_offered(&offered[1..], at(5_001)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
    assert!(take(&record, 10, LATE_MS - 1).await.is_empty());
    // A second time, as a second worker with the same row would.
    deliveries.mark_offered(&offered, at(5_002)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
    // Being offered is neither being read nor a change.
    let position = record.position("alice").await;
    assert_eq!((position.head, position.unread, position.acked), (2, 2, 0));
}

async fn only_the_named_rows_are_marked_as_offered(record: Record) {
    record.connect("alice", "alice's", at(0)).await;
    record.connect("bob", "bob's", at(0)).await;
    let both = users(&["alice", "bob"]);
    record.send(&Send::new("1"), &both, at(0)).await;
    record.send(&Send::new("2"), &both, at(1)).await;
    let (alice, bob) = (user("alice"), user("bob"));
    record.deliveries().mark_offered(&[(&alice, 1), (&bob, 2), (&bob, 7)], at(2)).await.unwrap();
    assert_eq!(taken_ids(&record, 10, 6_000).await, [id("1", "bob"), id("2", "alice")]);
}

async fn each_due_row_is_taken_by_one_of_many_takers(record: Record) {
    const ROWS: usize = 60;
    let names: Vec<String> = (0..ROWS).map(|n| format!("user {n}")).collect();
    for name in &names {
        record.connect(name, &format!("tab of {name}"), at(0)).await;
    }
    let to: Vec<_> = names.iter().map(|name| user(name)).collect();
    record.send(&Send::new("1"), &to, at(0)).await;
    let taken = concurrently(8, |_| {
        let record = record.clone();
        async move {
            let mut mine = Vec::new();
            loop {
                let taken = taken_ids(&record, 7, 5_000).await;
                if taken.is_empty() {
                    break mine;
                }
                mine.extend(taken);
            }
        }
    })
    .await
    .concat();
    let distinct: HashSet<_> = taken.iter().collect();
    assert_eq!((taken.len(), distinct.len()), (ROWS, ROWS));
}

async fn a_taker_gets_at_most_its_limit_and_the_longest_due_first(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    for (n, key) in ["1", "2", "3", "4", "5"].into_iter().enumerate() {
        record.ring(&[key], "alice", at(n as i64)).await;
    }
    for keys in [["1", "2"].as_slice(), &["3", "4"], &["5"], &[]] {
        assert_eq!(taken_ids(&record, 2, 6_000).await, ids(keys, "alice"));
    }
}

async fn a_user_who_has_disconnected_is_not_pushed_to(record: Record) {
    record.connect("alice", "alice's", at(0)).await;
    record.connect_until("bob", "bob's", START_MS + 5_000, at(0)).await;
    record.connect("carol", "carol's", at(0)).await;
    let to = users(&["alice", "bob", "carol"]);
    assert_eq!(record.send(&Send::new("1"), &to, at(0)).await.len(), 3);
    let gone = [ConnectionId::new("alice's")];
    record.connections().forget(&gone).await.unwrap();
    assert_eq!(taken_ids(&record, 10, 5_000).await, ids(&["1"], "carol"));
    // Disconnected users catch up when they connect again; their rows do not wait for that.
    let carol = (&user("carol"), 1);
    let deliveries = record.deliveries();
    deliveries.mark_offered(&[carol], at(5_001)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
    assert_eq!(record.position("alice").await.unread, 1);
}

async fn a_connection_opened_after_the_send_is_pushed_to(record: Record) {
    record.connect("alice", "phone", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    record.connect("alice", "desk", at(1)).await;
    let taken = take(&record, 10, 5_000).await;
    let connections = taken[0].connections.iter();
    let connections: Vec<&str> = connections.map(|c| c.id.as_str()).collect();
    assert_eq!(connections, ["phone", "desk"]);
}

async fn rows_that_need_no_push_do_not_hide_the_rest(record: Record) {
    record.connect("alice", "alice's", at(0)).await;
    record.connect("bob", "bob's", at(0)).await;
    record.connect("carol", "carol's", at(0)).await;
    record.ring(&["1", "2"], "alice", at(0)).await;
    record.ring(&["3"], "bob", at(0)).await;
    record.ring(&["4"], "carol", at(1)).await;
    let read = Change::Read(ids(&["1"], "alice"));
    record.change("alice", read, at(2)).await;
    let delete = Change::Delete(ids(&["2"], "alice"));
    record.change("alice", delete, at(2)).await;
    let gone = [ConnectionId::new("bob's")];
    record.connections().forget(&gone).await.unwrap();

    // Taking one row at a time until none is due takes every row that needs a push.
    let mut taken = Vec::new();
    while next_due(&record).await.is_some_and(|due| due <= 6_000) {
        taken.extend(taken_ids(&record, 1, 6_000).await);
    }
    assert_eq!(taken, ids(&["4"], "carol"));
}

async fn next_due_is_the_earliest_due_time(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(500)).await;
    record.ring(&["2"], "alice", at(200)).await;
    record.ring(&["3"], "alice", at(800)).await;
    assert_eq!(next_due(&record).await, Some(5_200));
    assert_eq!(taken_ids(&record, 1, 5_200).await, ids(&["2"], "alice"));
    assert_eq!(next_due(&record).await, Some(5_500));
    // A chunk counts like a row, and a due time may be in the past.
    let many: Vec<_> = (0..201).map(|n| user(&n.to_string())).collect();
    record.send(&Send::new("large"), &many, at(300)).await;
    assert_eq!(next_due(&record).await, Some(300));
    let chunk = record.materialise_next(at(9_000)).await;
    assert!(chunk.unwrap().is_some());
    assert_eq!(next_due(&record).await, Some(5_500));
}

async fn a_taken_row_shows_the_current_state(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1", "2", "3"], "alice", at(0)).await;
    let read = Change::Read(ids(&["2"], "alice"));
    record.change("alice", read, at(1)).await;
    let taken = take(&record, 10, 5_000).await;
    for (row, key) in taken.iter().zip(["1", "3"]) {
        assert_eq!(row.user, user("alice"));
        assert_eq!(row.notification.id, id(key, "alice"));
        let arrival: i64 = key.parse().unwrap();
        assert_eq!(row.notification.cursor.offset, arrival);
        assert_eq!(row.unread, 2);
    }
    assert_eq!(taken.len(), 2);
}
