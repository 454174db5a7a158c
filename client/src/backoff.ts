// How long to wait before trying again, so that a thousand clients do not come back at once.

const FIRST_MS = 500;
const LONGEST_MS = 30_000;
/** Far below what a timer can wait; beyond that it would not wait at all. */
const LONGEST_ASKED_MS = 3_600_000;

/** Between nothing and a bound that doubles with each failure ("full jitter"), but never less than was asked for, up to an hour. */
export function backoffMs(failures: number, random: () => number, retryAfterMs = 0): number {
  return Math.max(
    random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** (failures - 1)),
    Math.min(retryAfterMs, LONGEST_ASKED_MS),
  );
}
