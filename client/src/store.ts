// A value that can be watched, with the three methods that zustand and React expect of a store.

import type { Store } from "./types.js";

/** An application's part of the work: what fails there must not keep the client from going on. */
export function apart(act: () => void): void {
  try {
    act();
  } catch (thrown) {
    queueMicrotask(() => {
      throw thrown;
    });
  }
}

/** A store, and the way to change it that its readers do not get. */
export interface OwnedStore<S> {
  readonly store: Store<S>;
  /** Tells nobody where nothing differs. */
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
      for (const listener of listeners) apart(() => listener(state, previous));
    },
  };
}
