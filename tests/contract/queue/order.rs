//! The order in which entries are claimed.

use shared::delivery::work::PushWork;
use shared::inbox::notification::Priority;

use super::{Store, add, after, claim, claimed, done, due, push, settle, with_priority, work};

on_each_moment! {
    more_urgent_work_is_claimed_first,
    no_priority_starves,
    entries_of_one_user_and_priority_are_claimed_in_due_order,
    a_busy_user_does_not_keep_others_waiting,
}

const PRIORITIES: [Priority; 4] = [Priority::Critical, Priority::High, Priority::Normal, Priority::Low];

async fn more_urgent_work_is_claimed_first(queue: Store) {
    for (n, priority) in PRIORITIES.into_iter().rev().enumerate() {
        add(&queue, &[due(with_priority(priority, n as i64))], n as i64).await;
        add(&queue, &[due(PushWork { user: crate::record::user("bob"), ..with_priority(priority, 10 + n as i64) })], 9)
            .await;
    }
    let claims = claim(&queue, 64, 10).await.claimed;
    let ranks: Vec<Priority> = claims.iter().map(|claimed| push(claimed).priority).collect();
    let expected: Vec<Priority> = PRIORITIES.into_iter().flat_map(|priority| [priority; 2]).collect();
    assert_eq!(ranks, expected);
}

async fn no_priority_starves(queue: Store) {
    const EACH: i64 = 100;
    for (n, priority) in PRIORITIES.into_iter().enumerate() {
        let entries: Vec<_> = (0..EACH).map(|m| due(with_priority(priority, n as i64 * EACH + m))).collect();
        add(&queue, &entries, 0).await;
    }
    // The shares are the same whether work is claimed fifteen at a time or one by one.
    for limit in [15, 1, 4] {
        let mut found = [0; 4];
        for _ in 0..(60_usize.div_ceil(limit)) {
            let claims = claim(&queue, limit, 0).await.claimed;
            for claimed in &claims {
                found[usize::try_from(push(claimed).offset / EACH).unwrap()] += 1;
            }
            settle(&queue, &done(&claims), 0).await;
            // Each finished entry is replaced by another of the same priority.
            let more: Vec<_> = claims.iter().map(|claimed| due(push(claimed).clone())).collect();
            add(&queue, &more, 0).await;
        }
        assert_eq!(found, [32, 16, 8, 4], "{limit} at once");
    }
}

async fn entries_of_one_user_and_priority_are_claimed_in_due_order(queue: Store) {
    add(&queue, &[after(30, work("alice", 4)), due(work("alice", 1)), after(20, work("alice", 3))], 0).await;
    add(&queue, &[due(work("alice", 2))], 10).await;
    assert_eq!(claimed(&queue, 1, 40).await, [1]);
    assert_eq!(claimed(&queue, 64, 40).await, [2, 3, 4]);
}

async fn a_busy_user_does_not_keep_others_waiting(queue: Store) {
    let busy: Vec<_> = (0..1_000).map(|n| due(work("alice", n))).collect();
    add(&queue, &busy, 0).await;
    let other = (0..).map(|n| format!("user {n}")).find(|name| {
        shared::delivery::work::shard(&crate::record::user(name))
            != shared::delivery::work::shard(&crate::record::user("alice"))
    });
    add(&queue, &[due(work(&other.unwrap(), -1))], 1).await;
    assert!(claimed(&queue, 2, 1).await.contains(&-1));
}
