//! Due chunks of several sends: materialised in one transaction, with the result of one after the other.

use std::collections::HashSet;

use shared::delivery::Delivery;
use shared::delivery::deliveries::{MAX_RECIPIENTS_TOGETHER, Materialised};
use shared::ids::UserId;
use shared::inbox::sends::Cancelled;

use super::scheduled::delayed;
use crate::record::{LATE_MS, Record, Send, at, concurrently, user, users};

on_each_record! {
    chunks_of_several_sends_arrive_as_if_materialised_one_by_one,
    one_transaction_takes_no_more_recipients_than_the_maximum,
    concurrent_drains_materialise_each_chunk_once_alongside_sends_and_cancellations,
}

async fn materialise(record: &Record, limit: usize, now_ms: i64) -> Materialised {
    record.deliveries().materialise(limit, at(now_ms)).await.unwrap()
}

/// A delivery or row to be compared: the user, the title, the offset, the unread count, and two more numbers. Those are
/// the connections and the replaced notifications of a delivery; of a row, the head of its inbox and 0.
type Summary = (String, String, i64, i64, usize, usize);

/// Schedules sends of all kinds to three users with this name, and materialises up to `limit` chunks at a time. Returns
/// how many chunks each call took, what is to be pushed, and the contents of the inboxes.
async fn play(record: &Record, name: &str, limit: usize, begin_ms: i64) -> (Vec<usize>, Vec<Summary>, Vec<Summary>) {
    let [a, b, c] = ["a", "b", "c"].map(|letter| user(&format!("{name} {letter}")));
    record.connect(a.as_str(), &format!("{a}'s tab"), at(0)).await;
    record.connect(b.as_str(), &format!("{b}'s phone"), at(0)).await;
    record.connect(b.as_str(), &format!("{b}'s laptop"), at(0)).await;
    let key = |n: usize| format!("{name}{n}");
    let after = |n: usize| delayed(&key(n), 1_000 + n as i64);
    let sends = [
        (after(0), vec![b.clone(), a.clone()]),
        (after(1), vec![b.clone()]),
        (after(2).expiring_at(begin_ms + 5_000), vec![a.clone()]),
        (after(3).expiring_at(begin_ms + 1_500), vec![a.clone(), b.clone()]),
        (after(4).collapsing("door"), vec![a.clone(), c.clone()]),
        (after(5), vec![a.clone(), c.clone()]),
        (after(6), vec![b.clone(), a.clone()]),
        (after(7).collapsing("door"), vec![c.clone(), a.clone()]),
        (after(8), vec![c.clone(), b.clone()]),
        (after(9), vec![b.clone()]),
    ];
    for (send, to) in &sends {
        assert!(record.send(send, to, at(begin_ms)).await.is_empty());
    }
    let (mut counts, mut pushes) = (Vec::new(), Vec::new());
    loop {
        let Materialised { chunks, deliveries, .. } = materialise(record, limit, begin_ms + 2_000).await;
        if chunks == 0 {
            break;
        }
        counts.push(chunks);
        let mut these: Vec<Summary> = deliveries.iter().map(|delivery| summary(name, delivery)).collect();
        if chunks == 1 {
            // The order within one send is arbitrary.
            these.sort();
        }
        pushes.extend(these);
    }
    let mut rows = Vec::new();
    for user in [&a, &b, &c] {
        let position = record.position(user.as_str()).await;
        let without = |text: &str| text.replace(name, "");
        for row in record.listed(user.as_str()).await {
            let (title, offset) = (without(&row.content.title), row.cursor.offset);
            rows.push((without(user.as_str()), title, offset, position.unread, position.head as usize, 0));
        }
    }
    (counts, pushes, rows)
}

fn summary(name: &str, delivery: &Delivery) -> Summary {
    let Delivery { user, notification, unread, connections, replaces, .. } = delivery;
    assert_eq!(delivery.fence_ms, notification.created_at.0 + 5_000);
    let title = notification.content.title.replace(name, "");
    (user.as_str().replace(name, ""), title, notification.cursor.offset, *unread, connections.len(), replaces.len())
}

