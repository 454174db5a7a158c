//! Histograms of durations, small enough to be kept in a store and added up over many processes.

use std::collections::BTreeMap;

/// The binary logarithm of the number of buckets in an octave: 8 buckets.
const STEPS_LOG2: u32 = 3;
/// The largest value that is distinguished from larger ones.
const MAX_VALUE: u64 = u32::MAX as u64;

/// Counts of whole numbers of any unit, in buckets of which eight make an octave. Each value up to 15 has its own
/// bucket. A larger value is reported as the middle of its bucket, which is at most 6.25 % away from it. Values from
/// 2^32 - 1 on count as 2^32 - 1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram(BTreeMap<u64, u64>);

impl Histogram {
    /// Counts a value. A negative one, as when a clock goes back, counts as 0.
    pub fn add(&mut self, value: i64) {
        self.add_to(lower_bound(u64::try_from(value).unwrap_or(0)), 1);
    }

    /// Adds `count` to the bucket whose smallest value is `lower`. False, and no effect, if there is no such bucket.
    pub fn add_bucket(&mut self, lower: u64, count: u64) -> bool {
        let is_bucket = lower_bound(lower) == lower;
        if is_bucket {
            self.add_to(lower, count);
        }
        is_bucket
    }

    /// Adds all counts of another histogram.
    pub fn add_all(&mut self, other: &Self) {
        for (lower, count) in other.buckets() {
            self.add_to(lower, count);
        }
    }

    /// The buckets that are not empty, in ascending order, each as its smallest value and its count.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(lower, count)| (*lower, *count))
    }

    /// The value that is not exceeded by `percent` of the values; 0 if nothing was counted.
    pub fn percentile(&self, percent: u64) -> u64 {
        let all: u128 = self.0.values().map(|count| u128::from(*count)).sum();
        let rank = (all * u128::from(percent)).div_ceil(100).max(1);
        let mut so_far = 0;
        let found = self.buckets().find(|(_, count)| {
            so_far += u128::from(*count);
            so_far >= rank
        });
        found.map_or(0, |(lower, _)| lower + (width(lower) - 1) / 2)
    }

    fn add_to(&mut self, lower: u64, count: u64) {
        let counted = self.0.entry(lower).or_default();
        *counted = counted.saturating_add(count);
    }
}

/// The smallest value in the bucket of a value.
fn lower_bound(value: u64) -> u64 {
    let value = value.min(MAX_VALUE);
    value - value % width(value)
}

/// The number of values in the bucket of a value.
fn width(value: u64) -> u64 {
    let octave = value.max(1).ilog2();
    1 << octave.saturating_sub(STEPS_LOG2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = i64>) -> Histogram {
        let mut histogram = Histogram::default();
        values.into_iter().for_each(|value| histogram.add(value));
        histogram
    }

    #[test]
    fn a_value_is_reported_within_a_sixteenth() {
        for value in (0..5_000).chain([100_000, 123_456_789, i64::from(u32::MAX)]) {
            let reported = i64::try_from(of([value]).percentile(50)).unwrap();
            assert!((reported - value).abs() * 16 <= value, "{value} is reported as {reported}");
            assert!(value > 15 || reported == value, "{value} is reported as {reported}");
        }
        assert_eq!(of([-7]).percentile(99), 0);
        assert_eq!(of([i64::MAX]), of([i64::from(u32::MAX)]));
    }

    #[test]
    fn a_percentile_is_not_exceeded_by_its_share_of_the_values() {
        assert_eq!(Histogram::default().percentile(50), 0);
        let ten = of(1..=10);
        let percentiles = [0, 10, 11, 50, 51, 99, 100].map(|percent| ten.percentile(percent));
        assert_eq!(percentiles, [1, 1, 2, 5, 6, 10, 10]);
        let mut skewed = of(std::iter::repeat_n(3, 99));
        assert_eq!(skewed.percentile(99), 3);
        skewed.add(14);
        skewed.add(14);
        assert_eq!((skewed.percentile(50), skewed.percentile(99)), (3, 14));
    }

    #[test]
    fn histograms_add_up() {
        let (mut one, other) = (of([1, 20, 300]), of([1, 21, 4_000]));
        one.add_all(&other);
        assert_eq!(one, of([1, 1, 20, 21, 300, 4_000]));
        let mut copy = Histogram::default();
        assert!(one.buckets().all(|(lower, count)| copy.add_bucket(lower, count)));
        assert_eq!(copy, one);
    }

    #[test]
    fn counts_are_added_only_to_an_existing_bucket() {
        let mut histogram = Histogram::default();
        for no_bucket in [17, 33, 1_000, u64::from(u32::MAX), u64::MAX] {
            assert!(!histogram.add_bucket(no_bucket, 1), "{no_bucket}");
        }
        assert!(histogram.add_bucket(16, u64::MAX) && histogram.add_bucket(16, 1));
        assert_eq!(histogram.percentile(99), 16);
    }
}
