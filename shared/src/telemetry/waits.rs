//! How long an invocation waits for the stores and the sockets.

use std::time::{Duration, Instant};

/// What an invocation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The record: a database.
    Record,
    /// The moment: Redis.
    Moment,
    /// The way to the sockets: API Gateway. Web Pushes are sent by tasks beside the invocation.
    Pushes,
}

/// The waits of one invocation. Waits for one place that overlap count once, so none is longer than the invocation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Waits([Wait; 3]);

#[derive(Debug, Clone, Copy, Default)]
struct Wait {
    /// How many are going on.
    running: u32,
    /// When the first of these began.
    since: Option<Instant>,
    /// Without the ones that are going on.
    total: Duration,
}

impl Waits {
    /// Begins a wait.
    pub(crate) fn begin(&mut self, place: Place, now: Instant) {
        let wait = &mut self.0[place as usize];
        wait.running += 1;
        wait.since = wait.since.or(Some(now));
    }

    /// Ends a wait that was begun.
    pub(crate) fn end(&mut self, place: Place, now: Instant) {
        let wait = &mut self.0[place as usize];
        wait.running = wait.running.saturating_sub(1);
        if wait.running == 0
            && let Some(since) = wait.since.take()
        {
            wait.total += now.duration_since(since);
        }
    }

    /// How long it has waited for a place, without waits that are still going on.
    pub(crate) fn total(&self, place: Place) -> Duration {
        self.0[place as usize].total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_overlap_count_once_and_others_add_up() {
        let (mut waits, begun) = (Waits::default(), Instant::now());
        let at = |ms| begun + Duration::from_millis(ms);
        waits.begin(Place::Record, at(0));
        waits.begin(Place::Record, at(2));
        waits.begin(Place::Moment, at(3));
        waits.end(Place::Record, at(5));
        waits.end(Place::Record, at(8));
        waits.end(Place::Moment, at(9));
        waits.begin(Place::Record, at(20));
        waits.end(Place::Record, at(21));
        let totals = [Place::Record, Place::Moment, Place::Pushes].map(|place| waits.total(place).as_millis());
        assert_eq!(totals, [9, 6, 0]);
    }

    #[test]
    fn an_end_without_a_begin_counts_nothing() {
        let (mut waits, now) = (Waits::default(), Instant::now());
        waits.end(Place::Pushes, now);
        assert_eq!(waits.total(Place::Pushes), Duration::ZERO);
    }
}
