//! Rate limits in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::clock::At;
use crate::limits::{Limits, Rate, Spend, Verdict};

/// How many buckets are kept before those that are full again are dropped.
const SWEEP_AT: usize = 10_000;

/// Buckets of one process.
#[derive(Debug, Default)]
pub struct MemoryLimits {
    buckets: Mutex<Buckets>,
}

#[derive(Debug)]
struct Buckets {
    /// For each bucket and rate, when it will be full again.
    full_at: HashMap<String, HashMap<(u32, u32), Fraction>>,
    sweep_at: usize,
}

/// An instant in units of a millisecond divided by the rate's count, in which every step is a whole number.
type Fraction = i128;

impl Default for Buckets {
    fn default() -> Self {
        Self { full_at: HashMap::new(), sweep_at: SWEEP_AT }
    }
}

#[async_trait]
impl Limits for MemoryLimits {
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict> {
        let now_ms = at.process_ms();
        // A panic while it was held left at worst one bucket too full or too empty.
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let verdicts = spends.iter().map(|spend| buckets.spend(spend, now_ms)).collect();
        buckets.sweep(now_ms);
        verdicts
    }
}

impl Buckets {
    fn spend(&mut self, spend: &Spend, now_ms: i64) -> Verdict {
        let Rate { count, window_ms } = spend.rate;
        let now = i128::from(now_ms) * i128::from(count);
        let (step, burst) = (i128::from(window_ms), i128::from(window_ms) * i128::from(count));
        let full_at = self.full_at.entry(spend.bucket.clone()).or_default().entry((count, window_ms)).or_insert(now);
        let after = (*full_at).max(now) + step;
        let over = after - now - burst;
        if over > 0 {
            // Rounded up: a millisecond earlier it would be refused again.
            let retry_after_ms = (over + i128::from(count) - 1) / i128::from(count);
            return Verdict::Limited { retry_after_ms: u64::try_from(retry_after_ms).unwrap_or(u64::MAX) };
        }
        *full_at = after;
        Verdict::Admitted
    }

    /// Drops what is full again, when there is much of it. A full bucket and none are the same.
    fn sweep(&mut self, now_ms: i64) {
        if self.full_at.len() < self.sweep_at {
            return;
        }
        self.full_at.retain(|_, rates| {
            rates.retain(|(count, _), full_at| *full_at > i128::from(now_ms) * i128::from(*count));
            !rates.is_empty()
        });
        self.sweep_at = SWEEP_AT.max(self.full_at.len() * 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn full_buckets_are_dropped_once_there_are_many() {
        let limits = MemoryLimits::default();
        let rate = Rate { count: 1, window_ms: 1_000 };
        let spends: Vec<Spend> = (0..SWEEP_AT).map(|n| Spend { bucket: n.to_string(), rate }).collect();
        limits.spend(&spends, At::Fixed(0)).await;
        let kept = || limits.buckets.lock().unwrap().full_at.len();
        assert_eq!(kept(), SWEEP_AT);
        limits.spend(&[Spend { bucket: "late".into(), rate }], At::Fixed(999)).await;
        assert_eq!(kept(), SWEEP_AT + 1);
        let more: Vec<Spend> = (0..SWEEP_AT).map(|n| Spend { bucket: format!("more {n}"), rate }).collect();
        limits.spend(&more, At::Fixed(1_000)).await;
        assert_eq!(kept(), SWEEP_AT + 1);
    }
}
