// The link to the server: the connection of this tab, or that of the tab that leads. Loaded on demand: the list shows
// first. Every tab has it while the network is there, because any may have to lead later.

import { type Connection, createConnection } from "./connection.js";
import type { Environment } from "./environment.js";
import { CarillonError } from "./errors.js";
import type { ApiResponse } from "./http.js";
import type { LiveInbox } from "./liveInbox.js";
import type { Outbox } from "./outbox.js";
import type { Problems } from "./problems.js";
import {
  type ClientFrame,
  type Frame,
  isObject,
  isSyncResponse,
  type OtherFrame,
  type ReplyFrame,
} from "./protocol.js";
import { tabsName } from "./signout.js";
import { joinTabs, type TabMessage, type Tabs } from "./tabs.js";
import { requestTicket, type TicketHost } from "./ticket.js";
import type { RequestOptions, State, Transport } from "./types.js";

const ACK_MS = 500;

export interface LinkHost extends TicketHost {
  readonly environment: Environment;
  /** Names the server and the user. */
  readonly key: string;
  /** Whether the tabs of the user share one connection. */
  readonly isShared: boolean;
  readonly pollMs: number;
  readonly live: LiveInbox;
  readonly problems: Problems;
  call(method: string, path: string, options?: RequestOptions): Promise<ApiResponse>;
  transports(): readonly Transport[];
  outbox(): Outbox | null;
  state(): State;
  update(part: Partial<State>): void;
  /** Receives the frames and syncs that parts of the client beside the inbox may want. */
  other(frame: OtherFrame["frame"]): void;
  /** `isReceiving`: changes still come in another way. */
  failed(error: CarillonError, isReceiving?: boolean): void;
  /** The user signed out in another tab, or was replaced by another user. */
  signedOut(isReplaced: boolean): void;
}

export interface Link {
  /** Returns whether the frame was sent. A follower's frame that expects no reply is sent by the leader. */
  send(frame: ClientFrame): boolean;
  /** Tells the other tabs. What only a leader can know is told by a leader only. */
  post(message: TabMessage): void;
  postStatus(): void;
  /** The inbox shows more than before. */
  ackSoon(): void;
  /** The user did something that the leader's socket should tell soon, if it is alive. */
  acted(): void;
  wake(): void;
  /** Connects again with the transports that are allowed now. */
  reconnect(): void;
  /** `isForgotten`: nothing is acknowledged any more. */
  close(isForgotten: boolean): void;
}

