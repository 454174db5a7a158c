//! The promise of the moment to enforce rate limits: GCRA, the generic cell rate algorithm, exact to the millisecond.

pub mod gcra;

use std::str::FromStr;

use async_trait::async_trait;

use crate::clock::At;
use crate::ids::UserId;

/// Rate limits, one per bucket. A bucket may be forgotten at any time, at the price of one extra burst.
#[async_trait]
pub trait Limits: Send + Sync {
    /// Spends one unit of each bucket, and returns the verdicts in the same order. Each unit is spent atomically and
    /// independently of the others: a refusal spends nothing of its own bucket and affects no other. A bucket that
    /// appears twice is spent from twice. If a connection breaks during the call, units may be spent twice.
    ///
    /// Never fails, and takes no longer than the moment's timeout. Verdicts that the moment cannot give are given by
    /// the limits of this process, which start with full buckets.
    async fn spend(&self, spends: &[Spend], at: At) -> Vec<Verdict>;

    /// Gives back one unit of each bucket, which was spent for something that turned out to cost nothing. No bucket becomes
    /// more than full. Never fails; a unit that cannot be given back comes back with time.
    async fn give_back(&self, spends: &[Spend], at: At);
}

/// One unit to be spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spend {
    /// The name of the bucket: its kind and parts, joined so that no two buckets have the same name.
    pub bucket: String,
    /// The rate of the bucket. A bucket is full at first, and kept separately for each rate.
    pub rate: Rate,
}

impl Spend {
    /// One unit of the budget of a recipient and a type of notifications.
    pub fn of_send(kind: &str, recipient: &UserId, rate: Rate) -> Self {
        // A user id may contain a space and a type cannot, so the type comes first.
        Self { bucket: format!("send {kind} {recipient}"), rate }
    }

    /// One unit of the budget of a user who writes in chats, or creates them.
    pub fn of_chat(sender: &UserId, rate: Rate) -> Self {
        Self { bucket: format!("chat {sender}"), rate }
    }
}

/// Whether a bucket had a unit left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It had, and the unit is spent.
    Admitted,
    /// It had none, and nothing is spent.
    Limited {
        /// The shortest wait after which it has one, in milliseconds; at least 1.
        retry_after_ms: u64,
    },
}

/// A burst of `count`, then one more every `window_ms / count` milliseconds. Written as `30/60s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// The largest burst: 1 to 100,000.
    pub count: u32,
    /// The time in which an empty bucket fills up, in milliseconds: at least 1, at most a day.
    pub window_ms: u32,
}

/// The text is not a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a count from 1 to 100000 and a window of 1 to 86400 seconds, such as 30/60s")]
pub struct MalformedRate;

impl FromStr for Rate {
    type Err = MalformedRate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, window) = text.split_once('/').ok_or(MalformedRate)?;
        let seconds: u32 = window.strip_suffix('s').and_then(|s| s.parse().ok()).ok_or(MalformedRate)?;
        let count: u32 = count.parse().map_err(|_| MalformedRate)?;
        // Beyond 100,000 or a day, the arithmetic of the Redis script would no longer be exact.
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
