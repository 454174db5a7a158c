// Medians, percentiles and extremes.

/** The smallest value that at least this share of the values does not exceed. */
export function percentile(values, share) {
  if (values.length === 0) throw new Error("there are no values");
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

/** The median and the extremes. */
export function spread(values) {
  return { median: percentile(values, 0.5), min: Math.min(...values), max: Math.max(...values) };
}

/** `p50` and `p99` of durations. */
export function percentiles(values) {
  return { p50: percentile(values, 0.5), p99: percentile(values, 0.99) };
}

/** Three significant digits, with thousands separators. */
export function number(value) {
  if (value === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
