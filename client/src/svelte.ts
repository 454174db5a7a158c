// For Svelte: stores whose `subscribe` calls at once, as Svelte's `$store` expects. They need nothing of Svelte itself.

import { hold } from "./hold.js";
import type { Client, State, Store, View, ViewFilter, ViewState } from "./types.js";

/** A store that Svelte's `$` can read. */
export interface Readable<S> {
  /** Calls `run` at once, and with each further state. Returns a function that ends this. */
  subscribe(run: (state: S) => void): () => void;
}

/** A part of the inbox that the server filters. */
export interface FilteredNotifications extends Readable<ViewState> {
  /** Loads the next older page, while there are subscribers. */
  loadMore(): Promise<void>;
}

/** A store of this package as one of Svelte's. */
export function readable<S>(store: Store<S>): Readable<S> {
  return {
    subscribe(run) {
      const unsubscribe = store.subscribe((state) => run(state));
      run(store.getState());
      return unsubscribe;
    },
  };
}

/**
 * The state of a client, which is connected while at least one component subscribes. With a filter, only what fits it,
 * with pages of its own.
 */
export function notifications(client: Client): Readable<State>;
export function notifications(client: Client, filter: ViewFilter): FilteredNotifications;
export function notifications(client: Client, filter?: ViewFilter): Readable<State> | FilteredNotifications {
  return filter ? filtered(client, filter) : whileHeld(client, () => readable(client.store));
}

function whileHeld<S>(client: Client, open: () => Readable<S>, close?: () => void): Readable<S> {
  return {
    subscribe(run) {
      const release = hold(client);
      const unsubscribe = open().subscribe(run);
      let isSubscribed = true;
      return () => {
        if (!isSubscribed) return;
        isSubscribed = false;
        unsubscribe();
        close?.();
        release();
      };
    },
  };
}

function filtered(client: Client, filter: ViewFilter): FilteredNotifications {
  let view: View | null = null;
  let subscribers = 0;
  const open = (): Readable<ViewState> => {
    subscribers++;
    view ??= client.view(filter);
    return readable(view.store);
  };
  const close = (): void => {
    if (--subscribers > 0) return;
    view?.release();
    view = null;
  };
  return { ...whileHeld(client, open, close), loadMore: async () => view?.loadMore() };
}
