//! The suite of `shared::limits::Limits`: GCRA, exact to the millisecond.

use std::collections::HashMap;
use std::sync::Arc;

use shared::limits::{Limits, Rate, Spend, Verdict};

use crate::record::{at, concurrently};

on_each_moment! {
    a_burst_is_admitted_then_one_per_window_divided_by_count,
    the_reported_wait_is_the_shortest_after_which_a_spend_is_admitted,
    a_refused_spend_costs_nothing,
    buckets_are_independent,
    a_bucket_named_twice_is_spent_from_twice,
    verdicts_are_in_the_order_of_the_spends,
    a_clock_that_goes_back_admits_nothing_and_is_forgotten_after_a_window,
    a_pause_admits_no_more_than_a_burst,
    concurrent_spends_get_no_more_than_the_budget,
    what_is_given_back_can_be_spent_again,
    giving_back_makes_a_bucket_no_more_than_full,
    every_verdict_matches_the_model,
}

type Store = Arc<dyn Limits>;

fn rate(count: u32, window_ms: u32) -> Rate {
    Rate { count, window_ms }
}

fn from(bucket: &str, rate: Rate) -> Spend {
    Spend { bucket: bucket.into(), rate }
}

async fn spend(limits: &Store, bucket: &str, rate: Rate, now_ms: i64) -> Verdict {
    let verdicts = limits.spend(&[from(bucket, rate)], at(now_ms)).await;
    assert_eq!(verdicts.len(), 1);
    verdicts[0]
}

/// Spends from a bucket at one instant until it refuses; returns how many spends were admitted.
async fn admitted(limits: &Store, bucket: &str, rate: Rate, now_ms: i64) -> u32 {
    let mut admitted = 0;
    while spend(limits, bucket, rate, now_ms).await == Verdict::Admitted {
        admitted += 1;
        assert!(admitted <= 1_000, "it never refuses");
    }
    admitted
}

async fn a_burst_is_admitted_then_one_per_window_divided_by_count(limits: Store) {
    for (count, window_ms, step_ms) in [(1, 1_000, 1_000), (4, 1_000, 250), (30, 60_000, 2_000), (1, 1, 1)] {
        let (bucket, rate) = (format!("{count}/{window_ms}"), rate(count, window_ms));
        assert_eq!(admitted(&limits, &bucket, rate, 0).await, count);
        for n in 1..=5 {
            assert_eq!(admitted(&limits, &bucket, rate, n * step_ms - 1).await, 0);
            assert_eq!(admitted(&limits, &bucket, rate, n * step_ms).await, 1);
        }
    }
    // A third of a second is not a whole number of milliseconds, but three of them are exactly a second.
    let thirds = rate(3, 1_000);
    assert_eq!(admitted(&limits, "thirds", thirds, 0).await, 3);
    for (now_ms, expected) in [(333, 0), (334, 1), (666, 0), (667, 1), (999, 0), (1_000, 1), (1_333, 0), (1_334, 1)] {
        let found = admitted(&limits, "thirds", thirds, now_ms).await;
        assert_eq!(found, expected, "at {now_ms} ms");
    }
}

async fn the_reported_wait_is_the_shortest_after_which_a_spend_is_admitted(limits: Store) {
    for (count, window_ms) in [
        (1, 1_000),
        (3, 1_000),
        (7, 1_000),
        (7, 60_000),
        (20, 10_000),
        (999, 1_000),
        (1, 86_400_000),
        (100_000, 86_400_000),
    ] {
        let (bucket, rate) = (format!("{count}/{window_ms}"), rate(count, window_ms));
        let all = vec![from(&bucket, rate); count as usize];
        let verdicts = limits.spend(&all, at(0)).await;
        assert!(verdicts.iter().all(|v| *v == Verdict::Admitted));
        let mut now_ms = 0;
        for _ in 0..10 {
            let Verdict::Limited { retry_after_ms } = spend(&limits, &bucket, rate, now_ms).await else {
                // If several become available within a millisecond, spending one of them leaves some.
                now_ms += 1;
                continue;
            };
            assert!(retry_after_ms > 0);
            let then_ms = now_ms + i64::try_from(retry_after_ms).unwrap();
            let early = spend(&limits, &bucket, rate, then_ms - 1).await;
            assert_eq!(early, Verdict::Limited { retry_after_ms: 1 }, "{bucket}");
            let on_time = spend(&limits, &bucket, rate, then_ms).await;
            assert_eq!(on_time, Verdict::Admitted, "{bucket}");
            now_ms = then_ms;
        }
    }
}

