// How long to wait before a retry. Jitter keeps a thousand clients from coming back at once.

const BASE_MS = 500;
const MAX_MS = 30_000;
/** Far below the longest delay that a timer accepts; beyond that it fires at once. */
const MAX_RETRY_AFTER_MS = 3_600_000;

/**
 * "Full jitter": a random delay up to a bound that doubles with each failure.
 * Never shorter than `retryAfterMs`, which is honoured up to an hour.
 */
export function backoffMs(failures: number, random: () => number, retryAfterMs = 0): number {
  return Math.max(
    random() * Math.min(MAX_MS, BASE_MS * 2 ** (failures - 1)),
    Math.min(retryAfterMs, MAX_RETRY_AFTER_MS),
  );
}
