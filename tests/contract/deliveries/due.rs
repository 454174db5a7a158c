//! Rows whose push nobody has finished: taken when they are due, by one at a time, until somebody has.

use std::collections::HashSet;

use shared::ids::{ConnectionId, NotificationId};
use shared::inbox::{Change, Delivery};

use crate::record::{LATE_MS, Record, START_MS, Send, at, id, ids, together, user, users};

on_each_record! {
    a_row_is_due_when_its_grace_is_over,
    each_taking_waits_twice_as_long_up_to_five_minutes,
    what_was_offered_is_no_longer_due,
    only_the_rows_named_were_offered,
    each_due_row_is_taken_by_one_of_many,
    a_taker_gets_no_more_than_it_asked_for_and_the_longest_due_first,
    who_left_meanwhile_is_not_pushed_to,
    who_came_meanwhile_is_pushed_to,
    what_was_seen_meanwhile_does_not_hide_the_rest,
    the_next_due_is_the_earliest,
    a_taken_row_tells_the_state_of_now,
}

async fn take(record: &Record, limit: usize, now_ms: i64) -> Vec<Delivery> {
    let taken = record.deliveries().take_due(limit, at(now_ms)).await;
    taken.unwrap().deliveries
}

async fn taken_ids(record: &Record, limit: usize, now_ms: i64) -> Vec<NotificationId> {
    let taken = take(record, limit, now_ms).await;
    taken.iter().map(|row| row.notification.id).collect()
}

/// When the next one is due, after the beginning.
async fn next_due(record: &Record) -> Option<i64> {
    let due = record.deliveries().next_due().await.unwrap();
    due.map(|due| due - START_MS)
}

async fn a_row_is_due_when_its_grace_is_over(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(100)).await;
    assert_eq!(next_due(&record).await, Some(5_100));
    assert!(take(&record, 10, 5_099).await.is_empty());
    assert_eq!(taken_ids(&record, 10, 5_100).await, ids(&["1"], "alice"));
}

async fn each_taking_waits_twice_as_long_up_to_five_minutes(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    let mut now_ms = 5_000;
    for wait_s in [5, 10, 20, 40, 80, 160, 300, 300, 300] {
        assert_eq!(taken_ids(&record, 10, now_ms).await.len(), 1);
        let again_ms = now_ms + wait_s * 1_000;
        assert_eq!(next_due(&record).await, Some(again_ms));
        // Nobody else takes it meanwhile; if nobody finishes, it comes back.
        assert!(take(&record, 10, now_ms).await.is_empty());
        assert!(take(&record, 10, again_ms - 1).await.is_empty());
        now_ms = again_ms;
    }
}