async fn a_refused_spend_costs_nothing(limits: Store) {
    let one = rate(1, 1_000);
    assert_eq!(spend(&limits, "a", one, 0).await, Verdict::Admitted);
    for now_ms in 0..1_000 {
        let refused = spend(&limits, "a", one, now_ms).await;
        let retry_after_ms = u64::try_from(1_000 - now_ms).unwrap();
        assert_eq!(refused, Verdict::Limited { retry_after_ms });
    }
    assert_eq!(spend(&limits, "a", one, 1_000).await, Verdict::Admitted);
}

async fn buckets_are_independent(limits: Store) {
    let two = rate(2, 1_000);
    for bucket in ["a", "b", "A", "a:b", "a:", ":a", "{a}", "a\n", "", " ", "a\"b", "🔔"] {
        assert_eq!(admitted(&limits, bucket, two, 0).await, 2, "{bucket:?}");
    }
    for bucket in ["a", "{a}", "", "🔔"] {
        assert_eq!(admitted(&limits, bucket, two, 0).await, 0, "{bucket:?}");
    }
}

async fn a_bucket_named_twice_is_spent_from_twice(limits: Store) {
    let three = rate(3, 1_000);
    let twice = [from("a", three), from("a", three)];
    assert_eq!(limits.spend(&twice, at(0)).await, [Verdict::Admitted; 2]);
    let refused = Verdict::Limited { retry_after_ms: 334 };
    assert_eq!(limits.spend(&twice, at(0)).await, [Verdict::Admitted, refused]);
}

async fn verdicts_are_in_the_order_of_the_spends(limits: Store) {
    let one = rate(1, 1_000);
    spend(&limits, "b", one, 0).await;
    spend(&limits, "d", one, 500).await;
    let spends: Vec<Spend> = ["a", "b", "c", "d", "e"].map(|bucket| from(bucket, one)).into();
    let limited = |retry_after_ms| Verdict::Limited { retry_after_ms };
    assert_eq!(
        limits.spend(&spends, at(600)).await,
        [Verdict::Admitted, limited(400), Verdict::Admitted, limited(900), Verdict::Admitted]
    );
    assert!(limits.spend(&[], at(600)).await.is_empty());
}

async fn a_clock_that_goes_back_admits_nothing_and_is_forgotten_after_a_window(limits: Store) {
    let two = rate(2, 1_000);
    assert_eq!(admitted(&limits, "a", two, 10_000).await, 2);
    for now_ms in [9_999, 9_000, 5_000, 0, -10_000] {
        // However far it went, the budget comes back as it would have.
        let refused = spend(&limits, "a", two, now_ms).await;
        assert_eq!(refused, Verdict::Limited { retry_after_ms: 500 }, "at {now_ms}");
    }
    assert_eq!(admitted(&limits, "a", two, -9_501).await, 0);
    assert_eq!(admitted(&limits, "a", two, -9_500).await, 1);
    assert_eq!(admitted(&limits, "a", two, -8_500).await, 2);
}

async fn a_pause_admits_no_more_than_a_burst(limits: Store) {
    let three = rate(3, 1_000);
    for now_ms in [0, 1_000, 3_600_000, 900_000_000] {
        assert_eq!(admitted(&limits, "a", three, now_ms).await, 3);
    }
}

async fn concurrent_spends_get_no_more_than_the_budget(limits: Store) {
    let ten = rate(10, 1_000);
    let verdicts = concurrently(50, |_| {
        let limits = Arc::clone(&limits);
        async move { spend(&limits, "a", ten, 0).await }
    })
    .await;
    let admitted = verdicts.iter().filter(|v| **v == Verdict::Admitted);
    assert_eq!(admitted.count(), 10);
}