async fn chunks_of_several_sends_arrive_as_if_materialised_one_by_one(record: Record) {
    let (one_by_one, mut pushes_one_by_one, rows_one_by_one) = play(&record, "one", 1, 0).await;
    let (at_once, mut pushes_at_once, rows_at_once) = play(&record, "all", 100, 20_000).await;
    assert_eq!(one_by_one, [1; 10]);
    // Batches end before and after the chunk that has expired and each chunk with a collapse key.
    assert_eq!(at_once, [3, 1, 1, 2, 1, 2]);
    let in_order: Vec<&String> = pushes_at_once.iter().map(|push| &push.1).collect();
    assert!(in_order.is_sorted(), "{in_order:?}");
    pushes_one_by_one.sort();
    pushes_at_once.sort();
    assert_eq!(pushes_at_once, pushes_one_by_one);
    assert_eq!(rows_at_once, rows_one_by_one);
    assert_eq!(pushes_at_once.len(), 11);
    // All rows wait for their push, in case the pushers die, except the replaced one of each run.
    let waiting = record.deliveries().backlog(at(22_000)).await.unwrap().waiting;
    assert_eq!(waiting, 2 * (11 - 1));
}

async fn one_transaction_takes_no_more_recipients_than_the_maximum(record: Record) {
    for (n, recipients) in [150, 40, 10, 1, 2, MAX_RECIPIENTS_TOGETHER, 3].into_iter().enumerate() {
        let to: Vec<UserId> = (0..recipients).map(|of| user(&format!("user {n} {of}"))).collect();
        record.send(&delayed(&n.to_string(), 1_000 + n as i64), &to, at(0)).await;
    }
    assert_eq!(materialise(&record, 100, 999).await.chunks, 0);
    let mut counts = Vec::new();
    for limit in [100, 1, 100, 100, 100] {
        counts.push(materialise(&record, limit, 2_000).await.chunks);
    }
    assert_eq!(counts, [3, 1, 1, 1, 1]);
    assert_eq!(materialise(&record, 100, LATE_MS).await.chunks, 0);
    assert_eq!(record.position("user 6 2").await.head, 1);
}

async fn concurrent_drains_materialise_each_chunk_once_alongside_sends_and_cancellations(record: Record) {
    const SENDS: usize = 240;
    const USERS: usize = 16;
    let to = |n: usize| users(&[&format!("user {}", n % USERS), &format!("user {}", (n * 7 + 1) % USERS)]);
    for n in 0..USERS {
        record.connect(&format!("user {n}"), &format!("tab {n}"), at(0)).await;
    }
    let mut ids = Vec::new();
    for n in 0..SENDS {
        let send = delayed(&n.to_string(), 1_000 + (n % 5) as i64);
        ids.push(send.id);
        record.send(&send, &to(n), at(0)).await;
    }
    let done = concurrently(8, |task| {
        let (record, ids) = (record.clone(), ids.clone());
        async move {
            let (mut mine, mut cancelled) = (Vec::new(), HashSet::new());
            for n in 0..40 {
                match task {
                    0 => {
                        record.send(&Send::new(&format!("now {n}")), &to(n), at(2_000)).await;
                    }
                    1 => {
                        let n = SENDS - 1 - n;
                        let found = record.sends().cancel(ids[n], &user("billing")).await.unwrap();
                        if found == Cancelled::Done {
                            cancelled.insert(n);
                        }
                    }
                    _ => {
                        let limit = if n % 4 == 0 { 1 } else { 9 };
                        mine.extend(materialise(&record, limit, 2_000).await.deliveries);
                    }
                }
            }
            (mine, cancelled)
        }
    })
    .await;
    let (mut deliveries, mut cancelled) = (Vec::new(), HashSet::new());
    for (mine, theirs) in done {
        deliveries.extend(mine);
        cancelled.extend(theirs);
    }
    loop {
        let rest = materialise(&record, 100, 2_000).await;
        if rest.chunks == 0 {
            break;
        }
        deliveries.extend(rest.deliveries);
    }
    let expected: usize = (0..SENDS).filter(|n| !cancelled.contains(n)).map(|n| to(n).len()).sum();
    assert_eq!(deliveries.len(), expected, "{} were cancelled", cancelled.len());
    let distinct: HashSet<_> = deliveries.iter().map(|delivery| delivery.notification.id).collect();
    assert_eq!(distinct.len(), expected, "a notification was delivered twice");
    let mut rows = 0;
    for n in 0..USERS {
        let name = format!("user {n}");
        let mut offsets: Vec<i64> = record.listed(&name).await.iter().map(|row| row.cursor.offset).collect();
        offsets.sort_unstable();
        let position = record.position(&name).await;
        assert_eq!(offsets, (1..=position.head).collect::<Vec<_>>(), "{name}");
        assert_eq!(position.unread, position.head, "{name}");
        rows += offsets.len();
    }
    assert_eq!(rows, expected + (0..40).map(|n| to(n).len()).sum::<usize>());
}
