// Cursors, `<epoch>.<offset>`: which of two positions in an inbox is further.

/** Whether this is a cursor. */
export function isCursor(value: unknown): value is string {
  return typeof value === "string" && /^[^.]+\.(0|[1-9]\d*)$/.test(value);
}

/**
 * Below, at or above zero as `a` is behind, at or ahead of `b`; `null` where they are of two epochs,
 * which are two histories. Offsets may pass what a number holds exactly, so they are compared as digits.
 */
export function compareCursors(a: string, b: string): number | null {
  const [epoch, offset] = a.split(".") as [string, string];
  const [otherEpoch, otherOffset] = b.split(".") as [string, string];
  if (epoch !== otherEpoch) return null;
  if (offset.length !== otherOffset.length) return offset.length - otherOffset.length;
  return offset < otherOffset ? -1 : offset > otherOffset ? 1 : 0;
}

/** Whether `a` is known to be further than `b`. */
export function isAhead(a: string, b: string): boolean {
  return (compareCursors(a, b) ?? 0) > 0;
}
