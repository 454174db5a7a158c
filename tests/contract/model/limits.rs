//! Limits against a bucket that is written as plainly as possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use shared::limits::{Limits, Rate, Spend, Verdict};

use super::{for_all, on_each};
use crate::record::at;

mod limits_answer_like_their_model {
    super::on_each!(answer_like_their_model: memory redis);
}

/// Spends one from each of these buckets, after this much time. The time may be negative, as when a clock is corrected.
#[derive(Debug, Clone)]
struct Step {
    passes_ms: i64,
    spends: Vec<(u8, u8)>,
}

/// Rates whose step is a whole number of milliseconds and others; slow ones, fast ones, and one that is faster than the
/// clock.
const RATES: [(u32, u32); 6] = [(1, 1_000), (3, 1_000), (7, 997), (30, 60_000), (10, 3), (100_000, 86_400_000)];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let passes_ms = prop_oneof![4 => Just(0), 6 => 0..400_i64, 1 => 0..100_000_i64, 1 => -5_000..0_i64];
    // A call may name one bucket several times, and one name with several rates.
    let spends = vec((0..3_u8, 0..RATES.len() as u8), 0..12);
    vec((passes_ms, spends).prop_map(|(passes_ms, spends)| Step { passes_ms, spends }), 1..60)
}

/// A bucket that holds `count` and regains one each `window / count`. The content is counted in parts: one spend costs
/// `window_ms` parts, and each millisecond adds `count` parts.
struct Bucket {
    parts: i128,
    at_ms: i64,
}

impl Bucket {
    fn full(rate: Rate, at_ms: i64) -> Self {
        Self { parts: i128::from(rate.count) * i128::from(rate.window_ms), at_ms }
    }

    fn spend(&mut self, rate: Rate, now_ms: i64) -> Verdict {
        let (count, window_ms) = (i128::from(rate.count), i128::from(rate.window_ms));
        // A clock that goes back takes away what it had added, as far as there is any.
        let added = i128::from(now_ms - self.at_ms) * count;
        *self = Self { parts: (self.parts + added).clamp(0, count * window_ms), at_ms: now_ms };
        if self.parts >= window_ms {
            self.parts -= window_ms;
            return Verdict::Admitted;
        }
        let missing = window_ms - self.parts;
        let retry_after_ms = (missing + count - 1) / count;
        Verdict::Limited { retry_after_ms: retry_after_ms.try_into().unwrap() }
    }
}

fn answer_like_their_model<L: Limits, K>(open: impl AsyncFn() -> (Arc<L>, K)) {
    for_all(steps(), async |steps: Vec<Step>| {
        let (limits, guard) = open().await;
        let (mut buckets, mut now_ms) = (BTreeMap::new(), 0);
        for (n, Step { passes_ms, spends }) in steps.iter().enumerate() {
            now_ms += passes_ms;
            let mut expected = Vec::new();
            let mut requested = Vec::new();
            for (name, rate) in spends {
                let (count, window_ms) = RATES[usize::from(*rate)];
                let rate = Rate { count, window_ms };
                let bucket = buckets.entry((name, count)).or_insert_with(|| Bucket::full(rate, now_ms));
                expected.push(bucket.spend(rate, now_ms));
                requested.push(Spend { bucket: format!("bucket {name}"), rate });
            }
            let found = limits.spend(&requested, at(now_ms)).await;
            if found != expected {
                // The guard's own check would hide this error.
                std::mem::forget(guard);
                return Err(format!("step {n}, at {now_ms} ms: found {found:?}, expected {expected:?}"));
            }
        }
        if steps.iter().all(|step| step.spends.is_empty()) {
            // Without any spends, Redis need not be used, which the guard would report.
            std::mem::forget(guard);
        }
        Ok(())
    });
}
