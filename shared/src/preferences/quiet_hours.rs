//! Quiet hours: a span of each day, or of some days of the week, in the user's time zone.

use jiff::civil::{self, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::clock::Time;

/// When Web Push waits. Serialises as in the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuietHours {
    /// When it begins, in minutes since midnight.
    pub(super) from: u16,
    /// When it ends, on the next day unless this is later than its beginning. Never the same.
    pub(super) to: u16,
    pub(super) time_zone: TimeZone,
    /// The days on which it begins; `None` means every day.
    pub(super) days: Option<Vec<Weekday>>,
}

impl QuietHours {
    /// The end of the quiet hours that a time is in.
    pub(super) fn end(&self, now: Time) -> Option<Time> {
        let now = Timestamp::from_millisecond(now.0).ok()?;
        let today = now.to_zoned(self.time_zone.clone()).date();
        // What began yesterday may go on until today.
        [today.yesterday().ok()?, today].into_iter().find_map(|day| {
            let is_quiet = self.days.as_ref().is_none_or(|days| days.contains(&day.weekday()));
            let last_day = if self.to > self.from { day } else { day.tomorrow().ok()? };
            let (from, to) = (self.at(day, self.from)?, self.at(last_day, self.to)?);
            (is_quiet && (from.timestamp()..to.timestamp()).contains(&now))
                .then(|| Time(to.timestamp().as_millisecond()))
        })
    }

    /// A time of a day. One that a change of the clocks leaves out is later by the hour that is missing, and of one that
    /// comes twice it is the first.
    fn at(&self, day: civil::Date, minutes: u16) -> Option<Zoned> {
        let (hour, minute) = (i8::try_from(minutes / 60).ok()?, i8::try_from(minutes % 60).ok()?);
        day.at(hour, minute, 0, 0).to_zoned(self.time_zone.clone()).ok()
    }
}

impl Serialize for QuietHours {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let mut members = serializer.serialize_struct("QuietHours", 4)?;
        members.serialize_field("from", &time(self.from))?;
        members.serialize_field("to", &time(self.to))?;
        members.serialize_field("timeZone", self.time_zone.iana_name().unwrap_or("UTC"))?;
        if let Some(days) = &self.days {
            let days: Vec<i8> = days.iter().map(|day| day.to_monday_one_offset()).collect();
            members.serialize_field("days", &days)?;
        }
        members.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(from: u16, to: u16, zone: &str, days: Option<&[Weekday]>) -> QuietHours {
        QuietHours { from, to, time_zone: TimeZone::get(zone).unwrap(), days: days.map(<[Weekday]>::to_vec) }
    }

    fn time(text: &str) -> Time {
        Time::parse(text).unwrap()
    }

    #[test]
    fn a_night_ends_in_the_morning_of_its_zone() {
        let night = quiet(22 * 60, 7 * 60, "Europe/Berlin", None);
        let end = |now| night.end(time(now)).map(|end| end.to_string());
        assert_eq!(end("2026-11-20T20:59:59.999Z"), None);
        assert_eq!(end("2026-11-20T21:00:00Z").as_deref(), Some("2026-11-21T06:00:00.000Z"));
        assert_eq!(end("2026-11-21T05:59:59.999Z").as_deref(), Some("2026-11-21T06:00:00.000Z"));
        assert_eq!(end("2026-11-21T06:00:00Z"), None);
        // In summer the same night begins and ends an hour earlier.
        assert_eq!(end("2026-07-20T20:00:00Z").as_deref(), Some("2026-07-21T05:00:00.000Z"));
    }

    #[test]
    fn the_night_of_a_clock_change_ends_at_the_same_local_time() {
        let night = quiet(22 * 60, 7 * 60, "Europe/Berlin", None);
        let end = |now| night.end(time(now)).unwrap().to_string();
        assert_eq!(end("2026-03-28T22:00:00Z"), "2026-03-29T05:00:00.000Z");
        assert_eq!(end("2026-10-24T22:00:00Z"), "2026-10-25T06:00:00.000Z");
        // 02:30 is left out on that day.
        let gap = quiet(60, 2 * 60 + 30, "Europe/Berlin", None);
        assert_eq!(gap.end(time("2026-03-29T00:30:00Z")).unwrap().to_string(), "2026-03-29T01:30:00.000Z");
    }

    #[test]
    fn days_name_the_day_on_which_it_begins() {
        // 2026-11-20 is a Friday.
        let weekend = quiet(22 * 60, 9 * 60, "UTC", Some(&[Weekday::Friday, Weekday::Saturday]));
        let end = |now| weekend.end(time(now)).map(|end| end.to_string());
        assert_eq!(end("2026-11-20T08:00:00Z"), None, "the night of Thursday");
        assert_eq!(end("2026-11-20T23:00:00Z").as_deref(), Some("2026-11-21T09:00:00.000Z"));
        assert_eq!(end("2026-11-22T08:59:00Z").as_deref(), Some("2026-11-22T09:00:00.000Z"), "that of Saturday");
        assert_eq!(end("2026-11-22T23:00:00Z"), None, "the night of Sunday");
        let noon = quiet(12 * 60, 13 * 60, "Asia/Tokyo", None);
        assert_eq!(noon.end(time("2026-11-20T03:30:00Z")).unwrap().to_string(), "2026-11-20T04:00:00.000Z");
        assert_eq!(noon.end(time("2026-11-20T12:30:00Z")), None);
    }
}
