// One user's session: combines the connection, the inbox, pending changes, the cache and the other tabs.

import { createCatchUp } from "./catchup.js";
import { type Connection, createConnection, type Ticket } from "./connection.js";
import type { Environment } from "./environment.js";
import { asError, CarillonError, closed, invalidAnswer, toProblem } from "./errors.js";
import { createExpiry } from "./expiry.js";
import type { ApiResponse, Http } from "./http.js";
import { type Inbox, type InboxChange, reduce } from "./inbox.js";
import { createIntents } from "./intents.js";
import { applyIntents, type Intent } from "./overlay.js";
import { createPause } from "./pause.js";
import { createPersistence } from "./persistence.js";
import { type Frame, isFrame, isObject, isSyncResponse } from "./protocol.js";
import type { TabMessage, Tabs } from "./tabs.js";
import type { CarillonEvent, EventCache, Problem, RequestOptions, State, Transport } from "./types.js";

const TICKET_MS = 30_000;
const ACK_MS = 500;
const MAX_SEEN = 500;

export interface SessionHost {
  readonly environment: Environment;
  readonly http: Http;
  readonly userId: string | null;
  /** Names the server and the user. */
  readonly key: string;
  readonly cache: (() => Promise<EventCache>) | null;
  readonly tabs: boolean;
  readonly pageSize: number;
  readonly pollMs: number;
  /** The inbox as it was before a `close`. */
  readonly inbox: Inbox;
  /** Ids of emitted events that listeners have received. */
  readonly seen: Set<string>;
  transports(): readonly Transport[];
  state(): State;
  update(part: Partial<State>): void;
  emit(event: CarillonEvent): void;
  report(problem: Problem): void;
}

export interface Session {
  inbox(): Inbox;
  act(kind: Intent["kind"], ids: readonly string[], type?: string): Promise<void>;
  loadMore(): Promise<void>;
  refresh(): Promise<void>;
  /** Connects again with the transports that are allowed now. */
  reconnect(): void;
  /** Writes nothing more to the cache. */
  stopSaving(): void;
  end(): void;
}

