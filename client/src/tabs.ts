// Among the tabs of one user, one leads: it holds the connection and tells the others what comes in.
// Each tab keeps its own cursor, so whoever leads next goes on from there.

import type { Environment } from "./environment.js";
import type { Pause } from "./pause.js";
import type { InboxEvent, SyncAnswer } from "./protocol.js";
import type { EmittedEvent, Status, Transport } from "./types.js";

const ASK_MS = 60_000;
const ANSWER_MS = 5_000;

/** What tabs say to each other. */
export type TabMessage =
  | { readonly kind: "frame"; readonly frame: InboxEvent | EmittedEvent | { readonly type: "resync" } }
  | { readonly kind: "sync"; readonly since: string; readonly answer: SyncAnswer; readonly start?: string }
  | {
      readonly kind: "status";
      readonly status: Status;
      readonly transport: Transport | null;
      readonly cursor: string | null;
      readonly etag: string | null;
    }
  | { readonly kind: "hello" };

export interface TabsHost {
  readonly document: Environment["document"];
  readonly BroadcastChannel: NonNullable<Environment["BroadcastChannel"]>;
  readonly locks: NonNullable<Environment["locks"]>;
  readonly pause: Pause;
  /** Of one server and one user: tabs of others neither hear nor wait. */
  readonly name: string;
  lead(): void;
  /** Another tab has taken over. */
  retire(): void;
  told(message: TabMessage): void;
}

export interface Tabs {
  post(message: TabMessage): void;
  leave(): void;
}

/** Joins the other tabs; alone, where the browser forbids what that needs. */
export function joinTabs(host: TabsHost): Tabs {
  const { BroadcastChannel, locks, document, pause } = host;
  const leaving = new AbortController();
  let channel: BroadcastChannel | null = null;
  let isLeader = false;
  let hasLeft = false;
  let heard = 0;
  let release = (): void => {};
  let answerTimer: ReturnType<typeof setTimeout> | undefined;

  function post(message: TabMessage): void {
    channel?.postMessage(message);
  }

  function alone(): void {
    channel?.close();
    channel = null;
    if (hasLeft || isLeader) return;
    isLeader = true;
    host.lead();
  }

  function queue(steal: boolean): void {
    const held = (): Promise<void> | undefined => {
      if (hasLeft || isLeader) return;
      isLeader = true;
      host.lead();
      return new Promise((resolve) => {
        release = resolve;
      });
    };
    const options = steal ? { steal } : { signal: leaving.signal };
    Promise.resolve(locks.request(host.name, options, held)).catch(() => {
      if (hasLeft) return;
      if (!isLeader) return alone();
      isLeader = false;
      host.retire();
      queue(false);
      void watch();
    });
  }

  /** A leader may be frozen, and hold the lock all the same: one that does not answer is deposed. */
  async function watch(): Promise<void> {
    while (!hasLeft && !isLeader) {
      const before = heard;
      post({ kind: "hello" });
      await new Promise((resolve) => {
        answerTimer = setTimeout(resolve, ANSWER_MS);
      });
      if (hasLeft || isLeader) return;
      if (heard === before && document?.visibilityState !== "hidden") return queue(true);
      await pause.for(ASK_MS);
    }
  }

  try {
    channel = new BroadcastChannel(host.name);
    channel.onmessage = ({ data }) => {
      if (hasLeft) return;
      const message = data as TabMessage | null;
      if (!message) return;
      if (message.kind === "status") heard++;
      if ((message.kind === "hello") === isLeader) host.told(message);
    };
    document?.addEventListener("visibilitychange", pause.wake);
    queue(false);
    void watch();
  } catch {
    alone();
  }

  return {
    post,
    leave() {
      hasLeft = true;
      document?.removeEventListener("visibilitychange", pause.wake);
      clearTimeout(answerTimer);
      leaving.abort();
      release();
      pause.wake();
      channel?.close();
    },
  };
}