async fn what_was_offered_is_no_longer_due(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    let sent = record.ring(&["1", "2"], "alice", at(0)).await;
    let offered: Vec<_> = sent.iter().map(|row| (&row.user, row.notification.cursor.offset)).collect();
    // Before its grace is over, as the send does, and after it was taken, as the drain does.
    let deliveries = record.deliveries();
    deliveries.mark_offered(&offered[..1], at(1)).await.unwrap();
    assert_eq!(taken_ids(&record, 10, 5_000).await, ids(&["2"], "alice"));
    deliveries.mark_offered(&offered[1..], at(5_001)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
    assert!(take(&record, 10, LATE_MS - 1).await.is_empty());
    // A second time, as whoever was doubled does.
    deliveries.mark_offered(&offered, at(5_002)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
    // Offered is neither read nor a change.
    let position = record.position("alice").await;
    assert_eq!((position.head, position.unread, position.acked), (2, 2, 0));
}

async fn only_the_rows_named_were_offered(record: Record) {
    record.connect("alice", "alice's", at(0)).await;
    record.connect("bob", "bob's", at(0)).await;
    let both = users(&["alice", "bob"]);
    record.send(&Send::new("1"), &both, at(0)).await;
    record.send(&Send::new("2"), &both, at(1)).await;
    let (alice, bob) = (user("alice"), user("bob"));
    record.deliveries().mark_offered(&[(&alice, 1), (&bob, 2), (&bob, 7)], at(2)).await.unwrap();
    assert_eq!(taken_ids(&record, 10, 6_000).await, [id("1", "bob"), id("2", "alice")]);
}

async fn each_due_row_is_taken_by_one_of_many(record: Record) {
    const ROWS: usize = 60;
    let names: Vec<String> = (0..ROWS).map(|n| format!("user {n}")).collect();
    for name in &names {
        record.connect(name, &format!("tab of {name}"), at(0)).await;
    }
    let to: Vec<_> = names.iter().map(|name| user(name)).collect();
    record.send(&Send::new("1"), &to, at(0)).await;
    let taken = together(8, |_| {
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

async fn a_taker_gets_no_more_than_it_asked_for_and_the_longest_due_first(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    for (n, key) in ["1", "2", "3", "4", "5"].into_iter().enumerate() {
        record.ring(&[key], "alice", at(n as i64)).await;
    }
    for keys in [["1", "2"].as_slice(), &["3", "4"], &["5"], &[]] {
        assert_eq!(taken_ids(&record, 2, 6_000).await, ids(keys, "alice"));
    }
}

async fn who_left_meanwhile_is_not_pushed_to(record: Record) {
    record.connect("alice", "alice's", at(0)).await;
    record.connect_until("bob", "bob's", START_MS + 5_000, at(0)).await;
    record.connect("carol", "carol's", at(0)).await;
    let to = users(&["alice", "bob", "carol"]);
    assert_eq!(record.send(&Send::new("1"), &to, at(0)).await.len(), 3);
    let gone = [ConnectionId::new("alice's")];
    record.connections().forget(&gone).await.unwrap();
    assert_eq!(taken_ids(&record, 10, 5_000).await, ids(&["1"], "carol"));
    // The next connect catches up; nothing waits for it.
    let carol = (&user("carol"), 1);
    let deliveries = record.deliveries();
    deliveries.mark_offered(&[carol], at(5_001)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
    assert_eq!(record.position("alice").await.unread, 1);
}

async fn who_came_meanwhile_is_pushed_to(record: Record) {
    record.connect("alice", "phone", at(0)).await;
    record.ring(&["1"], "alice", at(0)).await;
    record.connect("alice", "desk", at(1)).await;
    let taken = take(&record, 10, 5_000).await;
    let connections = taken[0].connections.iter();
    let connections: Vec<&str> = connections.map(|c| c.id.as_str()).collect();
    assert_eq!(connections, ["phone", "desk"]);
}

async fn what_was_seen_meanwhile_does_not_hide_the_rest(record: Record) {
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

    // Whoever takes one at a time until nothing is due any more has taken all there is.
    let mut taken = Vec::new();
    while next_due(&record).await.is_some_and(|due| due <= 6_000) {
        taken.extend(taken_ids(&record, 1, 6_000).await);
    }
    assert_eq!(taken, ids(&["4"], "carol"));
}

async fn the_next_due_is_the_earliest(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.ring(&["1"], "alice", at(500)).await;
    record.ring(&["2"], "alice", at(200)).await;
    record.ring(&["3"], "alice", at(800)).await;
    assert_eq!(next_due(&record).await, Some(5_200));
    assert_eq!(taken_ids(&record, 1, 5_200).await, ids(&["2"], "alice"));
    assert_eq!(next_due(&record).await, Some(5_500));
    // A chunk counts as a row does, and a due time may lie in the past.
    let many: Vec<_> = (0..201).map(|n| user(&n.to_string())).collect();
    record.send(&Send::new("large"), &many, at(300)).await;
    assert_eq!(next_due(&record).await, Some(300));
    let chunk = record.deliveries().materialise_next(at(9_000)).await;
    assert!(chunk.unwrap().is_some());
    assert_eq!(next_due(&record).await, Some(5_500));
}

async fn a_taken_row_tells_the_state_of_now(record: Record) {
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