export function createSession(host: SessionHost): Session {
  const { environment, cache, seen } = host;
  const { random } = environment;
  let inbox = host.inbox;
  let hasEnded = false;
  let connection: Connection | null = null;
  let tabs: Tabs | null = null;
  let connectionProblem: Problem | null = null;
  let changeProblem: Problem | null = null;
  let skewMs = 0;
  let acked: string | null = null;
  let ackTimer: ReturnType<typeof setTimeout> | undefined;

  async function call(method: string, path: string, options?: RequestOptions): Promise<ApiResponse> {
    if (hasEnded) throw closed();
    const response = await host.http.call(method, path, options);
    // A response for a user who has left must not be shown to the next user.
    if (hasEnded) throw closed();
    return response;
  }

  function update(part: Partial<State>): void {
    if (!hasEnded) host.update(part);
  }

  function show(): void {
    const { cursor, hasMore } = inbox;
    update({ ...applyIntents(inbox, intents.all()), cursor, hasMore });
  }

  function showProblem(): void {
    update({ error: changeProblem ?? connectionProblem });
  }

  function change(inboxChange: InboxChange): void {
    const before = inbox;
    inbox = reduce(inbox, inboxChange);
    if (inbox === before) return;
    show();
    // A listener of the store may have closed the client.
    if (hasEnded) return;
    if (inbox.cursor !== before.cursor) ackSoon();
    persistence?.changed([]);
    // An event brings at most one item, so it would be wasteful to go through all of them.
    if (inboxChange.type !== "event") expiry.watch(inbox.items, true);
    else if (inboxChange.event.type === "notification") expiry.watch([inboxChange.event.notification], false);
  }

  function ackSoon(): void {
    ackTimer ??= setTimeout(ack, ACK_MS);
  }

  /** Acknowledges everything shown, cumulatively. Without a socket the next `since` has the same effect. */
  function ack(): void {
    clearTimeout(ackTimer);
    ackTimer = undefined;
    const { cursor } = inbox;
    if (cursor && cursor !== acked && connection?.send({ action: "ack", cursor })) acked = cursor;
  }

  function emit(events: readonly CarillonEvent[]): void {
    for (const event of events) {
      // An emitted event has no cursor, so a second copy can be recognised only by its id.
      if ("id" in event) {
        if (seen.has(event.id)) continue;
        seen.add(event.id);
        if (seen.size > MAX_SEEN) for (const first of seen) if (seen.delete(first)) break;
      }
      intents.observe(event);
      persistence?.changed([event]);
      host.emit(event);
    }
  }

  function failed(error: CarillonError, isReceiving = false): void {
    if (hasEnded || error.code === "closed") return;
    const problem = toProblem("connection", error);
    host.report(problem);
    if (isReceiving) return;
    connectionProblem = problem;
    showProblem();
    update({ loading: false });
  }

  const persistence =
    cache &&
    createPersistence({
      cache,
      key: host.key,
      inbox: () => inbox,
      isSaver: () => connection !== null,
      report: host.report,
    });

  const expiry = createExpiry(
    () => Date.now() + skewMs,
    () => {
      change({ type: "expire", nowMs: Date.now() + skewMs });
      // Needed even if nothing has expired yet, because a timer may be unable to wait long enough.
      expiry.watch(inbox.items, true);
    },
  );

  const catchUp = createCatchUp({
    pageSize: host.pageSize,
    random,
    call,
    inbox: () => inbox,
    change,
    emit,
    relay: (since, answer, start) => post({ kind: "sync", since, answer, start }),
    beginSync() {
      const dropDone = intents.takeDone();
      return () => {
        if (hasEnded) return;
        dropDone();
        connectionProblem = null;
        showProblem();
        update({ loading: false, fromCache: false });
      };
    },
    failed,
  });

  const intents = createIntents({
    random,
    call,
    changed: show,
    failed,
    refused(error) {
      changeProblem = toProblem("change", error);
      host.report(changeProblem);
      showProblem();
    },
    keepSyncing: () => catchUp.keepSyncing(),
  });

  function receive(frame: Frame): void {
    switch (frame.type) {
      case "notification":
      case "changed":
      case "fetch":
        post({ kind: "frame", frame });
        return catchUp.accept(frame);
      case "resync":
        post({ kind: "frame", frame });
        return catchUp.keepSyncing();
      case "system":
      case "dashboard":
      case "announcement":
        post({ kind: "frame", frame });
        return emit([frame]);
      case "pong":
        return syncIfDifferent(frame.cursor, frame.etag);
      case "error":
        // It may be the reply to a ping, so the check that the ping makes is still due.
        failed(new CarillonError(frame.code, frame.message, { retryAfterMs: frame.retryAfterMs }));
        return catchUp.keepSyncing();
      case "ok":
      case "sync":
        // No caller waits for these replies.
        return;
    }
  }

  function syncIfDifferent(cursor: string, etag: string | null): void {
    if (inbox.cursor !== cursor || (etag !== null && inbox.etag !== etag)) catchUp.keepSyncing();
  }

  async function ticket(minValidMs?: number): Promise<Ticket> {
    const token = await host.http.token(minValidMs);
    const { body } = await call("POST", "/api/ws/ticket");
    if (!isObject(body) || typeof body["ticket"] !== "string") throw invalidAnswer();
    const { ticket, url, eventsUrl, expiresAt } = body;
    const issuedMs = Date.parse(String(expiresAt)) - TICKET_MS;
    let validMs = token.expiresMs;
    if (validMs !== null) {
      // A ticket expires with its token at the latest. One that expires earlier reveals the server's time.
      if (issuedMs + TICKET_MS < validMs) skewMs = issuedMs - Date.now();
      validMs = Math.max(0, validMs - Date.now() - skewMs);
    }
    return { ticket, urls: { websocket: url, sse: eventsUrl }, validMs };
  }

  function connect(): void {
    connection?.close();
    acked = null;
    connection = createConnection({
      environment,
      pollMs: host.pollMs,
      transports: host.transports(),
      ticket,
      poll: () => catchUp.sync(),
      opened() {
        catchUp.keepSyncing();
        acked = null;
        ackSoon();
      },
      frame: receive,
      unreadable() {
        failed(new CarillonError("invalid_frame", "unreadable frame"), true);
        catchUp.keepSyncing();
      },
      failed,
      show(wsStatus, transport) {
        update({ wsStatus, transport });
        postStatus();
      },
    });
  }

  function lead(): void {
    if (hasEnded) return;
    update({ leader: true });
    connect();
  }

  function retire(): void {
    connection?.close();
    connection = null;
    update({ leader: false, wsStatus: "connecting", transport: null });
  }

  function post(message: TabMessage): void {
    if (connection) tabs?.post(message);
  }

  function postStatus(): void {
    const { wsStatus: status, transport } = host.state();
    post({ kind: "status", status, transport, cursor: inbox.cursor, etag: inbox.etag });
  }

  function received(message: TabMessage): void {
    switch (message.kind) {
      case "hello":
        return postStatus();
      case "status":
        update({ wsStatus: message.status, transport: message.transport });
        if (message.cursor && inbox.cursor) syncIfDifferent(message.cursor, message.etag);
        return;
      case "sync":
        if (isSyncResponse(message.answer)) catchUp.acceptSync(message.since, message.answer, message.start);
        return;
      case "frame":
        if (isFrame(message.frame)) receive(message.frame);
    }
  }

  async function begin(): Promise<void> {
    if (inbox.cursor === null) {
      const cached = await persistence?.load();
      if (hasEnded) return;
      if (cached && inbox.cursor === null) {
        change({ type: "cached", cached });
        update({ fromCache: true, loading: false });
      }
    }
    catchUp.keepSyncing();
    const { BroadcastChannel, locks, document } = environment;
    if (!host.tabs || host.userId === null || !BroadcastChannel || !locks) return lead();
    try {
      // Loaded on demand: a client that does not share its connection does not download it.
      const { joinTabs } = await import("./tabs.js");
      if (hasEnded) return;
      const name = `carillon/1 ${host.key}`;
      tabs = joinTabs({ BroadcastChannel, locks, document, name, pause: createPause(), lead, retire, received });
    } catch {
      if (!hasEnded) lead();
    }
  }

  function onVisibilityChange(): void {
    // Becoming hidden may be the last event before the page is discarded.
    if (environment.document?.visibilityState === "hidden") persistence?.flush();
    else wake();
  }

  function wake(): void {
    catchUp.wake();
    intents.wake();
    connection?.wake();
  }

  /** Shows a rejection in `error`, for callers that ignore the promise. */
  function withProblem(promise: Promise<void>): Promise<void> {
    promise.catch((thrown) => failed(asError(thrown)));
    return promise;
  }

  function listen(how: "addEventListener" | "removeEventListener"): void {
    environment.document?.[how]("visibilitychange", onVisibilityChange);
    // Both are only hints: after `online` a retry may succeed, after `offline` the socket may be dead.
    for (const hint of ["online", "offline"]) environment.window?.[how](hint, wake);
  }

  listen("addEventListener");
  void begin();

  return {
    inbox: () => inbox,
    act(kind, ids, type) {
      changeProblem = null;
      showProblem();
      const before = inbox.cursor ?? inbox.items[0]?.cursor ?? null;
      // Nothing has arrived on this client, and without a bound the server would mark the whole inbox.
      if (kind === "readAll" && before === null) return Promise.resolve();
      return intents.add(kind, ids, before, type);
    },
    loadMore() {
      if (!inbox.hasMore) return Promise.resolve();
      update({ loading: true });
      return withProblem(catchUp.loadMore().finally(() => update({ loading: false })));
    },
    refresh() {
      changeProblem = null;
      showProblem();
      return withProblem(catchUp.sync());
    },
    reconnect() {
      if (connection) connect();
    },
    stopSaving: () => persistence?.stop(),
    end() {
      if (ackTimer !== undefined) ack();
      persistence?.flush();
      persistence?.stop();
      intents.stop();
      // A change without an answer may never have arrived.
      const confirmed = applyIntents(
        inbox,
        intents.all().filter(({ isDone }) => isDone),
      );
      update({ ...confirmed, wsStatus: "closed", transport: null, leader: false, loading: false });
      hasEnded = true;
      listen("removeEventListener");
      clearTimeout(ackTimer);
      expiry.stop();
      catchUp.stop();
      connection?.close();
      tabs?.leave();
    },
  };
}
