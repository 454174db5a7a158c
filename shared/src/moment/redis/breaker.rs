//! The circuit breaker: whether Redis is asked. Knows no network, and gets the time from its caller.

use std::time::Duration;

/// From the first sign of an outage to the first probe.
const MIN_COOLDOWN_MS: i64 = 500;
/// Between two probes in a long outage.
const MAX_COOLDOWN_MS: i64 = 10_000;

/// Closed: Redis is asked. Open: it is not, apart from one probe at a time.
///
/// Opens on request, or when two calls in a row had no answer within their timeouts. The first probe comes after
/// half a second, the next ones whenever the outage has grown by an eighth, at the latest after ten seconds: soon after a
/// restart, and rarely in a long outage, in which all other processes probe too.
#[derive(Debug)]
pub(crate) struct Breaker {
    timeouts: [Duration; 2],
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { unanswered: usize },
    Open { since_ms: i64, probe_at_ms: i64 },
}

/// Whether a call may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// It may, and waits no longer than this.
    Ask(Duration),
    /// It may not, but a probe is due.
    Probe,
    /// It may not.
    Denied,
}

/// How long until the next probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cooldown {
    /// Until the server may have recovered on its own.
    Short,
    /// Until an operator may have fixed it.
    Long,
}

impl Breaker {
    /// `timeouts`: of a call, and of the next one after it had no answer. A third is never asked.
    pub(crate) fn new(timeouts: [Duration; 2]) -> Self {
        Self { timeouts, state: State::Closed { unanswered: 0 } }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether a call may ask now.
    pub(crate) fn permit(&self, now_ms: i64) -> Permit {
        match self.state {
            State::Closed { unanswered } => Permit::Ask(self.timeouts[unanswered.min(1)]),
            // A clock that went back says nothing about how long the cooldown has lasted.
            State::Open { since_ms, probe_at_ms } if now_ms >= probe_at_ms || now_ms < since_ms => Permit::Probe,
            State::Open { .. } => Permit::Denied,
        }
    }

    /// A call was answered in time. An answer to an old call does not close an open breaker.
    pub(crate) fn answered(&mut self) {
        if let State::Closed { unanswered } = &mut self.state {
            *unanswered = 0;
        }
    }

    /// A call was not answered.
    pub(crate) fn unanswered(&mut self, now_ms: i64, jitter: f64) {
        match &mut self.state {
            State::Closed { unanswered } if *unanswered == 0 => *unanswered = 1,
            State::Closed { .. } => self.open(now_ms, Cooldown::Short, jitter),
            State::Open { .. } => {}
        }
    }

    /// The server is known not to serve, or a probe failed. `jitter`, from 0 to 1, keeps processes from probing in step.
    pub(crate) fn open(&mut self, now_ms: i64, hold: Cooldown, jitter: f64) {
        let since_ms = match self.state {
            State::Open { since_ms, .. } => since_ms.min(now_ms),
            State::Closed { .. } => now_ms,
        };
        let cooldown_ms = match hold {
            Cooldown::Short => ((now_ms - since_ms) / 8).clamp(MIN_COOLDOWN_MS, MAX_COOLDOWN_MS),
            Cooldown::Long => MAX_COOLDOWN_MS,
        };
        // Up to 30 % sooner.
        let sooner_ms = (cooldown_ms as f64 * 0.3 * jitter.clamp(0.0, 1.0)) as i64;
        self.state = State::Open { since_ms, probe_at_ms: now_ms + cooldown_ms - sooner_ms };
    }

    /// A probe was answered.
    pub(crate) fn close(&mut self) {
        self.state = State::Closed { unanswered: 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const FIRST: Duration = Duration::from_millis(145);
    const SECOND: Duration = Duration::from_millis(95);

    fn breaker() -> (Breaker, Clock) {
        (Breaker::new([FIRST, SECOND]), Clock::manual(1_800_000_000_000))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn two_calls_wait_and_a_third_does_not() {
        let (mut breaker, clock) = breaker();
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Ask(FIRST));
        breaker.unanswered(clock.now_ms(), 0.0);
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Ask(SECOND));
        breaker.unanswered(clock.now_ms(), 0.0);
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Denied);
    }

    #[test]
    fn an_answer_clears_an_unanswered_call() {
        let (mut breaker, clock) = breaker();
        for _ in 0..10 {
            breaker.unanswered(clock.now_ms(), 0.0);
            breaker.answered();
        }
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Ask(FIRST));
    }

    #[test]
    fn it_opens_at_once_when_told_to_and_probes_after_half_a_second() {
        let (mut breaker, clock) = breaker();
        breaker.open(clock.now_ms(), Cooldown::Short, 0.0);
        breaker.answered();
        breaker.unanswered(clock.now_ms(), 0.0);
        clock.advance(ms(499));
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Denied);
        clock.advance(ms(1));
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Probe);
        breaker.close();
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Ask(FIRST));
    }

    /// The cooldown after each probe of an outage, by how long the outage has lasted.
    fn cooldowns(jitter: f64) -> Vec<(i64, i64)> {
        let (mut breaker, clock) = breaker();
        let start_ms = clock.now_ms();
        let mut cooldowns = Vec::new();
        for _ in 0..60 {
            breaker.open(clock.now_ms(), Cooldown::Short, jitter);
            let probed_ms = clock.now_ms();
            while breaker.permit(clock.now_ms()) == Permit::Denied {
                clock.advance(ms(1));
            }
            cooldowns.push((probed_ms - start_ms, clock.now_ms() - probed_ms));
        }
        cooldowns
    }

    #[test]
    fn probes_come_within_a_second_at_first_and_rarely_in_a_long_outage() {
        let cooldowns = cooldowns(0.0);
        assert!(
            cooldowns.iter().all(|(age_ms, cooldown_ms)| *age_ms > 8_000 || *cooldown_ms <= 1_000),
            "{cooldowns:?}"
        );
        assert!(cooldowns.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{cooldowns:?}");
        assert_eq!(cooldowns.last().unwrap().1, MAX_COOLDOWN_MS);
    }

    #[test]
    fn jitter_only_makes_it_sooner() {
        for (plain, early) in cooldowns(0.0).iter().zip(cooldowns(1.0)).take(3) {
            assert_eq!((plain.1, early.1), (500, 350));
        }
    }

    #[test]
    fn what_an_operator_must_fix_is_probed_rarely() {
        let (mut breaker, clock) = breaker();
        breaker.open(clock.now_ms(), Cooldown::Long, 0.0);
        clock.advance(ms(9_999));
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Denied);
        clock.advance(ms(1));
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Probe);
    }

    #[test]
    fn a_clock_that_goes_back_cannot_keep_it_open() {
        let mut breaker = Breaker::new([FIRST, SECOND]);
        breaker.open(1_000_000, Cooldown::Short, 0.0);
        assert_eq!(breaker.permit(999_000), Permit::Probe);
        breaker.open(999_000, Cooldown::Short, 0.0);
        assert_eq!(breaker.permit(999_100), Permit::Denied);
        assert_eq!(breaker.permit(999_500), Permit::Probe);
    }
}