async fn what_is_given_back_can_be_spent_again(limits: Store) {
    let three = rate(3, 1_000);
    assert_eq!(admitted(&limits, "a", three, 0).await, 3);
    limits.give_back(&[from("a", three)], at(100)).await;
    assert_eq!(admitted(&limits, "a", three, 100).await, 1);
    // The remainder comes back when it would have, to the millisecond.
    assert_eq!(admitted(&limits, "a", three, 333).await, 0);
    assert_eq!(admitted(&limits, "a", three, 334).await, 1);
    limits.give_back(&[from("a", three), from("a", three), from("b", three)], at(334)).await;
    assert_eq!(admitted(&limits, "a", three, 334).await, 2);
    // Another rate is another bucket.
    limits.give_back(&[from("a", rate(2, 1_000))], at(334)).await;
    assert_eq!(admitted(&limits, "a", three, 334).await, 0);
}

async fn giving_back_makes_a_bucket_no_more_than_full(limits: Store) {
    let three = rate(3, 1_000);
    limits.give_back(&vec![from("a", three); 9], at(0)).await;
    assert_eq!(admitted(&limits, "a", three, 0).await, 3);
    limits.give_back(&vec![from("a", three); 9], at(0)).await;
    assert_eq!(admitted(&limits, "a", three, 0).await, 3);
    limits.give_back(&vec![from("a", three); 9], at(5_000)).await;
    assert_eq!(admitted(&limits, "a", three, 5_000).await, 3);
    limits.give_back(&[], at(5_000)).await;
    assert_eq!(admitted(&limits, "a", three, 5_000).await, 0);
}

/// The definition of a bucket, written as plainly as possible: it holds up to `count` and regains one each
/// `window / count`. It stores how much is missing, in units of a millisecond divided by `count`, so that every number
/// is whole.
#[derive(Default)]
struct Model {
    buckets: HashMap<(usize, Rate32), Missing>,
}

type Rate32 = (u32, u32);

#[derive(Clone, Copy)]
struct Missing {
    parts: i128,
    at_ms: i64,
}

impl Model {
    fn spend(&mut self, bucket: usize, rate: Rate, now_ms: i64) -> Verdict {
        let (count, window_ms) = (i128::from(rate.count), i128::from(rate.window_ms));
        let missing =
            self.buckets.entry((bucket, (rate.count, rate.window_ms))).or_insert(Missing { parts: 0, at_ms: now_ms });
        let passed_ms = i128::from(now_ms - missing.at_ms);
        missing.parts = (missing.parts - passed_ms * count).max(0);
        missing.at_ms = now_ms;
        // One spend is `window_ms` parts; the whole bucket is `count` times that.
        let over = missing.parts + window_ms - count * window_ms;
        if over <= 0 {
            missing.parts += window_ms;
            return Verdict::Admitted;
        }
        let retry_after_ms = u64::try_from((over + count - 1) / count).unwrap();
        Verdict::Limited { retry_after_ms }
    }
}

async fn every_verdict_matches_the_model(limits: Store) {
    let rates = [rate(1, 1_000), rate(3, 1_000), rate(7, 997), rate(50, 1_000), rate(30, 60_000), rate(10, 3)];
    let (mut model, mut dice) = (Model::default(), Dice(0x5eed));
    let (mut now_ms, mut counts) = (0, [0; 2]);
    for _ in 0..4_000 {
        // Mostly a few milliseconds apart, sometimes after a long pause.
        now_ms += match dice.below(10) {
            0..=3 => 0,
            4..=8 => dice.below(40),
            _ => dice.below(5_000),
        };
        let picks: Vec<(usize, Rate)> = (0..=dice.below(6))
            .map(|_| {
                let bucket = dice.below(rates.len() as i64) as usize;
                (bucket, rates[bucket])
            })
            .collect();
        let spends: Vec<Spend> = picks.iter().map(|(bucket, rate)| from(&format!("bucket {bucket}"), *rate)).collect();
        let expected: Vec<Verdict> = picks.iter().map(|(bucket, rate)| model.spend(*bucket, *rate, now_ms)).collect();
        let found = limits.spend(&spends, at(now_ms)).await;
        assert_eq!(found, expected, "at {now_ms} ms: {spends:?}");
        for verdict in found {
            counts[usize::from(verdict == Verdict::Admitted)] += 1;
        }
    }
    assert!(counts.iter().all(|count| *count > 1_000), "the trace is one-sided: {counts:?}");
}

/// A linear congruential generator (Knuth's MMIX), so that every run has the same trace.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number from 0, below this.
    pub(crate) fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from(self.0 >> 33).unwrap() % end
    }
}
