// An observable value with the three methods that Zustand and React expect of a store.

import type { Store } from "./types.js";

/** Calls an application's callback. Its error is reported as uncaught, and does not stop the client. */
export function isolate(act: () => void): void {
  try {
    act();
  } catch (thrown) {
    queueMicrotask(() => {
      throw thrown;
    });
  }
}

/** A store, with the `update` that its readers do not get. */
export interface OwnedStore<S> {
  readonly store: Store<S>;
  /** Notifies no listener if nothing differs. */
  update(part: Partial<S>): void;
}

export function createStore<S extends object>(initial: S): OwnedStore<S> {
  let state = initial;
  const listeners = new Set<(state: S, previous: S) => void>();
  return {
    store: {
      getState: () => state,
      getInitialState: () => initial,
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
    update(part) {
      const previous = state;
      if ((Object.keys(part) as (keyof S)[]).every((key) => Object.is(part[key], previous[key]))) return;
      state = { ...previous, ...part };
      for (const listener of listeners) isolate(() => listener(state, previous));
    },
  };
}
