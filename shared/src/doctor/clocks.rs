//! Clocks that differ. Tickets, tokens, leases and signatures are compared across machines.

use super::finding::Finding;

/// What frames and leases bear, in milliseconds.
const MAX_SKEW_MS: u64 = 1_000;
/// The life of a ticket, in milliseconds: beyond it, tickets would be refused or live too long.
const MAX_USABLE_SKEW_MS: u64 = 30_000;

/// A clock that is so many milliseconds ahead of this machine's, or behind it if that is negative.
pub(super) fn skew(check: &str, ahead_ms: i64) -> Option<Finding> {
    let seconds = ahead_ms.unsigned_abs().div_ceil(1_000);
    let direction = if ahead_ms > 0 { "ahead of" } else { "behind" };
    let what = format!("its clock is {seconds} s {direction} that of this machine");
    let remedy = "synchronise both by NTP (on AWS, Amazon Time Sync): times of tickets, tokens and leases are compared";
    match ahead_ms.unsigned_abs() {
        0..=MAX_SKEW_MS => None,
        skew_ms if skew_ms <= MAX_USABLE_SKEW_MS => Some(Finding::warning(check, what, remedy)),
        _ => Some(Finding::problem(check, what, remedy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::State;

    #[test]
    fn a_clock_that_is_off_is_told_with_its_direction() {
        let found = |ahead_ms| skew("redis", ahead_ms).map(|finding| finding.state);
        assert_eq!([0, 1_000, -1_000].map(found), [None; 3]);
        assert_eq!([1_001, -30_000].map(found), [Some(State::Warning); 2]);
        assert_eq!(found(-30_001), Some(State::Problem));
        let behind = skew("redis", -40_000).map(|finding| finding.what).unwrap_or_default();
        assert_eq!(behind, "its clock is 40 s behind that of this machine");
    }
}