export function createLink(host: LinkHost): Link {
  const { environment, live, problems } = host;
  const { catchUp } = live;
  const { BroadcastChannel, locks, document, random } = environment;
  let connection: Connection | null = null;
  let tabs: Tabs | null = null;
  let isClosed = false;
  let acked: string | null = null;
  let ackTimer: ReturnType<typeof setTimeout> | undefined;

  function ackSoon(): void {
    if (connection) ackTimer ??= setTimeout(ack, ACK_MS);
  }

  /** Acknowledges everything shown, cumulatively. While polling, the next `since` has the same effect. */
  function ack(): void {
    clearTimeout(ackTimer);
    ackTimer = undefined;
    const { cursor } = live.inbox();
    if (!cursor || cursor === acked) return;
    const isEventStream = host.state().transport === "sse";
    if (!connection?.send({ action: "ack", cursor }) && !isEventStream) return;
    acked = cursor;
    // If it fails, the next one covers it too, and so does the next `since`.
    if (isEventStream) host.call("POST", "/api/ack", { body: { cursor } }).catch(() => {});
  }

  /** Only the tab that asked waits for a reply. Everything else concerns all tabs. */
  function relay(frame: Frame | OtherFrame): void {
    if (frame.type !== "other") {
      if (!isReply(frame)) post({ kind: "frame", frame });
    } else if (frame.frame["ref"] === undefined) post({ kind: "other", frame: frame.frame });
  }

  function connect(): void {
    connection?.close();
    connection = createConnection({
      environment,
      pollMs: host.pollMs,
      transports: host.transports(),
      cursor: () => live.inbox().cursor,
      isVisible: () => document?.visibilityState !== "hidden" || tabs?.isOtherVisible() === true,
      ticket: (minValidMs) => requestTicket(host, minValidMs),
      poll: catchUp.sync,
      opened() {
        // The replies to frames of an earlier socket do not come any more.
        host.outbox()?.lost();
        catchUp.keepSyncing();
        // A sync that failed waits for its next attempt, and the stream misses what happened until then.
        catchUp.wake();
        acked = null;
        ackSoon();
      },
      frame(frame) {
        relay(frame);
        receive(frame);
      },
      unreadable() {
        host.failed(new CarillonError("invalid_frame", "unreadable frame"), true);
        catchUp.keepSyncing();
      },
      failed: host.failed,
      show(wsStatus, transport) {
        host.update({ wsStatus, transport });
        if (transport !== "websocket") host.outbox()?.lost();
        postStatus();
      },
    });
    // A listener of the store may have closed the client.
    if (isClosed) connection.close();
  }

  /** A frame came, over this tab's connection or the leader's. */
  function receive(frame: Frame | OtherFrame): void {
    switch (frame.type) {
      case "other":
        return host.other(frame.frame);
      case "notification":
        if (frame.cursor !== null) return catchUp.accept(frame);
        // A copy of what has its place already is late, or doubled.
        if (live.knows(frame.notification.id)) return;
        live.change({ type: "provisional", event: frame });
        return live.emit([frame]);
      case "changed":
      case "fetch":
        return catchUp.accept(frame);
      case "resync":
        return catchUp.keepSyncing();
      case "system":
      case "dashboard":
      case "announcement":
        return live.emit([frame]);
      case "pong":
        return compare(frame.cursor, frame.etag);
      case "error":
        if (host.outbox()?.reply(frame)) return;
        // It may be the reply to a ping, so the check that the ping makes is still due.
        host.failed(new CarillonError(frame.code, frame.message, { retryAfterMs: frame.retryAfterMs }));
        return catchUp.keepSyncing();
      case "ok":
        host.outbox()?.reply(frame);
        return;
      case "sync":
        // No caller waits for it.
        return;
    }
  }

  /** Syncs if the server's inbox is another than this one. */
  function compare(present: string, digest: string | null): void {
    const { cursor, etag } = live.inbox();
    if (cursor !== present || (digest !== null && recordOf(etag) !== recordOf(digest))) catchUp.keepSyncing();
  }

  function leads(leader: boolean): void {
    host.update({ leader });
    live.leads(leader);
  }

  function lead(): void {
    leads(true);
    if (isClosed) return;
    connect();
    // A tab that is gone may have left changes behind.
    void host.outbox()?.load();
  }

  function retire(): void {
    connection?.close();
    connection = null;
    host.outbox()?.lost();
    leads(false);
    host.update({ wsStatus: "connecting", transport: null });
  }

  function post(message: TabMessage): void {
    tabs?.post(message);
  }

  function postStatus(): void {
    const { wsStatus: status, transport } = host.state();
    const { cursor, etag } = live.inbox();
    const pending = host.outbox()?.pending();
    post({
      kind: "status",
      status,
      transport,
      cursor,
      etag,
      error: problems.connection(),
      ...(pending && { pending }),
    });
  }

  function received(message: TabMessage): void {
    switch (message.kind) {
      case "hello":
        return postStatus();
      case "signOut":
        return host.signedOut(message.isReplaced);
      case "acted":
        return connection?.expectFrame();
      case "status":
        leads(false);
        host.update({ wsStatus: message.status, transport: message.transport });
        problems.setConnection(isObject(message.error) ? message.error : null);
        if (Array.isArray(message.pending)) host.outbox()?.reconcile(message.pending);
        if (message.cursor && live.inbox().cursor) compare(message.cursor, message.etag);
        return;
      case "changes":
      case "settled":
        return host.outbox()?.received(message);
      case "sync":
        if (!isSyncResponse(message.answer)) return;
        catchUp.acceptSync(message.since, message.answer, message.start);
        return host.other({ ...message.answer, type: "sync" });
      case "frame":
        return receive(message.frame);
      case "other":
        if (isObject(message.frame)) host.other(message.frame);
        return;
      case "send":
        if (isObject(message.frame)) connection?.send(message.frame);
    }
  }

  if (host.isShared && BroadcastChannel && locks) {
    tabs = joinTabs({
      BroadcastChannel,
      locks,
      document,
      random,
      name: tabsName(host.key),
      lead,
      retire,
      received,
      becameVisible: () => connection?.wake(),
    });
  } else lead();

  return {
    send(frame) {
      if (connection) return connection.send(frame);
      if (!("ref" in frame)) post({ kind: "send", frame });
      return false;
    },
    post,
    postStatus,
    ackSoon,
    acted() {
      if (connection) connection.expectFrame();
      else post({ kind: "acted" });
    },
    wake() {
      connection?.wake();
      // A socket is pinged, which an event stream cannot be.
      if (connection && host.state().transport === "sse") catchUp.keepSyncing();
    },
    reconnect() {
      if (connection) connect();
    },
    close(isForgotten) {
      if (!isForgotten && ackTimer !== undefined) ack();
      clearTimeout(ackTimer);
      isClosed = true;
      connection?.close();
      tabs?.leave();
    },
  };
}

const isReply = (frame: Frame): frame is ReplyFrame => ["pong", "ok", "sync", "error"].includes(frame.type);

/** The part of an etag that tells of the inbox and the chats. The other tells of emitted events, which need no sync. */
const recordOf = (etag: string | null): string | undefined => etag?.replace(/"/g, "").split(".")[0];
