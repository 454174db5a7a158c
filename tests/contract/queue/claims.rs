//! Each entry belongs to one worker at a time, until it is settled or its claim lapses.

use std::collections::HashSet;
use std::sync::Arc;

use shared::delivery::queue::{CLAIM_MS, MAX_ATTEMPTS, MAX_SHARD_ENTRIES, Resolution};
use shared::delivery::work::{PushWork, SHARDS, shard};
use shared::ids::ConnectionId;
use shared::inbox::notification::Priority;

use super::{Store, add, add_due, after, claim, claimed, counts, done, due, offsets, push, settle, work};
use crate::record::{at, concurrently, user};

on_each_moment! {
    an_empty_queue_yields_no_claims,
    work_is_claimed_exactly_as_it_was_added,
    a_claimed_entry_is_not_claimed_again,
    a_finished_entry_never_comes_back,
    each_entry_is_claimed_by_one_of_many_workers,
    entries_of_a_dead_worker_come_back_one_at_a_time,
    lapsed_claims_and_new_entries_take_turns,
    an_entry_that_keeps_ending_its_worker_is_poisoned,
    a_lapsed_claim_that_was_taken_over_settles_nothing,
    settling_twice_is_the_same_as_settling_once,
    a_full_shard_refuses_and_drops_nothing,
    a_limit_of_zero_claims_nothing,
}

async fn an_empty_queue_yields_no_claims(queue: Store) {
    let claims = claim(&queue, 64, 0).await;
    assert_eq!((claims.claimed, claims.next_in_ms), (vec![], None));
    assert_eq!(counts(&queue, 0).await, [0, 0, 0]);
    settle(&queue, &[], 0).await;
}

async fn work_is_claimed_exactly_as_it_was_added(queue: Store) {
    let left = ["PJqB0fHsqRcCHlw=", "a b", "", "🔔"].map(ConnectionId::new).to_vec();
    let mut works = Vec::new();
    for (offset, name) in ["alice", "a b", "{}", "1 high {\"user\":\"x\"}", "🔔", "a:b"].into_iter().enumerate() {
        works.push(PushWork { throttled: 1, left: left.clone(), ..work(name, offset as i64) });
    }
    works.push(PushWork {
        offset: i64::MAX,
        fence_ms: i64::MIN,
        throttled: u32::MAX,
        left: Vec::new(),
        ..work("bob", 0)
    });
    for work in &works {
        add(&queue, &[due(work.clone())], 0).await;
        add(&queue, &[after(1, work.clone())], 0).await;
    }
    for now_ms in [0, 1] {
        let claims = claim(&queue, 64, now_ms).await;
        let mut found: Vec<PushWork> = claims.claimed.iter().map(|claimed| push(claimed).clone()).collect();
        found.sort_by_key(|work| works.iter().position(|known| known == work));
        assert_eq!(found, works);
    }
}

async fn a_claimed_entry_is_not_claimed_again(queue: Store) {
    add_due(&queue, 0..3, 0).await;
    assert_eq!(claimed(&queue, 2, 0).await, [0, 1]);
    assert_eq!(counts(&queue, 0).await, [1, 2, 0]);
    assert_eq!(claimed(&queue, 2, 1).await, [2]);
    for now_ms in [1, 1_000, CLAIM_MS - 1] {
        assert_eq!(claimed(&queue, 64, now_ms).await, [0; 0], "at {now_ms} ms");
    }
    assert_eq!(counts(&queue, CLAIM_MS - 1).await, [0, 3, 0]);
}

async fn a_finished_entry_never_comes_back(queue: Store) {
    add_due(&queue, 0..3, 0).await;
    let claims = claim(&queue, 64, 0).await;
    settle(&queue, &done(&claims.claimed[..2]), 1).await;
    assert_eq!(counts(&queue, 1).await, [0, 1, 0]);
    assert_eq!(claimed(&queue, 64, CLAIM_MS).await, [2]);
    assert_eq!(claimed(&queue, 64, CLAIM_MS).await, [0; 0]);
}

