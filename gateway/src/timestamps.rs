//! Formats timestamps as AWS does, in UTC.

use jiff::Timestamp;

/// `29/Nov/2023:08:04:01 +0000`, as in request contexts.
pub(crate) fn log_format(at_ms: i64) -> String {
    timestamp(at_ms).strftime("%d/%b/%Y:%H:%M:%S +0000").to_string()
}

/// `2020-04-30T20:10:33.236Z`, as in responses.
pub(crate) fn with_milliseconds(at_ms: i64) -> String {
    timestamp(at_ms).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// `2015-10-08T16:53:06Z`, as in events of schedules.
pub(crate) fn with_seconds(at_ms: i64) -> String {
    timestamp(at_ms).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn timestamp(at_ms: i64) -> Timestamp {
    // Fails only outside the years -9999 to 9999; then the epoch is good enough.
    Timestamp::from_millisecond(at_ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_formatted_as_on_aws() {
        assert_eq!(log_format(1_701_245_041_796), "29/Nov/2023:08:04:01 +0000");
        assert_eq!(with_milliseconds(1_588_277_433_036), "2020-04-30T20:10:33.036Z");
        assert_eq!(with_seconds(1_444_323_186_000), "2015-10-08T16:53:06Z");
    }
}
