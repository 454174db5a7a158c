//! Whether a drain is awake, and how it learns of new work.

use std::sync::Arc;

use shared::delivery::queue::{AWAKE_MS, WAKING_MS};

use super::{Store, add, add_due, claim, due, work};
use crate::record::{at, concurrently};

on_each_moment! {
    no_drain_is_awake_at_first,
    the_first_caller_that_finds_no_drain_awake_wakes_one_for_all,
    a_drain_that_claims_or_sends_a_heartbeat_is_awake_for_a_while,
    a_drain_that_signed_off_is_not_awake,
    adding_an_entry_changes_the_generation,
    adding_no_entry_changes_the_generation_too,
    whoever_listens_hears_of_each_entry,
    work_added_while_a_drain_signs_off_is_noticed_by_the_drain_or_the_caller,
}

async fn is_awake(queue: &Store, now_ms: i64) -> bool {
    add(queue, &[], now_ms).await.drain_is_awake.expect("the moment is available")
}

async fn heartbeat(queue: &Store, now_ms: i64) -> u64 {
    queue.heartbeat(at(now_ms)).await.expect("the moment is available")
}

async fn no_drain_is_awake_at_first(queue: Store) {
    assert_eq!(add(&queue, &[due(work("alice", 1))], 0).await.drain_is_awake, Some(false));
}

async fn the_first_caller_that_finds_no_drain_awake_wakes_one_for_all(queue: Store) {
    for begin_ms in [0, WAKING_MS] {
        assert!(!is_awake(&queue, begin_ms).await);
        assert!(is_awake(&queue, begin_ms).await);
        assert!(is_awake(&queue, begin_ms + WAKING_MS - 1).await);
    }
    // The drain ran, found nothing and signed off: the next caller has to wake one again.
    queue.sign_off(at(WAKING_MS + 1)).await.expect("the moment is available");
    assert!(!is_awake(&queue, WAKING_MS + 1).await);
}

async fn a_drain_that_claims_or_sends_a_heartbeat_is_awake_for_a_while(queue: Store) {
    claim(&queue, 1, 0).await;
    assert!(is_awake(&queue, AWAKE_MS - 1).await);
    assert!(!is_awake(&queue, AWAKE_MS).await);
    heartbeat(&queue, 2 * AWAKE_MS).await;
    heartbeat(&queue, 2 * AWAKE_MS + 100).await;
    assert_eq!(add(&queue, &[due(work("alice", 1))], 3 * AWAKE_MS + 99).await.drain_is_awake, Some(true));
    assert!(!is_awake(&queue, 3 * AWAKE_MS + 100).await);
}

async fn a_drain_that_signed_off_is_not_awake(queue: Store) {
    claim(&queue, 1, 0).await;
    queue.sign_off(at(1)).await.expect("the moment is available");
    assert!(!is_awake(&queue, 1).await);
    // Another drain that is still working counts as awake from its next heartbeat.
    heartbeat(&queue, 2).await;
    assert!(is_awake(&queue, 2).await);
}

async fn adding_an_entry_changes_the_generation(queue: Store) {
    let before = heartbeat(&queue, 0).await;
    assert_eq!(claim(&queue, 64, 1).await.generation, before);
    add_due(&queue, 0..1, 2).await;
    let after = heartbeat(&queue, 3).await;
    assert_ne!(after, before);
    assert_eq!(claim(&queue, 64, 4).await.generation, after);
    assert_eq!(queue.sign_off(at(5)).await, Some(after));
}

async fn adding_no_entry_changes_the_generation_too(queue: Store) {
    let before = heartbeat(&queue, 0).await;
    add(&queue, &[], 1).await;
    assert_ne!(heartbeat(&queue, 2).await, before);
    assert_eq!(claim(&queue, 64, 3).await.claimed, []);
}

async fn work_added_while_a_drain_signs_off_is_noticed_by_the_drain_or_the_caller(queue: Store) {
    for _ in 0..50 {
        let generation = claim(&queue, 0, 0).await.generation;
        let seen = concurrently(2, |n| {
            let queue = Arc::clone(&queue);
            async move {
                match n {
                    0 => queue.sign_off(at(0)).await.expect("the moment is available") != generation,
                    _ => !is_awake(&queue, 0).await,
                }
            }
        })
        .await;
        assert!(seen.contains(&true), "the drain signed off unaware of the work, and the caller counted on it");
    }
}

async fn whoever_listens_hears_of_each_entry(queue: Store) {
    add_due(&queue, 0..1, 0).await;
    let mut news = queue.hear_of_work().await.expect("the moment is available");
    for n in 1..4 {
        if n % 2 == 0 {
            add_due(&queue, n..n + 1, n).await;
        } else {
            add(&queue, &[], n).await;
        }
        let heard = tokio::time::timeout(std::time::Duration::from_secs(10), news.next()).await;
        assert!(heard.expect("it is told").is_some());
    }
}
