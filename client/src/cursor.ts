// Cursors, `<epoch>.<offset>`: which of two positions in an inbox is further ahead.

export function isCursor(value: unknown): value is string {
  return typeof value === "string" && /^[^.]+\.(0|[1-9]\d*)$/.test(value);
}

/**
 * Negative, zero or positive as `a` is behind, at or ahead of `b`. `null` if their epochs differ, because cursors of
 * two epochs have no order. Offsets may be too large for an exact number, so their digits are compared.
 */
export function compareCursors(a: string, b: string): number | null {
  const [epoch, offset] = a.split(".") as [string, string];
  const [otherEpoch, otherOffset] = b.split(".") as [string, string];
  if (epoch !== otherEpoch) return null;
  if (offset.length !== otherOffset.length) return offset.length - otherOffset.length;
  return offset < otherOffset ? -1 : offset > otherOffset ? 1 : 0;
}

/** Whether `a` is known to be ahead of `b`. */
export function isAhead(a: string, b: string): boolean {
  return (compareCursors(a, b) ?? 0) > 0;
}
