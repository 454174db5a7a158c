//! Users with so many due rows that a frame for each would be too many: they get one `resync` frame for all.

use shared::delivery::deliveries::{MAX_FRAMES_PER_USER, MAX_STATEMENT_ROWS, Taken};
use shared::ids::{ConnectionId, UserId};

use crate::record::{Record, START_MS, Send, at, concurrently, ids, user, users};

on_each_record! {
    all_due_rows_of_a_user_with_a_backlog_are_taken_as_one,
    a_resync_that_was_not_delivered_comes_back_as_one,
    a_resynced_user_has_nothing_due_up_to_that_offset,
    other_users_get_their_frames_alongside_a_resync,
    a_disconnected_user_with_a_backlog_has_nothing_due,
    a_backlog_of_more_than_one_statement_is_taken_whole,
    each_of_many_concurrent_takers_resyncs_a_user_at_most_once,
}

async fn take(record: &Record, limit: usize, now_ms: i64) -> Taken {
    record.deliveries().take_due(limit, at(now_ms)).await.unwrap()
}

async fn next_due(record: &Record) -> Option<i64> {
    record.next_due().await.unwrap().map(|due| due - START_MS)
}

/// Sends `count` notifications to each user, with keys from `from` on.
async fn ring(record: &Record, from: usize, count: usize, to: &[UserId], now_ms: i64) {
    for n in from..from + count {
        record.send(&Send::new(&n.to_string()), to, at(now_ms)).await;
    }
}

async fn all_due_rows_of_a_user_with_a_backlog_are_taken_as_one(record: Record) {
    record.connect("alice", "phone", at(0)).await;
    record.connect("alice", "desk", at(1)).await;
    ring(&record, 0, MAX_FRAMES_PER_USER, &users(&["alice"]), 10).await;
    let taken = take(&record, 100, 5_010).await;
    assert_eq!((taken.deliveries.len(), taken.resyncs.len()), (MAX_FRAMES_PER_USER, 0), "not yet a backlog");

    // Together with the rows that come back by then, and one that is not due.
    ring(&record, 100, 1, &users(&["alice"]), 5_010).await;
    ring(&record, 200, 1, &users(&["alice"]), 10_000).await;
    let taken = take(&record, 1, 10_010).await;
    assert!(taken.deliveries.is_empty());
    let [resync] = taken.resyncs.as_slice() else { panic!("{taken:?}") };
    assert_eq!((resync.user.as_str(), resync.through), ("alice", MAX_FRAMES_PER_USER as i64 + 2));
    let connections: Vec<&str> = resync.connections.iter().map(|connection| connection.id.as_str()).collect();
    assert_eq!(connections, ["phone", "desk"]);
    assert!(take(&record, 100, 10_010).await.is_empty(), "all rows were taken");
    assert_eq!(next_due(&record).await, Some(15_000));
}

async fn a_resync_that_was_not_delivered_comes_back_as_one(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    ring(&record, 0, 20, &users(&["alice"]), 0).await;
    let mut now_ms = 5_000;
    for wait_s in [5, 10, 20, 40] {
        assert_eq!(take(&record, 3, now_ms).await.resyncs.len(), 1);
        let again_ms = now_ms + wait_s * 1_000;
        assert_eq!(next_due(&record).await, Some(again_ms));
        assert!(take(&record, 100, again_ms - 1).await.is_empty());
        now_ms = again_ms;
    }
}

