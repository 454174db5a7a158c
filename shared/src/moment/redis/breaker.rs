//! When Redis is asked and when not: a breaker, which knows no network and is told the time.

use std::time::Duration;

/// Between the first signs of an outage and the first probe.
const MIN_COOLDOWN_MS: i64 = 500;
/// Between two probes of one that stays away.
const MAX_COOLDOWN_MS: i64 = 10_000;

/// Closed: Redis is asked. Open: it is not, but for one probe at a time.
///
/// Opens when it is told to, or when two questions in a row had no answer, each within its bound. A probe comes after
/// half a second, then whenever the outage has grown by an eighth, at the latest after ten seconds: soon after a
/// restart, seldom in a long outage, when everybody else knocks too.
#[derive(Debug)]
pub(crate) struct Breaker {
    bounds: [Duration; 2],
    state: State,
}

#[derive(Debug)]
enum State {
    Closed { unanswered: usize },
    Open { since_ms: i64, rested_at_ms: i64 },
}

/// What a question meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permit {
    /// It may be asked, and waits no longer than this.
    Ask(Duration),
    /// It may not, and a probe is due.
    Probe,
    /// It may not.
    Denied,
}

/// How long it is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cooldown {
    /// Until it may be back by itself.
    Short,
    /// Until somebody may have done something about it.
    Long,
}

impl Breaker {
    /// `bounds`: how long a question waits, and how long the next one after it had no answer. A third never waits.
    pub(crate) fn new(bounds: [Duration; 2]) -> Self {
        Self { bounds, state: State::Closed { unanswered: 0 } }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether to ask now.
    pub(crate) fn permit(&self, now_ms: i64) -> Permit {
        match self.state {
            State::Closed { unanswered } => Permit::Ask(self.bounds[unanswered.min(1)]),
            // A clock that went back says nothing about how long it rested.
            State::Open { since_ms, rested_at_ms } if now_ms >= rested_at_ms || now_ms < since_ms => Permit::Probe,
            State::Open { .. } => Permit::Denied,
        }
    }

    /// There was an answer in time. One to an old question does not close it.
    pub(crate) fn answered(&mut self) {
        if let State::Closed { unanswered } = &mut self.state {
            *unanswered = 0;
        }
    }

    /// There was none.
    pub(crate) fn unanswered(&mut self, now_ms: i64, jitter: f64) {
        match &mut self.state {
            State::Closed { unanswered } if *unanswered == 0 => *unanswered = 1,
            State::Closed { .. } => self.open(now_ms, Cooldown::Short, jitter),
            State::Open { .. } => {}
        }
    }

    /// It said, or is known, not to serve; or a probe found it so again. `jitter`, from 0 to 1, keeps many processes
    /// from knocking at once.
    pub(crate) fn open(&mut self, now_ms: i64, hold: Cooldown, jitter: f64) {
        let since_ms = match self.state {
            State::Open { since_ms, .. } => since_ms.min(now_ms),
            State::Closed { .. } => now_ms,
        };
        let rest_ms = match hold {
            Cooldown::Short => ((now_ms - since_ms) / 8).clamp(MIN_COOLDOWN_MS, MAX_COOLDOWN_MS),
            Cooldown::Long => MAX_COOLDOWN_MS,
        };
        // Up to three tenths sooner.
        let sooner_ms = (rest_ms as f64 * 0.3 * jitter.clamp(0.0, 1.0)) as i64;
        self.state = State::Open { since_ms, rested_at_ms: now_ms + rest_ms - sooner_ms };
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
        (Breaker::new([FIRST, SECOND]), Clock::standing(1_800_000_000_000))
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn two_questions_wait_and_a_third_does_not() {
        let (mut breaker, clock) = breaker();
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Ask(FIRST));
        breaker.unanswered(clock.now_ms(), 0.0);
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Ask(SECOND));
        breaker.unanswered(clock.now_ms(), 0.0);
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Denied);
    }

    #[test]
    fn an_answer_forgives_what_had_none() {
        let (mut breaker, clock) = breaker();
        for _ in 0..10 {
            breaker.unanswered(clock.now_ms(), 0.0);
            breaker.answered();
        }
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Ask(FIRST));
    }

    #[test]
    fn it_opens_at_once_when_told_and_probes_after_half_a_second() {
        let (mut breaker, clock) = breaker();
        breaker.open(clock.now_ms(), Cooldown::Short, 0.0);
        breaker.answered();
        breaker.unanswered(clock.now_ms(), 0.0);
        clock.turn(ms(499));
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Denied);
        clock.turn(ms(1));
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Probe);
        breaker.close();
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Ask(FIRST));
    }

    /// How long it rests after each probe of an outage, by how long that has lasted.
    fn rests(jitter: f64) -> Vec<(i64, i64)> {
        let (mut breaker, clock) = breaker();
        let start_ms = clock.now_ms();
        let mut rests = Vec::new();
        for _ in 0..60 {
            breaker.open(clock.now_ms(), Cooldown::Short, jitter);
            let probed_ms = clock.now_ms();
            while breaker.permit(clock.now_ms()) == Permit::Denied {
                clock.turn(ms(1));
            }
            rests.push((probed_ms - start_ms, clock.now_ms() - probed_ms));
        }
        rests
    }

    #[test]
    fn probes_come_within_a_second_at_first_and_seldom_in_a_long_outage() {
        let rests = rests(0.0);
        assert!(rests.iter().all(|(age_ms, rest_ms)| *age_ms > 8_000 || *rest_ms <= 1_000), "{rests:?}");
        assert!(rests.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{rests:?}");
        assert_eq!(rests.last().unwrap().1, MAX_COOLDOWN_MS);
    }

    #[test]
    fn jitter_only_makes_it_sooner() {
        for (plain, early) in rests(0.0).iter().zip(rests(1.0)).take(3) {
            assert_eq!((plain.1, early.1), (500, 350));
        }
    }

    #[test]
    fn what_somebody_must_mend_is_left_alone_for_long() {
        let (mut breaker, clock) = breaker();
        breaker.open(clock.now_ms(), Cooldown::Long, 0.0);
        clock.turn(ms(9_999));
        assert_eq!(breaker.permit(clock.now_ms()), Permit::Denied);
        clock.turn(ms(1));
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
