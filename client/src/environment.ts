// The parts of a browser that the client stands on, so that each may be missing, forbidden or replaced.

/** What the client uses of its surroundings; `null` is "there is none". */
export interface Environment {
  readonly fetch: typeof fetch;
  readonly WebSocket: typeof WebSocket | null;
  readonly indexedDB: IDBFactory | null;
  readonly BroadcastChannel: typeof BroadcastChannel | null;
  readonly locks: Pick<LockManager, "request"> | null;
  /** Tells whether the page is visible. */
  readonly document: Pick<Document, "visibilityState" | "addEventListener" | "removeEventListener"> | null;
  /** Tells of `online` and `offline`. */
  readonly window: Pick<Window, "addEventListener" | "removeEventListener"> | null;
  /** Only a hint: a machine may be on line and reach nothing. */
  readonly isOnline: () => boolean;
  /** From 0 to 1, without 1. */
  readonly random: () => number;
}

// Where storage is forbidden, even to look at the global throws.
function there<T>(look: () => T | undefined): T | null {
  try {
    return look() ?? null;
  } catch {
    return null;
  }
}

/** The surroundings as they are, but for what is given. */
export function environment(given: Partial<Environment> = {}): Environment {
  return {
    fetch: (input, init) => fetch(input, init),
    WebSocket: there(() => globalThis.WebSocket),
    indexedDB: there(() => globalThis.indexedDB),
    BroadcastChannel: there(() => globalThis.BroadcastChannel),
    locks: there(() => globalThis.navigator.locks),
    document: there(() => globalThis.document),
    window: there(() => globalThis.window),
    isOnline: () => there(() => globalThis.navigator.onLine) ?? true,
    random: Math.random,
    ...given,
  };
}