async fn a_resynced_user_has_nothing_due_up_to_that_offset(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    record.connect("bob", "bob's", at(0)).await;
    ring(&record, 0, 20, &users(&["alice"]), 0).await;
    let through = take(&record, 100, 5_000).await.resyncs[0].through;
    assert_eq!(through, 20);
    // Another notification arrives while the frame is on its way.
    ring(&record, 20, 1, &users(&["alice", "bob"]), 5_000).await;
    let (alice, nobody) = (user("alice"), user("nobody"));
    let deliveries = record.deliveries();
    for _ in 0..2 {
        deliveries.mark_resynced(&[(&alice, through), (&nobody, 7)], at(5_001)).await.unwrap();
        assert_eq!(deliveries.backlog(at(5_001)).await.unwrap().waiting, 2);
    }
    deliveries.mark_resynced(&[], at(5_001)).await.unwrap();
    let taken = take(&record, 100, 1_000_000).await;
    assert_eq!(taken.deliveries.len(), 2, "later notifications get their own frames");
    let trace = record.send_history().trace(ids(&["7"], "alice")[0], Some(&alice), at(6_000)).await.unwrap().unwrap();
    assert_eq!(trace.offered_at_ms, Some(START_MS + 5_001));
    // Being offered is neither being read nor a change.
    let position = record.position("alice").await;
    assert_eq!((position.head, position.unread, position.acked), (21, 21, 0));
}

async fn other_users_get_their_frames_alongside_a_resync(record: Record) {
    for name in ["alice", "bob", "carol"] {
        record.connect(name, &format!("{name}'s"), at(0)).await;
    }
    ring(&record, 0, MAX_FRAMES_PER_USER, &users(&["bob"]), 0).await;
    ring(&record, 100, 7, &users(&["alice", "carol"]), 1).await;
    let taken = take(&record, 6, 6_000).await;
    assert!(taken.deliveries.iter().all(|delivery| delivery.user == user("bob")));
    assert_eq!(
        (taken.deliveries.len(), taken.resyncs.len()),
        (MAX_FRAMES_PER_USER, 1),
        "one of the two other backlogs was within the limit"
    );
    let taken = take(&record, 6, 6_000).await;
    assert_eq!((taken.deliveries.len(), taken.resyncs.len()), (0, 1));
    assert!(take(&record, 6, 6_000).await.is_empty());
}

async fn a_disconnected_user_with_a_backlog_has_nothing_due(record: Record) {
    record.connect("alice", "tab", at(0)).await;
    ring(&record, 0, 20, &users(&["alice"]), 0).await;
    record.connections().forget(&[ConnectionId::new("tab")]).await.unwrap();
    assert!(take(&record, 1, 5_000).await.is_empty());
    assert_eq!(next_due(&record).await, None);
}

async fn a_backlog_of_more_than_one_statement_is_taken_whole(record: Record) {
    const ROWS: usize = MAX_STATEMENT_ROWS + 1;
    record.connect("alice", "tab", at(0)).await;
    ring(&record, 0, ROWS, &users(&["alice"]), 0).await;
    let taken = take(&record, 10, 5_000).await;
    assert_eq!((taken.deliveries.len(), taken.resyncs.len()), (0, 1));
    assert_eq!(next_due(&record).await, Some(10_000), "every row was taken");
    let alice = user("alice");
    record.deliveries().mark_resynced(&[(&alice, ROWS as i64)], at(5_000)).await.unwrap();
    assert_eq!(next_due(&record).await, None);
}

async fn each_of_many_concurrent_takers_resyncs_a_user_at_most_once(record: Record) {
    let names: Vec<String> = (0..8).map(|n| format!("user {n}")).collect();
    for name in &names {
        record.connect(name, &format!("{name}'s"), at(0)).await;
    }
    let to: Vec<UserId> = names.iter().map(|name| user(name)).collect();
    ring(&record, 0, 40, &to, 0).await;
    let takers = 4;
    let taken = concurrently(takers, |_| {
        let record = record.clone();
        async move {
            let mut mine = Vec::new();
            loop {
                let taken = take(&record, 3, 5_000).await;
                if taken.is_empty() {
                    break mine;
                }
                assert!(taken.deliveries.is_empty(), "a single row of a backlog got its own frame");
                mine.extend(taken.resyncs.into_iter().map(|resync| resync.user));
            }
        }
    })
    .await;
    for user in &to {
        let times: Vec<usize> = taken.iter().map(|mine| mine.iter().filter(|taken| *taken == user).count()).collect();
        assert!(times.iter().sum::<usize>() >= 1, "{user}");
        assert!(times.iter().all(|times| *times <= 1), "takers got resyncs of {user} {times:?} times");
    }
    assert_eq!(next_due(&record).await, Some(10_000));
}
