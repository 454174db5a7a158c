// Calls back when the first of many notifications expires.

import type { Notification } from "./types.js";

/** The longest delay that a timer accepts. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export interface Expiry {
  /** Watches these notifications too, or only these if `isReset`. */
  watch(items: readonly Notification[], isReset: boolean): void;
  stop(): void;
}

/** `now` is the server's time. After `onExpiry`, call `watch` with the notifications that are left and `isReset`. */
export function createExpiry(now: () => number, onExpiry: () => void): Expiry {
  let firstMs = Number.POSITIVE_INFINITY;
  let timer: ReturnType<typeof setTimeout> | undefined;

  function stop(): void {
    clearTimeout(timer);
    firstMs = Number.POSITIVE_INFINITY;
  }

  return {
    watch(items, isReset) {
      if (isReset) stop();
      const before = firstMs;
      for (const { expiresAt } of items) {
        const at = expiresAt === null ? Number.NaN : Date.parse(expiresAt);
        // False for NaN, so a missing or malformed time is ignored.
        if (at < firstMs) firstMs = at;
      }
      if (firstMs === before) return;
      clearTimeout(timer);
      timer = setTimeout(onExpiry, Math.min(Math.max(0, firstMs - now()), MAX_TIMER_MS));
    },
    stop,
  };
}
