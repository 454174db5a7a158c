//! Frames that this process ignores: those of connections that send too many, or that were refused. Such a frame costs neither
//! a statement nor a call of Redis or API Gateway.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::ids::ConnectionId;
use crate::limits::gcra::Buckets;
use crate::limits::{Rate, Spend, Verdict};

/// How many connections are remembered at most. Beyond that all are forgotten, at the price of one more answer to each.
const MAX_IGNORED: usize = 10_000;

/// What this process knows of connections that send frames.
#[derive(Debug, Default)]
pub struct Flood {
    /// The rates of frames as far as this process sees them: a lower bound of the real ones.
    seen: Buckets,
    /// Until when frames of a connection are ignored, in milliseconds since 1970.
    ignored: Mutex<HashMap<ConnectionId, i64>>,
}

impl Flood {
    /// Whether frames of this connection are ignored now.
    pub fn is_ignored(&self, id: &ConnectionId, now_ms: i64) -> bool {
        self.ignored.lock().unwrap_or_else(PoisonError::into_inner).get(id).is_some_and(|until_ms| now_ms < *until_ms)
    }

    /// Ignores frames of this connection for a while.
    pub fn ignore(&self, id: &ConnectionId, until_ms: i64, now_ms: i64) {
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        if ignored.len() >= MAX_IGNORED {
            ignored.retain(|_, until_ms| now_ms < *until_ms);
        }
        if ignored.len() >= MAX_IGNORED {
            ignored.clear();
        }
        ignored.insert(id.clone(), until_ms);
    }

    /// Whether a frame of this connection is within the rate, counting only those that reached this process.
    pub fn count(&self, frame: &Spend, now_ms: i64) -> Verdict {
        self.seen.spend(std::slice::from_ref(frame), now_ms).pop().unwrap_or(Verdict::Admitted)
    }
}

/// One frame of a connection.
pub fn frame(id: &ConnectionId, rate: Rate) -> Spend {
    Spend { bucket: format!("frames {id}"), rate }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_ignored_for_a_while() {
        let (flood, phone, tab) = (Flood::default(), ConnectionId::new("phone"), ConnectionId::new("tab"));
        flood.ignore(&phone, 1_000, 0);
        assert!(flood.is_ignored(&phone, 999) && !flood.is_ignored(&phone, 1_000) && !flood.is_ignored(&tab, 0));
    }

    #[test]
    fn a_bounded_number_of_connections_is_remembered() {
        let flood = Flood::default();
        for n in 0..=MAX_IGNORED {
            flood.ignore(&ConnectionId::new(format!("old {n}")), 1_000, 0);
        }
        assert_eq!(flood.ignored.lock().unwrap().len(), 1);
        flood.ignore(&ConnectionId::new("late"), 9_000, 0);
        // The last of these has no room until the old one is dropped.
        for n in 0..MAX_IGNORED - 1 {
            flood.ignore(&ConnectionId::new(format!("new {n}")), 2_000, 1_000);
        }
        assert_eq!(flood.ignored.lock().unwrap().len(), MAX_IGNORED);
        assert!(flood.is_ignored(&ConnectionId::new("late"), 1_000));
    }
}
