//! Work of a kind that this version does not know: it stays in the queue for a drain that does.

use shared::delivery::queue::{CLAIM_MS, Claimed, Entry, RETURN_MS, Resolution};
use shared::delivery::work::{UnknownWork, Work};

use super::{Store, add, add_due, claim, counts, done, offsets, settle};
use crate::record::START_MS;

on_each_moment! {
    unknown_work_is_claimed_as_it_was_added,
    returned_work_comes_back_unchanged_as_a_first_attempt,
    returned_work_keeps_the_time_at_which_it_fell_due,
    returned_work_does_not_hold_up_other_work,
    a_lapsed_claim_returns_nothing,
    unknown_work_can_be_finished,
}

/// Work of the next version, of a later kind, and with a priority that this version does not know.
const TEXTS: [&str; 3] = ["2 high {\"user\":\"alice\",\"offset\":1}", "presence/2 low {\"of\":\"🔔\"}", "2 urgent x y"];

fn unknown(text: &str) -> Work {
    Work::Unknown(UnknownWork::new(text).expect("this version does not know the kind"))
}

async fn add_unknown(queue: &Store, text: &str, now_ms: i64) {
    add(queue, &[Entry { work: unknown(text), wait_ms: 0 }], now_ms).await;
}

fn returned(claimed: &[Claimed]) -> Vec<Resolution> {
    claimed.iter().map(|claimed| Resolution::Return(claimed.id.clone())).collect()
}

/// Claims the only entry, which must be this one.
async fn claim_unknown(queue: &Store, text: &str, now_ms: i64) -> Vec<Claimed> {
    let claimed = claim(queue, 64, now_ms).await.claimed;
    assert_eq!(claimed.iter().map(|claimed| claimed.work.clone()).collect::<Vec<_>>(), [Ok(unknown(text))]);
    claimed
}

async fn unknown_work_is_claimed_as_it_was_added(queue: Store) {
    for (n, text) in TEXTS.into_iter().enumerate() {
        let now_ms = n as i64;
        add_unknown(&queue, text, now_ms).await;
        let claimed = claim_unknown(&queue, text, now_ms).await;
        assert_eq!((claimed[0].attempts, claimed[0].due_ms), (1, START_MS + now_ms));
        settle(&queue, &done(&claimed), now_ms).await;
    }
}

async fn returned_work_comes_back_unchanged_as_a_first_attempt(queue: Store) {
    for text in TEXTS {
        add_unknown(&queue, text, 0).await;
        // More often than an entry may be claimed without a result.
        for round in 0..7 {
            let now_ms = round * RETURN_MS;
            let claimed = claim_unknown(&queue, text, now_ms).await;
            assert_eq!(claimed[0].attempts, 1, "round {round}");
            settle(&queue, &returned(&claimed), now_ms).await;
            assert!(claim(&queue, 64, now_ms + RETURN_MS - 1).await.claimed.is_empty(), "round {round}");
        }
        let claimed = claim_unknown(&queue, text, 7 * RETURN_MS).await;
        settle(&queue, &done(&claimed), 7 * RETURN_MS).await;
    }
}

async fn returned_work_keeps_the_time_at_which_it_fell_due(queue: Store) {
    add_unknown(&queue, TEXTS[0], 5).await;
    for now_ms in [10, 10 + RETURN_MS, 10 + 2 * RETURN_MS] {
        let claimed = claim_unknown(&queue, TEXTS[0], now_ms).await;
        assert_eq!(claimed[0].due_ms, START_MS + 5);
        settle(&queue, &returned(&claimed), now_ms).await;
    }
}

async fn returned_work_does_not_hold_up_other_work(queue: Store) {
    for text in TEXTS {
        add_unknown(&queue, text, 0).await;
    }
    let claimed = claim(&queue, 64, 0).await.claimed;
    assert_eq!(claimed.len(), 3);
    settle(&queue, &returned(&claimed), 0).await;
    assert_eq!(counts(&queue, 0).await, [0, 3, 0]);
    add_due(&queue, 0..3, 1).await;
    let claimed = claim(&queue, 64, 1).await.claimed;
    assert_eq!(offsets(&claimed), [0, 1, 2]);
    settle(&queue, &done(&claimed), 1).await;
}

async fn a_lapsed_claim_returns_nothing(queue: Store) {
    add_unknown(&queue, TEXTS[0], 0).await;
    let first = claim_unknown(&queue, TEXTS[0], 0).await;
    let second = claim_unknown(&queue, TEXTS[0], CLAIM_MS).await;
    assert_eq!(second[0].attempts, 2);
    settle(&queue, &returned(&first), CLAIM_MS).await;
    assert!(claim(&queue, 64, CLAIM_MS + RETURN_MS).await.claimed.is_empty(), "the second claim is still valid");
    settle(&queue, &done(&second), CLAIM_MS + RETURN_MS).await;
    assert_eq!(counts(&queue, CLAIM_MS + RETURN_MS).await, [0, 0, 0]);
}

async fn unknown_work_can_be_finished(queue: Store) {
    add_unknown(&queue, TEXTS[1], 0).await;
    let claimed = claim_unknown(&queue, TEXTS[1], 0).await;
    settle(&queue, &returned(&claimed), 0).await;
    let again = claim_unknown(&queue, TEXTS[1], RETURN_MS).await;
    settle(&queue, &done(&again), RETURN_MS).await;
    assert_eq!(counts(&queue, RETURN_MS).await, [0, 0, 0]);
    assert!(claim(&queue, 64, RETURN_MS + CLAIM_MS).await.claimed.is_empty());
}
