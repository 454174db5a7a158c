// Keeps a client connected for as long as something on the page shows its state.

import type { Client } from "./types.js";

/** How many holders each client has. */
const holders = new WeakMap<Client, number>();

/** Connects the client. Returns a function that closes it, unless something else still holds it. */
export function hold(client: Client): () => void {
  const count = (by: number): number => {
    const held = (holders.get(client) ?? 0) + by;
    holders.set(client, held);
    return held;
  };
  count(1);
  client.connect();
  return () => {
    if (count(-1) === 0) client.close();
  };
}
