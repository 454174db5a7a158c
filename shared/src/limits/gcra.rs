//! Rate limits in one process: GCRA in whole numbers, exact to the millisecond. They are the fallback of the Redis
//! moment and the only limits of the other moments.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::limits::{Rate, Spend, Verdict};

/// The number of buckets from which full ones are dropped.
const SWEEP_AT: usize = 10_000;

/// The buckets of one process.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When each bucket will be full again, by its name and rate.
    full_at: HashMap<String, HashMap<(u32, u32), Fraction>>,
    /// The number of buckets at which the next sweep is due.
    sweep_at: usize,
}

/// An instant in units of 1 ms / `count`, so that every step is a whole number.
type Fraction = i128;

impl Default for State {
    fn default() -> Self {
        Self { full_at: HashMap::new(), sweep_at: SWEEP_AT }
    }
}

impl Buckets {
    /// Spends one unit of each bucket, in order.
    pub fn spend(&self, spends: &[Spend], now_ms: i64) -> Vec<Verdict> {
        // A panic while the lock was held left at worst one bucket too full or too empty.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let verdicts = spends.iter().map(|spend| state.spend(spend, now_ms)).collect();
        state.sweep(now_ms);
        verdicts
    }

    /// Gives back one unit of each bucket.
    pub fn give_back(&self, spends: &[Spend]) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spends.iter().for_each(|spend| state.give_back(spend));
    }
}

impl State {
    fn spend(&mut self, spend: &Spend, now_ms: i64) -> Verdict {
        let Rate { count, window_ms } = spend.rate;
        let now = i128::from(now_ms) * i128::from(count);
        let (step, burst) = (i128::from(window_ms), i128::from(window_ms) * i128::from(count));
        let full_at = self.full_at.entry(spend.bucket.clone()).or_default().entry((count, window_ms)).or_insert(now);
        // Never more than full, and never emptier than empty: if the clock has gone back, it is full again after one window.
        *full_at = (*full_at).clamp(now, now + burst);
        let after = *full_at + step;
        let over = after - now - burst;
        if over > 0 {
            // Rounded up, since a millisecond earlier the call would be refused again.
            let retry_after_ms = (over + i128::from(count) - 1) / i128::from(count);
            return Verdict::Limited { retry_after_ms: u64::try_from(retry_after_ms).unwrap_or(u64::MAX) };
        }
        *full_at = after;
        Verdict::Admitted
    }

    /// A bucket that would be full in the past is full: [`spend`](Self::spend) counts from now then.
    fn give_back(&mut self, Spend { bucket, rate: Rate { count, window_ms } }: &Spend) {
        let rates = self.full_at.get_mut(bucket);
        if let Some(full_at) = rates.and_then(|rates| rates.get_mut(&(*count, *window_ms))) {
            *full_at -= i128::from(*window_ms);
        }
    }

    /// Drops full buckets if there are many buckets. Dropping a full bucket changes nothing, since a new one is full.
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

    #[test]
    fn full_buckets_are_dropped_once_there_are_many() {
        let limits = Buckets::default();
        let rate = Rate { count: 1, window_ms: 1_000 };
        let spends: Vec<Spend> = (0..SWEEP_AT).map(|n| Spend { bucket: n.to_string(), rate }).collect();
        limits.spend(&spends, 0);
        let kept = || limits.0.lock().unwrap().full_at.len();
        assert_eq!(kept(), SWEEP_AT);
        limits.spend(&[Spend { bucket: "late".into(), rate }], 999);
        assert_eq!(kept(), SWEEP_AT + 1);
        let more: Vec<Spend> = (0..SWEEP_AT).map(|n| Spend { bucket: format!("more {n}"), rate }).collect();
        limits.spend(&more, 1_000);
        assert_eq!(kept(), SWEEP_AT + 1);
    }
}
