// The events that services emitted while the page was open, for hooks. Every component of a page sees the same.

import { createStore } from "./store.js";
import type { Client, EmittedEvent, Store } from "./types.js";

const MAX_HEARD = 50;

interface Heard {
  /** Newest first. */
  readonly events: readonly EmittedEvent[];
}

const stores = new WeakMap<Client, Store<Heard>>();

/** What the client has heard since the first call. */
export function heardOf(client: Client): Store<Heard> {
  const known = stores.get(client);
  if (known) return known;
  const { store, update } = createStore<Heard>({ events: [] });
  stores.set(client, store);
  client.onEvent(
    (event) => {
      if ("id" in event) update({ events: [event, ...store.getState().events].slice(0, MAX_HEARD) });
    },
    { everyTab: true },
  );
  client.onSignOut(() => update({ events: [] }));
  return store;
}
