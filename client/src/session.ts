// One user's inbox from beginning to end: what is known, done, kept, and told to the other tabs.

import { createCatchUp } from "./catchup.js";
import { type Connection, createConnection, type Ticket } from "./connection.js";
import type { Environment } from "./environment.js";
import { createExpiry } from "./expiry.js";
import type { Answer, Http } from "./http.js";
import { type Inbox, type InboxChange, reduce } from "./inbox.js";
import { createIntents } from "./intents.js";
import { createKeeper } from "./keeper.js";
import { type Intent, overlaid } from "./overlay.js";
import { createPause } from "./pause.js";
import { asError, CarillonError, closed, invalid, problem } from "./problem.js";
import { type Frame, isFrame, isObject, isSyncAnswer } from "./protocol.js";
import type { TabMessage, Tabs } from "./tabs.js";
import type { CarillonEvent, EventCache, Problem, RequestOptions, State, Transport } from "./types.js";

const TICKET_MS = 30_000;
const ACK_MS = 500;
const MAX_SEEN = 500;

export interface SessionHost {
  readonly environment: Environment;
  readonly http: Http;
  readonly userId: string | null;
  /** Names server and user. */
  readonly key: string;
  readonly cache: (() => Promise<EventCache>) | null;
  readonly tabs: boolean;
  readonly pageSize: number;
  readonly pollMs: number;
  /** What is known already, from before a `close`. */
  readonly inbox: Inbox;
  /** Ids of what was emitted and told. */
  readonly seen: Set<string>;
  transports(): readonly Transport[];
  state(): State;
  update(part: Partial<State>): void;
  tell(event: CarillonEvent): void;
  report(problem: Problem): void;
}

export interface Session {
  inbox(): Inbox;
  act(kind: Intent["kind"], ids: readonly string[], type?: string): Promise<void>;
  loadMore(): Promise<void>;
  refresh(): Promise<void>;
  /** Connects anew, with the transports that are allowed now. */
  reconnect(): void;
  /** Keeps nothing from now on. */
  forget(): void;
  end(): void;
}

