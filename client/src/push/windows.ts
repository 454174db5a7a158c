// The tabs of the worker's origin: which of them shows what arrives, and which one a click leads to.

import type { KeptPush } from "./device.js";
import type { PushedNotification, ToPage } from "./messages.js";
import type { WindowClient, WorkerScope } from "./scope.js";

/** A tab that is busy or has no client does not answer in time, and then counts as none. */
const ANSWER_MS = 500;

export interface Windows {
  /** The tab that shows what arrives for the user, the one in use first. `null`: none is both visible and connected. */
  showing(kept: KeptPush | undefined): Promise<WindowClient | null>;
  /** Leaves a notification to a tab. Returns whether it takes it. */
  take(tab: WindowClient, payload: PushedNotification): Promise<boolean>;
  /** Brings a tab to the front, if need be a new one. `goes`: to this address, even if another tab is open. */
  open(url: string, goes: boolean): Promise<void>;
}

export function createWindows({ clients, location }: WorkerScope): Windows {
  /** The tab in use first. */
  async function tabs(): Promise<WindowClient[]> {
    const all = await clients.matchAll({ type: "window", includeUncontrolled: true });
    const rank = ({ focused, visibilityState }: WindowClient): number =>
      focused ? 0 : visibilityState === "visible" ? 1 : 2;
    return all.filter(({ frameType }) => frameType !== "nested").sort((one, other) => rank(one) - rank(other));
  }

  return {
    async showing(kept) {
      if (!kept) return null;
      const { root, userId } = kept;
      const visible = (await tabs()).filter(({ visibilityState }) => visibilityState === "visible");
      const answers = await Promise.all(visible.map((tab) => ask(tab, { carillon: 1, kind: "ask", root, userId })));
      return visible.find((_, n) => answers[n]) ?? null;
    },
    take: (tab, payload) => ask(tab, { carillon: 1, kind: "take", payload }),
    async open(url, goes) {
      const isHere = new URL(url).origin === location.origin;
      const [tab] = isHere ? await tabs() : [];
      if (!tab || (goes && !(await go(tab, url)))) return void (await clients.openWindow(url));
      // Browsers allow it for a moment after a click.
      await tab.focus().catch(() => {});
    },
  };
}

/** Leads a tab to an address. Returns whether it could. */
async function go(tab: WindowClient, url: string): Promise<boolean> {
  if (tab.url.replace(/#.*/, "") === url) return true;
  try {
    await tab.navigate(url);
    return true;
  } catch {
    // The browser lets a worker move only the tabs within its scope that were opened after it. The others do it themselves.
    return ask(tab, { carillon: 1, kind: "open", url });
  }
}

function ask(tab: WindowClient, message: ToPage): Promise<boolean> {
  const { port1, port2 } = new MessageChannel();
  return new Promise((resolve) => {
    const settle = (answer: unknown): void => {
      clearTimeout(timer);
      port1.close();
      resolve(answer === true);
    };
    const timer = setTimeout(settle, ANSWER_MS, false);
    port1.onmessage = ({ data }) => settle(data);
    tab.postMessage(message, [port2]);
  });
}
