// What signing out takes besides an empty store: the other tabs are told, and what is kept elsewhere is forgotten.

import type { Environment } from "./environment.js";
import { createPause } from "./pause.js";
import { isolate } from "./store.js";
import type { TabMessage } from "./tabs.js";

/** The limit for storage and hooks, which may hang. */
const FORGET_MS = 5_000;

/** The channel and the lock of the tabs of one user. */
export const tabsName = (key: string): string => `carillon/1 ${key}`;

/** Sends one message to the other tabs of a user, whether or not this tab has a session that shares a channel. */
export function tellTabs({ BroadcastChannel }: Environment, key: string, message: TabMessage): void {
  try {
    if (!BroadcastChannel) return;
    const channel = new BroadcastChannel(tabsName(key));
    channel.postMessage(message);
    channel.close();
  } catch {
    // The browser forbids channels, so this tab shares nothing with others.
  }
}

/** Names what the parts that are loaded separately keep of one user. */
export const keptName = (key: string): string => `carillon/1 ${JSON.stringify(key)} `;

/** Forgets that, whether or not those parts are loaded in this tab. */
export function forgetKept({ localStorage }: Environment, key: string): void {
  const storage = localStorage();
  for (const name of Object.keys(storage ?? {})) if (name.startsWith(keptName(key))) storage?.removeItem(name);
}

/** Starts every step, and resolves when all have settled or the time is over. A step that fails holds up no other. */
export async function forget(steps: readonly (() => unknown)[]): Promise<void> {
  // The caller empties the store first, so that no hook sees what it should forget.
  await null;
  const limit = createPause();
  const settled = steps.map(async (step) => {
    try {
      await step();
    } catch (thrown) {
      isolate(() => {
        throw thrown;
      });
    }
  });
  await Promise.race([Promise.all(settled), limit.for(FORGET_MS)]);
  limit.wake();
}
