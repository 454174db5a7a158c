//! The renewals of this process: a connection that sends many frames renews its lease only now and then.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::ConnectionId;

/// A lease is renewed when this part of it has passed.
const PARTS: i64 = 5;
/// How many connections are remembered at most. Beyond that all are forgotten, at the price of one more renewal of each.
const MAX_REMEMBERED: usize = 10_000;

/// When this process last renewed the leases of connections.
#[derive(Debug, Default)]
pub struct Renewals(Mutex<HashMap<ConnectionId, i64>>);

impl Renewals {
    /// Whether a fifth of the lease has passed since the last renewal, which then counts as renewed now.
    pub fn is_due(&self, connection: &ConnectionId, lease_ms: i64, now_ms: i64) -> bool {
        let mut renewed = self.renewed();
        let is_recent = renewed.get(connection).is_some_and(|last_ms| now_ms < last_ms + lease_ms / PARTS);
        if !is_recent {
            note(&mut renewed, connection, now_ms);
        }
        !is_recent
    }

    /// Notes a renewal.
    pub fn note(&self, connection: &ConnectionId, now_ms: i64) {
        note(&mut self.renewed(), connection, now_ms);
    }

    fn renewed(&self) -> MutexGuard<'_, HashMap<ConnectionId, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(renewed: &mut HashMap<ConnectionId, i64>, connection: &ConnectionId, now_ms: i64) {
    if renewed.len() >= MAX_REMEMBERED && !renewed.contains_key(connection) {
        renewed.clear();
    }
    renewed.insert(connection.clone(), now_ms);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_renewed_when_a_fifth_of_it_has_passed() {
        let (renewals, phone, tab) = (Renewals::default(), ConnectionId::new("phone"), ConnectionId::new("tab"));
        assert!(renewals.is_due(&phone, 300_000, 0) && !renewals.is_due(&phone, 300_000, 59_999));
        assert!(renewals.is_due(&tab, 300_000, 59_999));
        assert!(renewals.is_due(&phone, 300_000, 60_000) && !renewals.is_due(&phone, 300_000, 60_001));
        renewals.note(&tab, 100_000);
        assert!(!renewals.is_due(&tab, 300_000, 159_999));
    }

    #[test]
    fn a_bounded_number_of_connections_is_remembered() {
        let renewals = Renewals::default();
        for n in 0..=2 * MAX_REMEMBERED {
            renewals.is_due(&ConnectionId::new(format!("tab {n}")), 300_000, 0);
            assert!(renewals.renewed().len() <= MAX_REMEMBERED);
        }
        assert!(!renewals.is_due(&ConnectionId::new(format!("tab {}", 2 * MAX_REMEMBERED)), 300_000, 1));
    }
}
