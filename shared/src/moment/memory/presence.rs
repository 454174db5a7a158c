//! Leases of connections in this process.

use std::collections::HashMap;

use crate::ids::{ConnectionId, UserId};
use crate::presence::{GRACE_MS, Left, Renewed, Settled};

/// How long leases that have ended are kept for the one who settles, in milliseconds.
const RUBBISH_MS: i64 = 600_000;
/// The number of users from which those whose leases ended long ago are dropped.
const SWEEP_AT: usize = 10_000;

/// The leases of all users.
#[derive(Debug)]
pub(super) struct Leases {
    users: HashMap<UserId, Vec<Lease>>,
    /// The number of users at which the next sweep is due.
    sweep_at: usize,
}

#[derive(Debug)]
struct Lease {
    connection: ConnectionId,
    has_left: bool,
    ends_ms: i64,
}

impl Default for Leases {
    fn default() -> Self {
        Self { users: HashMap::new(), sweep_at: SWEEP_AT }
    }
}

impl Leases {
    pub(super) fn renew(&mut self, user: &UserId, connection: &ConnectionId, lease_ms: i64, now_ms: i64) -> Renewed {
        self.sweep(now_ms);
        let leases = self.users.entry(user.clone()).or_default();
        if leases.iter().any(|lease| lease.connection == *connection && lease.has_left) {
            return Renewed::Unchanged;
        }
        leases.retain(|lease| lease.ends_ms > now_ms);
        let renewed = if leases.is_empty() { Renewed::CameOnline } else { Renewed::Unchanged };
        let ends_ms = now_ms + lease_ms;
        match leases.iter_mut().find(|lease| lease.connection == *connection) {
            Some(own) => own.ends_ms = own.ends_ms.max(ends_ms),
            None => leases.push(Lease { connection: connection.clone(), has_left: false, ends_ms }),
        }
        renewed
    }

    pub(super) fn leave(&mut self, user: &UserId, connection: &ConnectionId, now_ms: i64) -> Left {
        let Some(leases) = self.users.get_mut(user) else { return Left::NotLast };
        let Some(own) = leases.iter().position(|lease| lease.connection == *connection) else { return Left::NotLast };
        let ends_ms = leases.swap_remove(own).ends_ms.min(now_ms + GRACE_MS);
        leases.retain(|lease| lease.ends_ms > now_ms);
        let is_last = leases.iter().all(|lease| lease.ends_ms <= ends_ms);
        leases.push(Lease { connection: connection.clone(), has_left: true, ends_ms });
        if is_last { Left::Last } else { Left::NotLast }
    }

    pub(super) fn settle(&mut self, user: &UserId, now_ms: i64) -> Settled {
        let last_ms = self.users.get(user).and_then(|leases| last_ms(leases));
        match last_ms {
            None => Settled::Unknown,
            Some(last_ms) if last_ms > now_ms => Settled::Online { lasts_ms: last_ms - now_ms },
            Some(ended_at_ms) => {
                self.users.remove(user);
                Settled::WentOffline { ended_at_ms }
            }
        }
    }

    pub(super) fn forget(&mut self, user: &UserId) {
        self.users.remove(user);
    }

    pub(super) fn online(&self, users: &[UserId], now_ms: i64) -> Vec<bool> {
        let last_ms = |user| self.users.get(user).and_then(|leases: &Vec<Lease>| last_ms(leases));
        users.iter().map(|user| last_ms(user).is_some_and(|last_ms| last_ms > now_ms)).collect()
    }

    /// Drops what no one has settled, rarely enough that it costs a renewal next to nothing.
    fn sweep(&mut self, now_ms: i64) {
        if self.users.len() >= self.sweep_at {
            self.users.retain(|_, leases| last_ms(leases).is_some_and(|last_ms| last_ms > now_ms - RUBBISH_MS));
            self.sweep_at = SWEEP_AT.max(2 * self.users.len());
        }
    }
}

/// When the last of these leases ends.
fn last_ms(leases: &[Lease]) -> Option<i64> {
    leases.iter().map(|lease| lease.ends_ms).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_who_went_offline_long_ago_are_dropped_and_no_others() {
        let (mut leases, tab) = (Leases::default(), ConnectionId::new("tab"));
        let user = |n: usize| UserId::new(format!("user {n}")).unwrap();
        for n in 0..SWEEP_AT {
            leases.renew(&user(n), &tab, if n < 10 { 10 * RUBBISH_MS } else { 1_000 }, 0);
        }
        leases.renew(&user(SWEEP_AT), &tab, 1_000, RUBBISH_MS + 1_000);
        assert_eq!(leases.users.len(), 11);
    }
}
