//! Work that is not due yet, and the depth of the queue.

use shared::delivery::queue::{Depth, Resolution};
use shared::inbox::notification::Priority;

use super::{Store, add, add_due, after, claim, claimed, counts, depth, due, settle, with_priority, work};

on_each_moment! {
    delayed_work_is_claimed_when_it_falls_due_and_never_earlier,
    a_retry_waits_first,
    delayed_work_that_is_added_again_is_one_entry_with_the_new_delay,
    work_that_falls_due_is_claimed_by_priority,
    many_entries_that_fall_due_at_once_are_all_claimed,
    the_depth_counts_entries_by_state_and_reports_the_oldest,
    a_clock_that_goes_back_loses_nothing,
}

async fn delayed_work_is_claimed_when_it_falls_due_and_never_earlier(queue: Store) {
    add(&queue, &[after(100, work("alice", 1)), after(1, work("alice", 2)), after(60_000, work("bob", 3))], 0).await;
    for (now_ms, offsets, next_in_ms) in [
        (0, &[][..], Some(1)),
        (1, &[2], Some(99)),
        (99, &[], Some(1)),
        (100, &[1], Some(59_900)),
        (59_999, &[], Some(1)),
        (60_000, &[3], None),
    ] {
        let claims = claim(&queue, 64, now_ms).await;
        assert_eq!((super::offsets(&claims.claimed).as_slice(), claims.next_in_ms), (offsets, next_in_ms), "{now_ms}");
    }
}

async fn a_retry_waits_first(queue: Store) {
    add_due(&queue, 0..2, 0).await;
    let claims = claim(&queue, 64, 0).await.claimed;
    let retry =
        |n: usize, wait_ms| Resolution::Retry(claims[n].id.clone(), after(wait_ms, work("alice", 10 + n as i64)));
    settle(&queue, &[retry(0, 200), retry(1, 0)], 5).await;
    assert_eq!(claimed(&queue, 64, 5).await, [11]);
    assert_eq!(claimed(&queue, 64, 204).await, [0; 0]);
    assert_eq!(claimed(&queue, 64, 205).await, [10]);
}

async fn delayed_work_that_is_added_again_is_one_entry_with_the_new_delay(queue: Store) {
    add(&queue, &[after(10, work("alice", 1))], 0).await;
    add(&queue, &[after(10, work("alice", 1))], 5).await;
    assert_eq!(counts(&queue, 5).await, [0, 0, 1]);
    assert_eq!(claimed(&queue, 64, 14).await, [0; 0]);
    assert_eq!(claimed(&queue, 64, 15).await, [1]);
}

async fn work_that_falls_due_is_claimed_by_priority(queue: Store) {
    let entries = [Priority::Low, Priority::Critical, Priority::Normal, Priority::High];
    let entries: Vec<_> =
        entries.into_iter().enumerate().map(|(n, p)| after(1 + n as i64, with_priority(p, n as i64))).collect();
    add(&queue, &entries, 0).await;
    assert_eq!(claimed(&queue, 64, 10).await, [1, 3, 2, 0]);
}

async fn many_entries_that_fall_due_at_once_are_all_claimed(queue: Store) {
    const ENTRIES: i64 = 1_700;
    let entries: Vec<_> = (0..ENTRIES).map(|n| after(1, work("alice", n))).collect();
    add(&queue, &entries, 0).await;
    let mut all = Vec::new();
    loop {
        let claims = claim(&queue, 256, 1).await;
        all.extend(super::offsets(&claims.claimed));
        if claims.next_in_ms.is_none() {
            break;
        }
    }
    all.sort_unstable();
    assert_eq!(all, (0..ENTRIES).collect::<Vec<i64>>());
}

async fn the_depth_counts_entries_by_state_and_reports_the_oldest(queue: Store) {
    assert_eq!(depth(&queue, 0).await, Depth::default());
    add_due(&queue, 0..3, 100).await;
    add(&queue, &[after(50, work("bob", 3)), after(500, work("bob", 4))], 100).await;
    let at_once = Depth { waiting: 3, processing: 0, delayed: 2, oldest_ms: 0 };
    assert_eq!(depth(&queue, 100).await, at_once);
    assert_eq!(depth(&queue, 200).await, Depth { waiting: 4, delayed: 1, oldest_ms: 100, ..at_once });
    claim(&queue, 1, 300).await;
    let Depth { waiting, processing, delayed, oldest_ms } = depth(&queue, 300).await;
    assert_eq!((waiting, processing, delayed), (3, 1, 1));
    assert!((150..=200).contains(&oldest_ms), "{oldest_ms}");
    claim(&queue, 64, 300).await;
    assert_eq!(depth(&queue, 310).await, Depth { waiting: 0, processing: 4, delayed: 1, oldest_ms: 0 });
}

async fn a_clock_that_goes_back_loses_nothing(queue: Store) {
    add(&queue, &[due(work("alice", 1))], 1_000_000).await;
    add(&queue, &[due(work("alice", 2)), after(10, work("alice", 3))], 0).await;
    assert_eq!(depth(&queue, 0).await, Depth { waiting: 2, processing: 0, delayed: 1, oldest_ms: 0 });
    assert_eq!(claimed(&queue, 64, 9).await, [1, 2]);
    assert_eq!(claimed(&queue, 64, 10).await, [3]);
}