async fn each_entry_is_claimed_by_one_of_many_workers(queue: Store) {
    const ENTRIES: i64 = 300;
    let entries: Vec<_> = (0..ENTRIES).map(|n| due(work(&format!("user {}", n % 40), n))).collect();
    let waiting: Vec<_> = (0..ENTRIES).map(|n| after(5, work(&format!("user {}", n % 40), ENTRIES + n))).collect();
    add(&queue, &entries, 0).await;
    add(&queue, &waiting, 0).await;
    let claimed = concurrently(8, |_| {
        let queue = Arc::clone(&queue);
        async move {
            let mut mine = Vec::new();
            loop {
                // Another worker may have claimed everything that was due.
                let claims = claim(&queue, 7, 5).await;
                if claims.claimed.is_empty() && claims.next_in_ms.is_none() {
                    break mine;
                }
                settle(&queue, &done(&claims.claimed), 5).await;
                mine.extend(offsets(&claims.claimed));
            }
        }
    })
    .await
    .concat();
    let distinct: HashSet<i64> = claimed.iter().copied().collect();
    assert_eq!((claimed.len(), distinct.len()), (2 * ENTRIES as usize, 2 * ENTRIES as usize));
    assert_eq!(counts(&queue, 5).await, [0, 0, 0]);
}

async fn entries_of_a_dead_worker_come_back_one_at_a_time(queue: Store) {
    add_due(&queue, 0..3, 0).await;
    let first = claim(&queue, 64, 0).await.claimed;
    assert!(first.iter().all(|claimed| claimed.attempts == 1));
    let mut again = Vec::new();
    for _ in 0..3 {
        let claims = claim(&queue, 64, CLAIM_MS).await;
        let [claimed] = &claims.claimed[..] else { panic!("{claims:?}") };
        assert_eq!((claimed.attempts, claims.next_in_ms), (2, Some(0)));
        again.push(claimed.clone());
    }
    let mut offsets = offsets(&again);
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 1, 2]);
    // The new claims last for a full claim period of their own.
    assert_eq!(claimed(&queue, 64, 2 * CLAIM_MS - 1).await, [0; 0]);
    settle(&queue, &done(&again), 2 * CLAIM_MS - 1).await;
    assert_eq!(counts(&queue, 3 * CLAIM_MS).await, [0, 0, 0]);
}

async fn lapsed_claims_and_new_entries_take_turns(queue: Store) {
    add_due(&queue, 0..2, 0).await;
    claim(&queue, 64, 0).await;
    add_due(&queue, 10..14, CLAIM_MS).await;
    let mut sizes = Vec::new();
    let mut all = Vec::new();
    for _ in 0..4 {
        let claims = claim(&queue, 2, CLAIM_MS).await;
        let is_suspect = claims.claimed.iter().any(|claimed| claimed.attempts > 1);
        assert!(!is_suspect || claims.claimed.len() == 1, "{claims:?}");
        sizes.push(claims.claimed.len());
        all.extend(offsets(&claims.claimed));
    }
    assert!(sizes == [1, 2, 1, 2] || sizes == [2, 1, 2, 1], "{sizes:?}");
    all.sort_unstable();
    assert_eq!(all, [0, 1, 10, 11, 12, 13]);
}

async fn an_entry_that_keeps_ending_its_worker_is_poisoned(queue: Store) {
    add_due(&queue, 0..1, 0).await;
    for attempts in 1..=MAX_ATTEMPTS + 2 {
        let claims = claim(&queue, 64, i64::from(attempts) * CLAIM_MS).await;
        let [claimed] = &claims.claimed[..] else { panic!("{claims:?}") };
        assert_eq!((claimed.attempts, claimed.is_poisoned()), (attempts, attempts > MAX_ATTEMPTS));
    }
    // A worker that reaches the end of its work resets the number of attempts.
    let claims = claim(&queue, 64, 10 * CLAIM_MS).await;
    let again = Resolution::Retry(claims.claimed[0].id.clone(), after(1, work("alice", 0)));
    settle(&queue, &[again], 10 * CLAIM_MS).await;
    let claims = claim(&queue, 64, 10 * CLAIM_MS + 1).await;
    assert_eq!((claims.claimed[0].attempts, offsets(&claims.claimed)), (1, vec![0]));
}

