// How long to wait before trying again, so that a thousand clients do not come back at once.

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/** Between nothing and a bound that doubles with each failure ("full jitter"), but never less than was asked for. */
export function backoffMs(failures: number, random: () => number, retryAfterMs = 0): number {
  return Math.max(random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1)), retryAfterMs);
}
