//! Counts what the gateway refuses by itself, which no function sees, and logs each kind at most once a second.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// What is refused, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Refusal {
    BodyTooLarge,
    BodyTimedOut,
    NoRoomForBody,
    TooManyConnections,
    /// The system gave no connection, usually for lack of file handles.
    AcceptFailed,
}

impl Refusal {
    fn what(self) -> &'static str {
        match self {
            Self::BodyTooLarge => "a body was too large",
            Self::BodyTimedOut => "a body did not arrive in time",
            Self::NoRoomForBody => "there was no room for a body beside those under way",
            Self::TooManyConnections => "an address has too many connections",
            Self::AcceptFailed => "cannot accept a connection",
        }
    }
}

/// How often each kind was refused since the start.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<Refusal, Count>>);

#[derive(Clone, Copy)]
struct Count {
    total: u64,
    logged_at: Instant,
}

impl Refusals {
    /// Counts a refusal, and logs it unless one of its kind was logged within the last second.
    /// The outcome says what the client got, or why the system failed.
    pub(crate) fn count(&self, refusal: Refusal, outcome: impl Display) {
        if let Some(total) = self.count_at(refusal, Instant::now()) {
            let what = refusal.what();
            tracing::warn!(total, "{what}: {outcome} ({total} times since the start)");
        }
    }

    /// The total, if it is to be logged.
    fn count_at(&self, refusal: Refusal, now: Instant) -> Option<u64> {
        // A poisoned lock is usable: no change under it can panic halfway through.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = counts.get_mut(&refusal) else {
            counts.insert(refusal, Count { total: 1, logged_at: now });
            return Some(1);
        };
        count.total += 1;
        if now.saturating_duration_since(count.logged_at) < LOG_INTERVAL {
            return None;
        }
        count.logged_at = now;
        Some(count.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_is_counted_and_each_kind_is_logged_at_most_once_a_second() {
        let (refusals, start) = (Refusals::default(), Instant::now());
        let after = |ms| start + Duration::from_millis(ms);
        assert_eq!(refusals.count_at(Refusal::AcceptFailed, after(0)), Some(1));
        for ms in [0, 50, 999] {
            assert_eq!(refusals.count_at(Refusal::AcceptFailed, after(ms)), None);
        }
        assert_eq!(refusals.count_at(Refusal::BodyTooLarge, after(999)), Some(1));
        assert_eq!(refusals.count_at(Refusal::AcceptFailed, after(1_000)), Some(5));
        assert_eq!(refusals.count_at(Refusal::AcceptFailed, after(1_999)), None);
        assert_eq!(refusals.count_at(Refusal::AcceptFailed, after(9_000)), Some(7));
    }
}
