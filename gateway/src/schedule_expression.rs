//! Parses and evaluates schedule expressions, `rate(5 minutes)` or `cron(0 12 ? * MON-FRI *)`, like EventBridge in UTC.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

const MINUTE_MS: i64 = 60_000;

/// A parsed schedule expression.
#[derive(Debug, Clone)]
pub struct ScheduleExpression {
    text: String,
    recurrence: Recurrence,
}

#[derive(Debug, Clone)]
enum Recurrence {
    /// The interval in milliseconds, counted from the start.
    Rate(i64),
    Cron(Box<Cron>),
}

impl ScheduleExpression {
    /// Parses `rate(…)` or `cron(…)`. The error says what is required and what was found.
    pub fn parse(text: &str) -> Result<Self, String> {
        let recurrence = match argument_of(text, "rate(").map(rate).or_else(|| argument_of(text, "cron(").map(cron)) {
            Some(recurrence) => recurrence?,
            None => return Err(format!("must be rate(…) or cron(…), got {text}")),
        };
        Ok(Self { text: text.to_owned(), recurrence })
    }

    /// The next time strictly after `now_ms`, in milliseconds since 1970. Rates count from `start_ms`.
    /// `None` if the years of a cron expression have passed.
    pub fn next_after(&self, now_ms: i64, start_ms: i64) -> Option<i64> {
        match &self.recurrence {
            Recurrence::Rate(every_ms) => Some(start_ms + ((now_ms - start_ms).max(0) / every_ms + 1) * every_ms),
            Recurrence::Cron(cron) => {
                let now = Timestamp::from_millisecond(now_ms).ok()?.to_zoned(TimeZone::UTC);
                let next = cron.find_next_occurrence(&now, false).ok()?;
                Some(next.timestamp().as_millisecond())
            }
        }
    }
}

impl std::fmt::Display for ScheduleExpression {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn argument_of<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    text.trim().strip_prefix(opening)?.strip_suffix(')')
}

fn rate(text: &str) -> Result<Recurrence, String> {
    let invalid = || format!("a rate must be like rate(1 minute) or rate(2 hours), got rate({text})");
    let (value, unit) = text.trim().split_once(' ').ok_or_else(invalid)?;
    let value: i64 = value.parse().ok().filter(|value| *value >= 1).ok_or_else(invalid)?;
    let unit_ms = match (unit.trim(), value) {
        ("minute", 1) | ("minutes", 2..) => MINUTE_MS,
        ("hour", 1) | ("hours", 2..) => 60 * MINUTE_MS,
        ("day", 1) | ("days", 2..) => 24 * 60 * MINUTE_MS,
        _ => return Err(invalid()),
    };
    value.checked_mul(unit_ms).map(Recurrence::Rate).ok_or_else(invalid)
}

fn cron(text: &str) -> Result<Recurrence, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [_, _, day_of_month, _, day_of_week, _] = fields[..] else {
        return Err(format!("a cron expression must have 6 fields, got {} in cron({text})", fields.len()));
    };
    if (day_of_month == "?") == (day_of_week == "?") {
        return Err(format!("exactly one of day-of-month and day-of-week must be ?, got cron({text})"));
    }
    // AWS has a year but no seconds; the parser accepts a year only together with seconds.
    // Weekdays are 1 to 7 from Sunday, and steps such as 0/15 need sloppy ranges.
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .alternative_weekdays(true)
        .sloppy_ranges(true)
        .build()
        .parse(&format!("0 {text}"))
        .map(|cron| Recurrence::Cron(Box::new(cron)))
        .map_err(|error| format!("cron({text}) is not a valid expression: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(expression: &str, now: &str) -> Option<String> {
        let now_ms = now.parse::<Timestamp>().unwrap().as_millisecond();
        let next_ms = ScheduleExpression::parse(expression).unwrap().next_after(now_ms, 0)?;
        Some(Timestamp::from_millisecond(next_ms).unwrap().to_string())
    }

    #[test]
    fn a_rate_counts_from_the_start_and_does_not_drift() {
        let seven = ScheduleExpression::parse("rate(7 minutes)").unwrap();
        let start_ms = 1_000;
        assert_eq!(seven.next_after(start_ms, start_ms), Some(start_ms + 7 * MINUTE_MS));
        assert_eq!(seven.next_after(start_ms + 7 * MINUTE_MS, start_ms), Some(start_ms + 14 * MINUTE_MS));
        assert_eq!(seven.next_after(start_ms + 69 * MINUTE_MS, start_ms), Some(start_ms + 70 * MINUTE_MS));
    }

    #[test]
    fn cron_is_evaluated_as_on_aws() {
        let friday = "2026-11-20T12:00:00Z";
        assert_eq!(after("cron(0 12 ? * MON-FRI *)", friday).as_deref(), Some("2026-11-23T12:00:00Z"));
        assert_eq!(after("cron(0/15 * * * ? *)", friday).as_deref(), Some("2026-11-20T12:15:00Z"));
        assert_eq!(after("cron(0 10 ? * 6#3 *)", friday).as_deref(), Some("2026-12-18T10:00:00Z"));
        assert_eq!(after("cron(0 18 L * ? *)", friday).as_deref(), Some("2026-11-30T18:00:00Z"));
        assert_eq!(after("cron(0 8 1 1 ? 2028)", friday).as_deref(), Some("2028-01-01T08:00:00Z"));
        assert_eq!(after("cron(0 8 1 1 ? 2020)", friday), None);
    }

    #[test]
    fn expressions_that_eventbridge_refuses_are_refused() {
        for refused in [
            "rate(1 minutes)",
            "rate(2 minute)",
            "rate(0 minutes)",
            "rate(30 seconds)",
            "rate(minute)",
            "cron(0 12 * * *)",
            "cron(0 12 * * * *)",
            "cron(0 12 ? * ? *)",
            "cron(99 12 * * ? *)",
            "at(2026-11-20T12:00:00)",
            "hourly",
        ] {
            assert!(ScheduleExpression::parse(refused).is_err(), "{refused}");
        }
    }
}
