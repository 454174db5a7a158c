// Calls when the first of many notifications expires.

import type { Notification } from "./types.js";

/** The longest that a timer can wait. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface Expiry {
  /** Minds these too; or only these, where what was minded before is no longer so. */
  mind(items: readonly Notification[], isAnew: boolean): void;
  stop(): void;
}

/** `now` is the server's time. Whoever is called minds what is left, anew. */
export function createExpiry(now: () => number, passed: () => void): Expiry {
  let firstMs = Number.POSITIVE_INFINITY;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function stop(): void {
    clearTimeout(timer);
    firstMs = Number.POSITIVE_INFINITY;
  }

  return {
    mind(items, isAnew) {
      if (isAnew) stop();
      const before = firstMs;
      for (const { expiresAt } of items) {
        const at = expiresAt === null ? Number.NaN : Date.parse(expiresAt);
        // Not so for what is no time at all.
        if (at < firstMs) firstMs = at;
      }
      if (firstMs === before) return;
      clearTimeout(timer);
      timer = setTimeout(passed, Math.min(Math.max(0, firstMs - now()), MAX_TIMER_MS));
    },
    stop,
  };
}
