// One tab of a user is the leader: it holds the connection and relays incoming changes to the other tabs.
// Each tab keeps its own cursor, so the next leader continues from its own position.

import type { Environment } from "./environment.js";
import { isFrame } from "./frames.js";
import type { ChangeMessage } from "./outbox.js";
import { createPause } from "./pause.js";
import type { ClientFrame, InboxEvent, OtherFrame, SyncResponse } from "./protocol.js";
import type { EmittedEvent, Problem, ProvisionalEvent, Status, Transport } from "./types.js";

const CHECK_MS = 60_000;
const REPLY_TIMEOUT_MS = 5_000;
/** A visible tab says so at least this often. One that was killed says nothing. */
const VISIBLE_MS = 2 * (CHECK_MS + REPLY_TIMEOUT_MS);

/** The messages between tabs. Tabs with different versions of the client may exchange them. */
export type TabMessage =
  | {
      readonly kind: "frame";
      readonly frame: InboxEvent | ProvisionalEvent | EmittedEvent | { readonly type: "resync" };
    }
  | { readonly kind: "sync"; readonly since: string; readonly answer: SyncResponse; readonly start?: string }
  | {
      readonly kind: "status";
      readonly status: Status;
      readonly transport: Transport | null;
      readonly cursor: string | null;
      readonly etag: string | null;
      /** The problem of the leader's connection. */
      readonly error?: Problem | null;
      /** The changes that the leader has not settled yet. */
      readonly pending?: readonly string[];
    }
  | ChangeMessage
  /** A tab asks the leader for its status, and tells all tabs whether it is visible. */
  | { readonly kind: "hello"; readonly tab?: string; readonly isVisible?: boolean }
  /** The user did something in another tab than the leader. */
  | { readonly kind: "acted" }
  | OtherMessage
  /** A follower's frame for the leader's socket. */
  | { readonly kind: "send"; readonly frame: ClientFrame }
  /** The user signed out, or `isReplaced` by another user, as whom the tabs continue. */
  | { readonly kind: "signOut"; readonly isReplaced: boolean };

/** A frame for a part of the client that is loaded separately. */
interface OtherMessage {
  readonly kind: "other";
  readonly frame: OtherFrame["frame"];
}

export interface TabsHost {
  readonly document: Environment["document"];
  readonly BroadcastChannel: NonNullable<Environment["BroadcastChannel"]>;
  readonly locks: NonNullable<Environment["locks"]>;
  random(): number;
  /** Names one server and one user, so that tabs of others neither receive messages nor wait for the lock. */
  readonly name: string;
  lead(): void;
  /** Another tab has become the leader. */
  retire(): void;
  received(message: TabMessage): void;
  /** Another tab became visible while this tab leads. */
  becameVisible(): void;
}

export interface Tabs {
  /** What is for followers leaves only a leader. */
  post(message: TabMessage): void;
  /** Whether any other tab is visible. */
  isOtherVisible(): boolean;
  leave(): void;
}

// The others are for all tabs.
const isForLeader = ({ kind }: TabMessage): boolean => ["hello", "acted", "send"].includes(kind);
const isForFollowers = ({ kind }: TabMessage): boolean => ["frame", "sync", "status", "other"].includes(kind);

/** Joins the other tabs. If the browser forbids channels or locks, the tab leads alone. */
export function joinTabs(host: TabsHost): Tabs {
  const { BroadcastChannel, locks, document } = host;
  const pause = createPause();
  const leaving = new AbortController();
  let channel: BroadcastChannel | null = null;
  let isLeader = false;
  let hasLeft = false;
  let statusCount = 0;
  let release = (): void => {};
  let replyTimer: ReturnType<typeof setTimeout> | undefined;
  const tab = String(host.random());
  /** Until when each other tab counts as visible. */
  const visibleUntil = new Map<string, number>();

  function post(message: TabMessage): void {
    if (isLeader || !isForFollowers(message)) channel?.postMessage(message);
  }

  function isHidden(): boolean {
    return document?.visibilityState === "hidden";
  }

  function hello(): void {
    post({ kind: "hello", tab, isVisible: !hasLeft && !isHidden() });
  }

  function onVisibilityChange(): void {
    hello();
    pause.wake();
  }

  function isVisible(other: string): boolean {
    return (visibleUntil.get(other) ?? 0) > Date.now();
  }

  function noteVisibility({ tab: other, isVisible: isNow }: { tab?: unknown; isVisible?: unknown }): void {
    // Tabs with an earlier version of the client do not tell.
    if (typeof other !== "string") return;
    const isNews = isNow === true && !isVisible(other);
    if (isNow === true) visibleUntil.set(other, Date.now() + VISIBLE_MS);
    else visibleUntil.delete(other);
    if (isNews && isLeader) host.becameVisible();
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
      hello();
      await new Promise((resolve) => {
        replyTimer = setTimeout(resolve, REPLY_TIMEOUT_MS);
      });
      if (hasLeft || isLeader) return;
      if (statusCount === before && !isHidden()) return requestLock(true);
      await pause.for(CHECK_MS);
    }
  }

  try {
    channel = new BroadcastChannel(host.name);
    channel.onmessage = ({ data }) => {
      if (hasLeft) return;
      const message = data as TabMessage | null;
      if (!message || (message.kind === "frame" && !isFrame(message.frame))) return;
      if (message.kind === "status") statusCount++;
      if (message.kind === "hello") noteVisibility(message);
      if (!(isLeader ? isForFollowers : isForLeader)(message)) host.received(message);
    };
    document?.addEventListener("visibilitychange", onVisibilityChange);
    requestLock(false);
    void watchLeader();
  } catch {
    leadAlone();
  }

  return {
    post,
    isOtherVisible: () => [...visibleUntil.keys()].some(isVisible),
    leave() {
      hasLeft = true;
      document?.removeEventListener("visibilitychange", onVisibilityChange);
      hello();
      clearTimeout(replyTimer);
      leaving.abort();
      release();
      pause.wake();
      channel?.close();
    },
  };
}
