// One tab of a user is the leader: it holds the connection and relays incoming changes to the other tabs.
// Each tab keeps its own cursor, so the next leader continues from its own position.

import type { Environment } from "./environment.js";
import type { Pause } from "./pause.js";
import type { InboxEvent, SyncResponse } from "./protocol.js";
import type { EmittedEvent, Status, Transport } from "./types.js";

const CHECK_MS = 60_000;
const REPLY_TIMEOUT_MS = 5_000;

/** The messages between tabs. Tabs with different versions of the client may exchange them. */
export type TabMessage =
  | { readonly kind: "frame"; readonly frame: InboxEvent | EmittedEvent | { readonly type: "resync" } }
  | { readonly kind: "sync"; readonly since: string; readonly answer: SyncResponse; readonly start?: string }
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
  /** Names one server and one user, so that tabs of others neither receive messages nor wait for the lock. */
  readonly name: string;
  lead(): void;
  /** Another tab has become the leader. */
  retire(): void;
  received(message: TabMessage): void;
}

export interface Tabs {
  post(message: TabMessage): void;
  leave(): void;
}

/** Joins the other tabs. If the browser forbids channels or locks, the tab leads alone. */
export function joinTabs(host: TabsHost): Tabs {
  const { BroadcastChannel, locks, document, pause } = host;
  const leaving = new AbortController();
  let channel: BroadcastChannel | null = null;
  let isLeader = false;
  let hasLeft = false;
  let statusCount = 0;
  let release = (): void => {};
  let replyTimer: ReturnType<typeof setTimeout> | undefined;

  function post(message: TabMessage): void {
    channel?.postMessage(message);
  }

  function leadAlone(): void {
    channel?.close();
    channel = null;
    if (hasLeft || isLeader) return;
    isLeader = true;
    host.lead();
  }

  function requestLock(steal: boolean): void {
    const onLock = (): Promise<void> | undefined => {
      if (hasLeft || isLeader) return;
      isLeader = true;
      host.lead();
      return new Promise((resolve) => {
        release = resolve;
      });
    };
    const options = steal ? { steal } : { signal: leaving.signal };
    Promise.resolve(locks.request(host.name, options, onLock)).catch(() => {
      if (hasLeft) return;
      if (!isLeader) return leadAlone();
      isLeader = false;
      host.retire();
      requestLock(false);
      void watchLeader();
    });
  }

  /** A frozen leader still holds the lock. If it does not reply, this tab takes the lock from it. */
  async function watchLeader(): Promise<void> {
    while (!hasLeft && !isLeader) {
      const before = statusCount;
      post({ kind: "hello" });
      await new Promise((resolve) => {
        replyTimer = setTimeout(resolve, REPLY_TIMEOUT_MS);
      });
      if (hasLeft || isLeader) return;
      if (statusCount === before && document?.visibilityState !== "hidden") return requestLock(true);
      await pause.for(CHECK_MS);
    }
  }

  try {
    channel = new BroadcastChannel(host.name);
    channel.onmessage = ({ data }) => {
      if (hasLeft) return;
      const message = data as TabMessage | null;
      if (!message) return;
      if (message.kind === "status") statusCount++;
      if ((message.kind === "hello") === isLeader) host.received(message);
    };
    document?.addEventListener("visibilitychange", pause.wake);
    requestLock(false);
    void watchLeader();
  } catch {
    leadAlone();
  }

  return {
    post,
    leave() {
      hasLeft = true;
      document?.removeEventListener("visibilitychange", pause.wake);
      clearTimeout(replyTimer);
      leaving.abort();
      release();
      pause.wake();
      channel?.close();
    },
  };
}
