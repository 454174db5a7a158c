//! Telemetry in this process, which keeps a bounded amount of it.

use std::collections::{BTreeMap, HashMap};

use crate::ids::NotificationId;
use crate::telemetry::{COUNTS_WINDOW_MS, Counts, MAX_OUTCOMES, OUTCOME_RETENTION_MS, PushAttempt, Report};

const MINUTE_MS: i64 = 60_000;
/// How many minutes the window has.
const MINUTES: i64 = COUNTS_WINDOW_MS / MINUTE_MS;
/// How many are kept. More than the window, since a clock that goes back leaves minutes ahead of it.
const MAX_MINUTES: usize = 2 * MINUTES as usize;
/// For how many notifications outcomes are kept.
const MAX_NOTIFICATIONS: usize = 10_000;

/// What was reported.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    minutes: BTreeMap<i64, Counts>,
    outcomes: HashMap<NotificationId, Vec<PushAttempt>>,
}

impl Recorded {
    pub(super) fn report(&mut self, report: &Report<'_>, now_ms: i64) {
        if report.counts != Counts::default() {
            self.minutes.entry(now_ms.div_euclid(MINUTE_MS)).or_default().add_all(&report.counts);
            while self.minutes.len() > MAX_MINUTES {
                self.minutes.pop_first();
            }
        }
        for (id, connection, outcome) in &report.outcomes {
            let pushes = self.outcomes.entry(*id).or_default();
            pushes.push(PushAttempt { connection: (*connection).clone(), outcome: *outcome, at_ms: now_ms });
            if pushes.len() > MAX_OUTCOMES {
                pushes.remove(0);
            }
        }
        if self.outcomes.len() > MAX_NOTIFICATIONS {
            self.forget(now_ms);
        }
    }

    pub(super) fn counts(&self, now_ms: i64) -> Counts {
        let minute = now_ms.div_euclid(MINUTE_MS);
        let mut sums = Counts::default();
        for counts in self.minutes.range(minute - MINUTES + 1..=minute).map(|(_, counts)| counts) {
            sums.add_all(counts);
        }
        sums
    }

    pub(super) fn outcomes(&self, id: NotificationId, now_ms: i64) -> Vec<PushAttempt> {
        let mut pushes = self.outcomes.get(&id).cloned().unwrap_or_default();
        pushes.retain(|push| push.at_ms > now_ms - OUTCOME_RETENTION_MS);
        pushes.sort_by_key(|push| push.at_ms);
        pushes
    }

    /// Drops outcomes that are too old, and of the rest the older half, so that this happens rarely.
    fn forget(&mut self, now_ms: i64) {
        let last_ms = |pushes: &[PushAttempt]| pushes.iter().map(|push| push.at_ms).max().unwrap_or(i64::MIN);
        let mut lasts: Vec<i64> = self.outcomes.values().map(|pushes| last_ms(pushes)).collect();
        lasts.sort_unstable();
        let oldest_ms = lasts[lasts.len() / 2].max(now_ms - OUTCOME_RETENTION_MS);
        self.outcomes.retain(|_, pushes| last_ms(pushes) > oldest_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ConnectionId, SendId, UserId};
    use crate::sockets::push::Outcome;

    #[test]
    fn a_long_running_process_keeps_a_bounded_amount() {
        let (mut kept, connection) = (Recorded::default(), ConnectionId::new("phone"));
        let user = UserId::new("alice").unwrap();
        let mut last = None;
        for n in 0..3 * MAX_NOTIFICATIONS {
            let id = NotificationId::of(SendId::random(), &user);
            let counts = Counts { accepted: 1, ..Counts::default() };
            let report = Report { counts, outcomes: vec![(id, &connection, Outcome::Offered)], ..Report::default() };
            kept.report(&report, n as i64 * MINUTE_MS / 2);
            last = Some((id, n as i64 * MINUTE_MS / 2));
        }
        assert!(kept.outcomes.len() <= MAX_NOTIFICATIONS && kept.minutes.len() <= MAX_MINUTES);
        let (id, now_ms) = last.unwrap();
        assert_eq!(kept.outcomes(id, now_ms).len(), 1);
        assert_eq!(kept.counts(now_ms).accepted, 120);
        // All at the same time: none is older than the others.
        for n in 0..2 * MAX_NOTIFICATIONS {
            let id = NotificationId::of(SendId::random(), &user);
            kept.report(&Report { outcomes: vec![(id, &connection, Outcome::Gone)], ..Report::default() }, now_ms);
            assert!(kept.outcomes.len() <= MAX_NOTIFICATIONS, "{n}");
        }
    }
}