async fn a_lapsed_claim_that_was_taken_over_settles_nothing(queue: Store) {
    add_due(&queue, 0..1, 0).await;
    let slow = claim(&queue, 64, 0).await.claimed;
    let successor = claim(&queue, 64, CLAIM_MS).await.claimed;
    let again = Resolution::Retry(slow[0].id.clone(), after(5, work("alice", 9)));
    settle(&queue, &[again], CLAIM_MS + 1).await;
    settle(&queue, &done(&slow), CLAIM_MS + 1).await;
    assert_eq!(counts(&queue, CLAIM_MS + 1).await, [0, 1, 0]);
    settle(&queue, &done(&successor), CLAIM_MS + 2).await;
    assert_eq!(counts(&queue, CLAIM_MS + 2).await, [0, 0, 0]);
    // A lapsed claim that no other worker has taken over can still be settled.
    add_due(&queue, 1..2, 2 * CLAIM_MS).await;
    let late = claim(&queue, 64, 2 * CLAIM_MS).await.claimed;
    settle(&queue, &done(&late), 9 * CLAIM_MS).await;
    assert_eq!(counts(&queue, 9 * CLAIM_MS).await, [0, 0, 0]);
}

async fn settling_twice_is_the_same_as_settling_once(queue: Store) {
    add_due(&queue, 0..2, 0).await;
    let claims = claim(&queue, 64, 0).await.claimed;
    let settled =
        [Resolution::Done(claims[0].id.clone()), Resolution::Retry(claims[1].id.clone(), after(10, work("alice", 1)))];
    settle(&queue, &settled, 1).await;
    settle(&queue, &settled, 2).await;
    settle(&queue, &done(&claims), 3).await;
    assert_eq!(counts(&queue, 3).await, [0, 0, 1]);
    assert_eq!(claimed(&queue, 64, 11).await, [1]);
}

async fn a_full_shard_refuses_and_drops_nothing(queue: Store) {
    let entries: Vec<_> = (0..MAX_SHARD_ENTRIES as i64).map(|n| due(work("alice", n))).collect();
    for entries in entries.chunks(2_000) {
        add(&queue, entries, 0).await;
    }
    let refused = queue.add(&[due(work("alice", -1)), after(1, work("alice", -2))], at(0)).await.refused;
    assert_eq!(refused, 2);
    // Other shards have room.
    let elsewhere = (0..).map(|n| format!("user {n}")).find(|name| shard(&user(name)) != shard(&user("alice")));
    let other = work(&elsewhere.unwrap(), -3);
    assert_eq!(queue.add(&[due(work("alice", -4)), due(other)], at(0)).await.refused, 1);
    // A claimed entry still occupies its place in the shard; a finished one frees it.
    let claims = claim(&queue, 10, 0).await.claimed;
    assert_eq!(queue.add(&[due(work("alice", -5))], at(0)).await.refused, 1);
    let ours: Vec<_> = claims.into_iter().filter(|claimed| push(claimed).user == user("alice")).collect();
    settle(&queue, &done(&ours), 0).await;
    let more: Vec<_> = (0..12).map(|n| after(1, work("alice", -10 - n))).collect();
    let refused = queue.add(&more, at(0)).await.refused;
    assert_eq!(refused, 12 - ours.len());
    let all = MAX_SHARD_ENTRIES as u64 + 1;
    assert_eq!(counts(&queue, 0).await.iter().sum::<u64>(), all);
    assert_eq!(SHARDS, 16);
}

async fn a_limit_of_zero_claims_nothing(queue: Store) {
    add(&queue, &[due(PushWork { priority: Priority::Critical, ..work("alice", 0) })], 0).await;
    let claims = claim(&queue, 0, 0).await;
    assert_eq!((claims.claimed.len(), claims.next_in_ms), (0, Some(0)));
    claim(&queue, 1, 0).await;
    assert_eq!(claimed(&queue, 0, CLAIM_MS).await, [0; 0]);
    assert_eq!(claimed(&queue, 1, CLAIM_MS).await, [0]);
}