export function createSession(host: SessionHost): Session {
  const { environment, cache, seen } = host;
  const { random } = environment;
  let inbox = host.inbox;
  let isOver = false;
  let connection: Connection | null = null;
  let tabs: Tabs | null = null;
  let connectionProblem: Problem | null = null;
  let changeProblem: Problem | null = null;
  let skewMs = 0;
  let acked: string | null = null;
  let ackTimer: ReturnType<typeof setTimeout> | undefined;

  async function call(method: string, path: string, options?: RequestOptions): Promise<Answer> {
    if (isOver) throw closed();
    const answer = await host.http.call(method, path, options);
    // An answer for somebody who has left must not be shown to whoever came after.
    if (isOver) throw closed();
    return answer;
  }

  function update(part: Partial<State>): void {
    if (!isOver) host.update(part);
  }

  function show(): void {
    const { cursor, hasMore } = inbox;
    update({ ...overlaid(inbox, intents.all()), cursor, hasMore });
  }

  function showProblem(): void {
    update({ error: changeProblem ?? connectionProblem });
  }

  function change(what: InboxChange): void {
    const before = inbox;
    inbox = reduce(inbox, what);
    if (inbox === before) return;
    show();
    // Whoever was shown it may have closed.
    if (isOver) return;
    if (inbox.cursor !== before.cursor) ackSoon();
    keeper?.note([]);
    // An event brings one item; to look at all of them for each would be for nothing.
    if (what.type !== "event") expiry.mind(inbox.items, true);
    else if (what.event.type === "notification") expiry.mind([what.event.notification], false);
  }

  function ackSoon(): void {
    ackTimer ??= setTimeout(ack, ACK_MS);
  }

  /** What was shown, cumulative. Without a socket the next `since` says the same. */
  function ack(): void {
    clearTimeout(ackTimer);
    ackTimer = undefined;
    const { cursor } = inbox;
    if (cursor && cursor !== acked && connection?.send({ action: "ack", cursor })) acked = cursor;
  }

  function tell(events: readonly CarillonEvent[]): void {
    for (const event of events) {
      // What was emitted has no cursor by which a second copy would be known.
      if ("id" in event) {
        if (seen.has(event.id)) continue;
        seen.add(event.id);
        if (seen.size > MAX_SEEN) for (const first of seen) if (seen.delete(first)) break;
      }
      intents.observe(event);
      keeper?.note([event]);
      host.tell(event);
    }
  }

  function failed(error: CarillonError, isServed = false): void {
    if (isOver || error.code === "closed") return;
    const what = problem("connection", error);
    host.report(what);
    if (isServed) return;
    connectionProblem = what;
    showProblem();
    update({ loading: false });
  }

  const keeper =
    cache &&
    createKeeper({
      cache,
      key: host.key,
      inbox: () => inbox,
      isKeeping: () => connection !== null,
      report: host.report,
    });

  const expiry = createExpiry(
    () => Date.now() + skewMs,
    () => {
      change({ type: "passed", nowMs: Date.now() + skewMs });
      // Also where nothing has passed yet, as when a timer cannot wait so long.
      expiry.mind(inbox.items, true);
    },
  );

  const catchUp = createCatchUp({
    pageSize: host.pageSize,
    random,
    call,
    inbox: () => inbox,
    change,
    tell,
    relay: (since, answer, start) => post({ kind: "sync", since, answer, start }),
    asking() {
      const settle = intents.settling();
      return () => {
        if (isOver) return;
        settle();
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
      changeProblem = problem("change", error);
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
        return tell([frame]);
      case "pong":
        return compare(frame.cursor, frame.etag);
      case "error":
        // Perhaps the answer to a ping, which then has told nothing.
        failed(new CarillonError(frame.code, frame.message, { retryAfterMs: frame.retryAfterMs }));
        return catchUp.keepSyncing();
      case "ok":
      case "sync":
        // Answers to nothing that is still waited for.
        return;
    }
  }

  function compare(cursor: string, etag: string | null): void {
    if (inbox.cursor !== cursor || (etag !== null && inbox.etag !== etag)) catchUp.keepSyncing();
  }

  async function ticket(spareMs?: number): Promise<Ticket> {
    const token = await host.http.token(spareMs);
    const { body } = await call("POST", "/api/ws/ticket");
    if (!isObject(body) || typeof body["ticket"] !== "string") throw invalid();
    const { ticket, url, eventsUrl, expiresAt } = body;
    const issuedMs = Date.parse(String(expiresAt)) - TICKET_MS;
    let lastsMs = token.endsMs;
    if (lastsMs !== null) {
      // A ticket ends with its token; one that does not tells how late it is on the server.
      if (issuedMs + TICKET_MS < lastsMs) skewMs = issuedMs - Date.now();
      lastsMs = Math.max(0, lastsMs - Date.now() - skewMs);
    }
    return { ticket, urls: { websocket: url, sse: eventsUrl }, lastsMs };
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
        failed(new CarillonError("invalid_frame", "a frame that nobody can read"), true);
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
    if (isOver) return;
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

  function told(message: TabMessage): void {
    switch (message.kind) {
      case "hello":
        return postStatus();
      case "status":
        update({ wsStatus: message.status, transport: message.transport });
        if (message.cursor && inbox.cursor) compare(message.cursor, message.etag);
        return;
      case "sync":
        if (isSyncAnswer(message.answer)) catchUp.acceptSync(message.since, message.answer, message.start);
        return;
      case "frame":
        if (isFrame(message.frame)) receive(message.frame);
    }
  }

  async function begin(): Promise<void> {
    if (inbox.cursor === null) {
      const cached = await keeper?.load();
      if (isOver) return;
      if (cached && inbox.cursor === null) {
        change({ type: "cached", cached });
        update({ fromCache: true, loading: false });
      }
    }
    catchUp.keepSyncing();
    const { BroadcastChannel, locks, document } = environment;
    if (!host.tabs || host.userId === null || !BroadcastChannel || !locks) return lead();
    try {
      // Loaded where it is used: whoever works alone does without.
      const { joinTabs } = await import("./tabs.js");
      if (isOver) return;
      const name = `carillon/1 ${host.key}`;
      tabs = joinTabs({ BroadcastChannel, locks, document, name, pause: createPause(), lead, retire, told });
    } catch {
      if (!isOver) lead();
    }
  }

  function looked(): void {
    // Hidden may be the last that is heard of a page.
    if (environment.document?.visibilityState === "hidden") keeper?.flush();
    else wake();
  }

  function wake(): void {
    catchUp.wake();
    intents.wake();
    connection?.wake();
  }

  /** Whoever does not wait for it reads `error` instead. */
  function shown(promise: Promise<void>): Promise<void> {
    promise.catch((thrown) => failed(asError(thrown)));
    return promise;
  }

  function listen(how: "addEventListener" | "removeEventListener"): void {
    environment.document?.[how]("visibilitychange", looked);
    // Hints, both: the one that it is worth trying, the other that it is worth finding out.
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
      // Nothing has arrived here; without a bound it would be all that is there.
      if (kind === "readAll" && before === null) return Promise.resolve();
      return intents.add(kind, ids, before, type);
    },
    loadMore() {
      if (!inbox.hasMore) return Promise.resolve();
      update({ loading: true });
      return shown(catchUp.loadMore().finally(() => update({ loading: false })));
    },
    refresh() {
      changeProblem = null;
      showProblem();
      return shown(catchUp.sync());
    },
    reconnect() {
      if (connection) connect();
    },
    forget: () => keeper?.forget(),
    end() {
      if (ackTimer !== undefined) ack();
      keeper?.flush();
      keeper?.forget();
      intents.stop();
      // What has no answer may never have arrived.
      const confirmed = overlaid(
        inbox,
        intents.all().filter(({ isDone }) => isDone),
      );
      update({ ...confirmed, wsStatus: "closed", transport: null, leader: false, loading: false });
      isOver = true;
      listen("removeEventListener");
      clearTimeout(ackTimer);
      expiry.stop();
      catchUp.stop();
      connection?.close();
      tabs?.leave();
    },
  };
}
