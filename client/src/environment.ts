// Access to the browser. Each part of it may be missing, forbidden or replaced.

/** The parts of the browser that the client uses. `null` means that a part is not available. */
export interface Environment {
  readonly fetch: typeof fetch;
  readonly WebSocket: typeof WebSocket | null;
  readonly indexedDB: IDBFactory | null;
  readonly BroadcastChannel: typeof BroadcastChannel | null;
  readonly locks: Pick<LockManager, "request"> | null;
  /** Shows whether the page is visible. */
  readonly document: Pick<Document, "visibilityState" | "addEventListener" | "removeEventListener"> | null;
  /** Emits `online` and `offline`. */
  readonly window: Pick<Window, "addEventListener" | "removeEventListener"> | null;
  /** The permission to show notifications. */
  readonly notifications: Pick<typeof Notification, "permission" | "requestPermission"> | null;
  readonly serviceWorker: ServiceWorkerContainer | null;
  /** Only a hint: a device may be online and reach nothing. */
  readonly isOnline: () => boolean;
  /** Called only when something is to be kept or forgotten, because some runtimes warn of its use. */
  readonly localStorage: () => Storage | null;
  /** A number from 0 up to, but not including, 1. */
  readonly random: () => number;
}

/** A part of the browser. If storage is forbidden, even reading the global throws. */
export function available<T>(read: () => T | undefined): T | null {
  try {
    return read() ?? null;
  } catch {
    return null;
  }
}

/** The global environment, with the given parts replaced. */
export function resolveEnvironment(given: Partial<Environment> = {}): Environment {
  return {
    fetch: (input, init) => fetch(input, init),
    WebSocket: available(() => globalThis.WebSocket),
    indexedDB: available(() => globalThis.indexedDB),
    BroadcastChannel: available(() => globalThis.BroadcastChannel),
    locks: available(() => globalThis.navigator.locks),
    document: available(() => globalThis.document),
    window: available(() => globalThis.window),
    notifications: available(() => globalThis.Notification),
    serviceWorker: available(() => globalThis.navigator.serviceWorker),
    isOnline: () => available(() => globalThis.navigator.onLine) ?? true,
    localStorage: () => available(() => globalThis.localStorage),
    random: Math.random,
    ...given,
  };
}
