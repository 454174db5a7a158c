//! Whether a drain is awake, and how it learns of news.

use std::sync::Arc;

use shared::delivery::queue::{AWAKE_MS, WAKING_MS};

use super::{Store, add, add_due, claim, due, work};
use crate::record::{at, together};

on_each_queue! {
    nobody_is_awake_at_first,
    whoever_finds_none_awake_is_to_wake_one_for_all,
    whoever_claims_or_watches_is_awake_for_a_while,
    whoever_rests_is_not_awake,
    whoever_adds_is_news,
    work_of_the_record_alone_is_news_too,
    work_that_is_added_while_a_drain_goes_to_rest_is_seen_by_somebody,
}

async fn is_awake(queue: &Store, now_ms: i64) -> bool {
    add(queue, &[], now_ms).await.drain_is_awake.expect("it is there")
}

async fn watch(queue: &Store, now_ms: i64) -> u64 {
    queue.heartbeat(at(now_ms)).await.expect("it is there")
}

async fn nobody_is_awake_at_first(queue: Store) {
    assert_eq!(add(&queue, &[due(work("alice", 1))], 0).await.drain_is_awake, Some(false));
}

async fn whoever_finds_none_awake_is_to_wake_one_for_all(queue: Store) {
    for begin_ms in [0, WAKING_MS] {
        assert!(!is_awake(&queue, begin_ms).await);
        assert!(is_awake(&queue, begin_ms).await);
        assert!(is_awake(&queue, begin_ms + WAKING_MS - 1).await);
    }
    // It came, and found nothing: the next one is to be woken.
    queue.sign_off(at(WAKING_MS + 1)).await.expect("it is there");
    assert!(!is_awake(&queue, WAKING_MS + 1).await);
}

async fn whoever_claims_or_watches_is_awake_for_a_while(queue: Store) {
    claim(&queue, 1, 0).await;
    assert!(is_awake(&queue, AWAKE_MS - 1).await);
    assert!(!is_awake(&queue, AWAKE_MS).await);
    watch(&queue, 2 * AWAKE_MS).await;
    watch(&queue, 2 * AWAKE_MS + 100).await;
    assert_eq!(add(&queue, &[due(work("alice", 1))], 3 * AWAKE_MS + 99).await.drain_is_awake, Some(true));
    assert!(!is_awake(&queue, 3 * AWAKE_MS + 100).await);
}

async fn whoever_rests_is_not_awake(queue: Store) {
    claim(&queue, 1, 0).await;
    queue.sign_off(at(1)).await.expect("it is there");
    assert!(!is_awake(&queue, 1).await);
    // Another that is still at it is heard of soon.
    watch(&queue, 2).await;
    assert!(is_awake(&queue, 2).await);
}

async fn whoever_adds_is_news(queue: Store) {
    let before = watch(&queue, 0).await;
    assert_eq!(claim(&queue, 64, 1).await.generation, before);
    add_due(&queue, 0..1, 2).await;
    let after = watch(&queue, 3).await;
    assert_ne!(after, before);
    assert_eq!(claim(&queue, 64, 4).await.generation, after);
    assert_eq!(queue.sign_off(at(5)).await, Some(after));
}

async fn work_of_the_record_alone_is_news_too(queue: Store) {
    let before = watch(&queue, 0).await;
    add(&queue, &[], 1).await;
    assert_ne!(watch(&queue, 2).await, before);
    assert_eq!(claim(&queue, 64, 3).await.claimed, []);
}

async fn work_that_is_added_while_a_drain_goes_to_rest_is_seen_by_somebody(queue: Store) {
    for _ in 0..50 {
        let generation = claim(&queue, 0, 0).await.generation;
        let seen = together(2, |n| {
            let queue = Arc::clone(&queue);
            async move {
                match n {
                    0 => queue.sign_off(at(0)).await.expect("it is there") != generation,
                    _ => !is_awake(&queue, 0).await,
                }
            }
        })
        .await;
        assert!(seen.contains(&true), "the drain rests, and whoever added believes it awake");
    }
}
