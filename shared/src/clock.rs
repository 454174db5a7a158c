//! The current time in milliseconds since 1970. No other module reads the system clock, so that tests can control time.

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

/// An instant in milliseconds since 1970, written as `2026-11-20T16:00:00.123Z` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// What can be written: the years 0 to 9999.
    const WRITABLE: RangeInclusive<i64> = -62_167_219_200_000..=253_402_300_799_999;

    /// Parses an RFC 3339 instant at any offset; `None` for anything else, and for years that cannot be written.
    /// Fractions of a millisecond are rounded up, so that nothing happens before the given instant.
    pub fn parse(text: &str) -> Option<Self> {
        // The parser takes any character there.
        if !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
            return None;
        }
        let instant = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let ms = -(-instant.unix_timestamp_nanos()).div_euclid(1_000_000);
        i64::try_from(ms).ok().filter(|ms| Self::WRITABLE.contains(ms)).map(Self)
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A token or a row may contain any number; it must not make a response fail.
        let ms = self.0.clamp(*Self::WRITABLE.start(), *Self::WRITABLE.end());
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

/// The time at which a store performs an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The store's own clock (the database's or Redis'), on which all processes agree.
    Server,
    /// This instant, in milliseconds since 1970: for clocks that are set by hand.
    Fixed(i64),
}

impl At {
    /// The instant in milliseconds since 1970, for a store in this process that has no clock of its own.
    pub fn process_ms(self) -> i64 {
        match self {
            Self::Server => system_ms(),
            Self::Fixed(at_ms) => at_ms,
        }
    }
}

/// A clock that all parts of a process share. Clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    /// Changes only when it is advanced; the channel wakes sleepers.
    Manual(Arc<watch::Sender<i64>>),
}

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A manual clock that shows `start_ms` until [`turn`](Self::advance) moves it.
    pub fn manual(start_ms: i64) -> Self {
        Self(Source::Manual(Arc::new(watch::Sender::new(start_ms))))
    }

    /// Milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        match &self.0 {
            Source::System => system_ms(),
            Source::Manual(now) => *now.borrow(),
        }
    }

    /// The same for libraries that take it in this form.
    pub(crate) fn system_time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(self.now_ms()).unwrap_or_default())
    }

    /// The time to pass to a store: the store's own clock in production, this clock's time if it is set by hand.
    pub fn at(&self) -> At {
        match &self.0 {
            Source::System => At::Server,
            Source::Manual(now) => At::Fixed(*now.borrow()),
        }
    }

    /// Advances a manual clock and wakes its sleepers. No effect on the system clock.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.send_modify(|now_ms| *now_ms += i64::try_from(by.as_millis()).unwrap_or(i64::MAX / 2));
        }
    }

    /// Returns once the clock shows `until_ms` or later.
    pub async fn sleep_until(&self, until_ms: i64) {
        match &self.0 {
            // In short pieces, since a suspended machine or a corrected clock changes how long is left.
            Source::System => loop {
                let left_ms = until_ms - system_ms();
                if left_ms <= 0 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(left_ms.unsigned_abs().min(10_000))).await;
            },
            Source::Manual(now) => {
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
    fn any_stored_number_can_be_written() {
        for ms in [i64::MAX, 253_402_300_800_000, 1_800_000_000_000_000] {
            assert_eq!(serde_json::to_string(&Time(ms)).unwrap(), r#""9999-12-31T23:59:59.999Z""#);
        }
        for ms in [i64::MIN, -62_167_219_200_001] {
            assert_eq!(Time(ms).to_string(), "0000-01-01T00:00:00.000Z");
        }
    }

    #[test]
    fn an_instant_that_cannot_be_written_is_not_parsed() {
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
    fn a_time_is_parsed_at_any_offset_and_never_rounded_down() {
        for (text, ms) in [
            ("2026-11-20T16:00:00.123Z", 1_795_190_400_123),
            ("2026-11-20T18:30:00.123+02:30", 1_795_190_400_123),
            ("2026-11-20T16:00:00Z", 1_795_190_400_000),
            ("2026-11-20T16:00:00.1230001Z", 1_795_190_400_124),
            ("1969-12-31T23:59:59.9989Z", -1),
        ] {
            assert_eq!(Time::parse(text), Some(Time(ms)), "{text}");
        }
        for text in [
            "",
            "now",
            "2026-11-20",
            "2026-11-20T16:00:00",
            "2026-11-20 16:00:00Z",
            "2026-11-20x16:00:00Z",
            "2026-13-20T16:00:00Z",
            "99999-01-01T00:00:00Z",
            "7",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_when_it_is_advanced() {
        let clock = Clock::manual(1_000);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(1_500).await }
        });
        clock.advance(Duration::from_millis(499));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_millis(1));
        sleeper.await.unwrap();
        assert_eq!(clock.at(), At::Fixed(1_500));
    }
}
