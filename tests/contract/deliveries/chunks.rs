//! The recipients beyond the first transaction: each gets one row, however many drains materialise at once.

use std::collections::HashSet;

use shared::ids::UserId;
use shared::inbox::sends::CHUNK_RECIPIENTS;

use crate::record::{LATE_MS, Record, START_MS, Send, at, concurrently, id, user};

on_each_record! {
    a_chunk_is_materialised_like_the_first_recipients,
    concurrent_drains_materialise_each_chunk_once,
    a_chunk_and_concurrent_appends_to_its_inboxes_leave_no_gap,
    a_chunk_is_due_at_its_time_and_not_earlier,
    nothing_waits_if_nothing_was_sent,
}

/// Enough recipients for one full chunk and `beyond` more; the tests look at those after the first 200.
fn many(beyond: usize) -> Vec<UserId> {
    (0..CHUNK_RECIPIENTS + beyond).map(|n| user(&format!("user {n}"))).collect()
}

async fn a_chunk_is_materialised_like_the_first_recipients(record: Record) {
    let to = many(2);
    let (late, expired) = (&to[CHUNK_RECIPIENTS], &to[CHUNK_RECIPIENTS + 1]);
    record.ring(&["earlier"], late.as_str(), at(0)).await;
    record.connect(late.as_str(), "tab", at(0)).await;
    record.connect_until(expired.as_str(), "old tab", START_MS + 50, at(0)).await;
    assert!(record.send(&Send::new("1"), &to, at(10)).await.is_empty());

    let deliveries = record.materialise_next(at(50)).await.unwrap();
    let deliveries = deliveries.unwrap();
    let [delivery] = deliveries.as_slice() else { panic!("one recipient has a connection: {deliveries:?}") };
    assert_eq!(delivery.user, *late);
    assert_eq!(delivery.notification.id, id("1", late.as_str()));
    assert_eq!(delivery.notification.cursor, record.position(late.as_str()).await.cursor());
    assert_eq!(delivery.notification.content.title, "1");
    assert_eq!((delivery.unread, delivery.connections.len()), (2, 1));
    // The row comes back if its pusher dies, as after an append.
    let due = record.next_due().await.unwrap();
    assert_eq!(due, Some(START_MS + 50 + 5_000));
    assert_eq!(record.listed(late.as_str()).await.len(), 2);
    assert_eq!(record.listed(expired.as_str()).await.len(), 1);
}

async fn concurrent_drains_materialise_each_chunk_once(record: Record) {
    let to = many(4 * CHUNK_RECIPIENTS);
    for recipient in &to[CHUNK_RECIPIENTS..] {
        if recipient.as_str().ends_with('7') {
            record.connect(recipient.as_str(), &format!("tab of {recipient}"), at(0)).await;
        }
    }
    record.send(&Send::new("1"), &to, at(0)).await;
    let drained = concurrently(8, |_| {
        let record = record.clone();
        async move {
            let mut mine = Vec::new();
            while let Some(deliveries) = record.materialise_next(at(0)).await.unwrap() {
                mine.push(deliveries);
            }
            mine
        }
    })
    .await
    .concat();
    assert_eq!(drained.len(), 4, "each chunk is materialised by one drain");

    let users: Vec<&UserId> = drained.iter().flatten().map(|d| &d.user).collect();
    let distinct: HashSet<&UserId> = users.iter().copied().collect();
    assert_eq!((users.len(), distinct.len()), (80, 80));
    for recipient in &to {
        let listed = record.listed(recipient.as_str()).await;
        assert_eq!(listed.len(), 1, "{recipient}");
        assert_eq!(record.position(recipient.as_str()).await.head, 1);
    }
}

async fn a_chunk_and_concurrent_appends_to_its_inboxes_leave_no_gap(record: Record) {
    let to = many(CHUNK_RECIPIENTS);
    let waiting = to[CHUNK_RECIPIENTS..].to_vec();
    record.send(&Send::new("large"), &to, at(0)).await;
    concurrently(4, |n| {
        let (record, mut waiting) = (record.clone(), waiting.clone());
        waiting.reverse();
        async move {
            if n == 0 {
                let chunk = record.materialise_next(at(0)).await.unwrap();
                assert!(chunk.is_some());
            } else {
                let send = Send::new(&format!("small {n}"));
                record.send(&send, &waiting, at(0)).await;
            }
        }
    })
    .await;
    for recipient in &waiting {
        let listed = record.listed(recipient.as_str()).await;
        let offsets: Vec<i64> = listed.iter().map(|n| n.cursor.offset).collect();
        assert_eq!(offsets, [4, 3, 2, 1], "{recipient}");
    }
}

async fn a_chunk_is_due_at_its_time_and_not_earlier(record: Record) {
    record.send(&Send::new("1"), &many(1), at(1_000)).await;
    let due = record.next_due().await.unwrap();
    assert_eq!(due, Some(START_MS + 1_000));
    let early = record.materialise_next(at(999)).await.unwrap();
    assert!(early.is_none());
    let on_time = record.materialise_next(at(1_000)).await;
    assert!(on_time.unwrap().is_some());
    assert_eq!(record.next_due().await.unwrap(), None);
}

async fn nothing_waits_if_nothing_was_sent(record: Record) {
    let deliveries = record.deliveries();
    assert_eq!(deliveries.next_due().await.unwrap().first(), None);
    assert!(record.materialise_next(at(LATE_MS)).await.unwrap().is_none());
    assert!(deliveries.take_due(10, at(LATE_MS)).await.unwrap().is_empty());
    deliveries.mark_offered(&[], at(0)).await.unwrap();
    deliveries.mark_offered(&[(&user("alice"), 1)], at(0)).await.unwrap();
}
