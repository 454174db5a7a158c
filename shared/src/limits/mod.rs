//! The promise of the moment that nobody is flooded: GCRA, the generic cell rate algorithm, exact to the
//! millisecond.

pub mod gcra;

use std::str::FromStr;

use async_trait::async_trait;

use crate::clock::At;

/// Budgets, each named by a bucket. May be forgotten at any time, at the price of one extra burst.
#[async_trait]
pub trait Limits: Send + Sync {
    /// Spends one from each bucket, all of them at once and each on its own; the verdicts are in the same
    /// order. What is refused spends nothing. A bucket that stands twice is spent from twice. Never fails:
    /// limits that cannot be asked admit.
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict>;
}

/// One from a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spend {
    /// Whose budget: kind and parts, joined so that no two buckets read alike.
    pub bucket: String,
    /// How much there is.
    pub rate: Rate,
}

/// Whether a bucket had one left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It had.
    Admitted,
    /// It had not.
    Limited {
        /// The shortest wait after which it will.
        retry_after_ms: u64,
    },
}

/// A burst of `count`, then one more each `window_ms / count`; written `30/60s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many at once; at least 1.
    pub count: u32,
    /// In how long that many come back; at least 1.
    pub window_ms: u32,
}

/// The text is no rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a count and a window in seconds, such as 30/60s")]
pub struct MalformedRate;

impl FromStr for Rate {
    type Err = MalformedRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, window) = text.split_once('/').ok_or(MalformedRate)?;
        let seconds: u32 = window.strip_suffix('s').and_then(|s| s.parse().ok()).ok_or(MalformedRate)?;
        let count: u32 = count.parse().map_err(|_| MalformedRate)?;
        // Up to a day and 100,000: past that the arithmetic of a Redis script is no longer exact.
        if !(1..=100_000).contains(&count) || !(1..=86_400).contains(&seconds) {
            return Err(MalformedRate);
        }
        Ok(Self { count, window_ms: seconds * 1_000 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_a_window() {
        assert_eq!("30/60s".parse(), Ok(Rate { count: 30, window_ms: 60_000 }));
        for text in ["", "30", "30/60", "/60s", "0/60s", "30/0s", "-1/60s", "30/60m", "1/99999s", "9999999/1s"] {
            assert_eq!(text.parse::<Rate>(), Err(MalformedRate), "{text:?}");
        }
    }
}
