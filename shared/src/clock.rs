//! The present time: milliseconds since 1970, from here and nowhere else, so that tests can turn it.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use tokio::sync::watch;

const RFC_3339_MS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// An instant on the wire: milliseconds since 1970 inside, `2026-11-20T16:00:00.123Z` outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// The first and the last that can be written: of the years 0 to 9999.
    const WRITTEN: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

    /// Reads an instant of RFC 3339, at any offset; `None` for anything else, and for what could not be written. What is
    /// finer than a millisecond is rounded up, so that nothing happens before it.
    pub fn parse(text: &str) -> Option<Self> {
        let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let ms = -(-instant.unix_timestamp_nanos()).div_euclid(1_000_000);
        i64::try_from(ms).ok().filter(|ms| Self::WRITTEN.contains(ms)).map(Self)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Whatever a token or a row says, an answer can be written.
        let ms = self.0.clamp(*Self::WRITTEN.start(), *Self::WRITTEN.end());
        let instant =
            OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).map_err(|_| std::fmt::Error)?;
        f.write_str(&instant.format(RFC_3339_MS).map_err(|_| std::fmt::Error)?)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// When an operation happens, in the eyes of the store that performs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The store's own clock: the database's or Redis', so that many processes agree.
    Server,
    /// This instant, in milliseconds since 1970: what tests and turned clocks say.
    Fixed(i64),
}

impl At {
    /// The instant for a store that lives in this process and has no clock of its own.
    pub fn process_ms(self) -> i64 {
        match self {
            Self::Server => system_ms(),
            Self::Fixed(at_ms) => at_ms,
        }
    }
}

/// A clock that all parts of a process share. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Hands);

#[derive(Debug, Clone)]
enum Hands {
    System,
    /// Stands until it is turned; the channel wakes whoever sleeps by it.
    Turned(Arc<watch::Sender<i64>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Hands::System)
    }

    /// A clock that stands at `start_ms` until somebody turns it.
    pub fn standing(start_ms: i64) -> Self {
        Self(Hands::Turned(Arc::new(watch::Sender::new(start_ms))))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Hands::System => system_ms(),
            Hands::Turned(now) => *now.borrow(),
        }
    }

    /// The instant to hand to a store: its own clock in production, this one where it is turned by hand.
    pub fn at(&self) -> At {
        match &self.0 {
            Hands::System => At::Server,
            Hands::Turned(now) => At::Fixed(*now.borrow()),
        }
    }

    /// Turns a standing clock forward and wakes whoever slept until then. The machine's clock stays as it is.
    pub fn turn(&self, by: Duration) {
        if let Hands::Turned(now) = &self.0 {
            now.send_modify(|now_ms| *now_ms += i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2));
        }
    }

    /// Returns once the clock shows `until_ms` or later.
    pub async fn sleep_until(&self, until_ms: i64) {
        match &self.0 {
            // Slept in short pieces: a laptop's lid or a corrected clock moves the goal.
            Hands::System => loop {
                let left_ms = until_ms - system_ms();
                if left_ms <= 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left_ms.unsigned_abs().min(10_000))).await;
            },
            Hands::Turned(now) => {
                // The sender lives in `self`, so the channel cannot close while this waits.
                let _ = now.subscribe().wait_for(|now_ms| *now_ms >= until_ms).await;
            }
        }
    }
}

fn system_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_milliseconds() {
        assert_eq!(Time(1_795_190_400_123).to_string(), "2026-11-20T16:00:00.123Z");
        assert_eq!(Time(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn whatever_is_stored_can_be_written() {
        for ms in [i64::MAX, 253_402_300_800_000, 1_800_000_000_000_000] {
            assert_eq!(serde_json::to_string(&Time(ms)).unwrap(), r#""9999-12-31T23:59:59.999Z""#);
        }
        for ms in [i64::MIN, -62_167_219_200_001] {
            assert_eq!(Time(ms).to_string(), "0000-01-01T00:00:00.000Z");
        }
    }

    #[test]
    fn what_could_not_be_written_is_not_read() {
        assert_eq!(Time::parse("9999-12-31T23:59:59.999Z"), Some(Time(253_402_300_799_999)));
        assert_eq!(Time::parse("0000-01-01T00:00:00Z"), Some(Time(-62_167_219_200_000)));
        for text in [
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31T23:59:59-01:00",
            "9999-12-31T23:59:60Z",
            "0000-01-01T00:00:00+01:00",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_is_read_at_any_offset_and_never_as_an_earlier_one() {
        for (text, ms) in [
            ("2026-11-20T16:00:00.123Z", 1_795_190_400_123),
            ("2026-11-20T18:30:00.123+02:30", 1_795_190_400_123),
            ("2026-11-20T16:00:00Z", 1_795_190_400_000),
            ("2026-11-20T16:00:00.1230001Z", 1_795_190_400_124),
            ("1969-12-31T23:59:59.9989Z", -1),
        ] {
            assert_eq!(Time::parse(text), Some(Time(ms)), "{text}");
        }
        for text in
            ["", "now", "2026-11-20", "2026-11-20T16:00:00", "2026-13-20T16:00:00Z", "99999-01-01T00:00:00Z", "7"]
        {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_standing_clock_wakes_sleepers_when_it_is_turned() {
        let clock = Clock::standing(1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(1_500).await }
        });
        clock.turn(Duration::from_millis(499));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.turn(Duration::from_millis(1));
        sleeper.await.unwrap();
        assert_eq!(clock.at(), At::Fixed(1_500));
    }
}
