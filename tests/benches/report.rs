//! The printed table, and its statistics: medians, percentiles and extremes.

use std::time::Duration;

/// Prints the header of the table.
pub(crate) fn heading() {
    println!();
    line("figure", "value", "unit", "how it was measured");
    println!("{}", "-".repeat(150));
}

/// Prints one row of the table.
pub(crate) fn figure(name: &str, value: impl Into<String>, unit: &str, how: &str) {
    line(name, &value.into(), unit, how);
}

fn line(figure: &str, value: &str, unit: &str, how: &str) {
    println!("{figure:<44} {value:>24}  {unit:<9} {how}");
}

/// The smallest value that at least this share of the values does not exceed.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The median, with the extremes in brackets.
pub(crate) fn spread(values: &[f64], digits: usize) -> String {
    let [low, median, high] = [0.0, 0.5, 1.0].map(|share| number(percentile(values, share), digits));
    format!("{median} [{low}..{high}]")
}

/// A number with thousands separators: 12,345.6
pub(crate) fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) && grouped != "-" {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
}

/// Durations as milliseconds.
pub(crate) fn in_ms(durations: &[Duration]) -> Vec<f64> {
    durations.iter().map(|duration| duration.as_secs_f64() * 1_000.0).collect()
}
