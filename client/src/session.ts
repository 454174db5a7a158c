// One user's session: combines the inbox, the user's changes, and the link to the server.

import { backoffMs } from "./backoff.js";
import type { Environment } from "./environment.js";
import { asError, type CarillonError, closed, notLoaded, toProblem } from "./errors.js";
import type { ApiResponse, Http } from "./http.js";
import type { Inbox } from "./inbox.js";
import { createIntents } from "./intents.js";
import type { Link } from "./link.js";
import { createLiveInbox } from "./liveInbox.js";
import type { Outbox } from "./outbox.js";
import { applyIntents, type Intent } from "./overlay.js";
import { createPause } from "./pause.js";
import { createProblems } from "./problems.js";
import type { ClientFrame, OtherFrame } from "./protocol.js";
import type { CarillonEvent, EventCache, Problem, RequestOptions, State, Transport } from "./types.js";
import type { Followed, ViewHost } from "./view.js";

/** How long a cached inbox waits for the changes on top of it. */
const LOAD_MS = 1_000;

/** What a session leaves to the next one of the same user. */
export interface Known {
  readonly inbox: Inbox;
  /** The changes that have no answer yet. */
  readonly intents: readonly Intent[];
}

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
  readonly wsUrl: string | undefined;
  /** What the user's session before knew. */
  readonly known: Known;
  /** Ids of emitted events that listeners have received. */
  readonly seen: Set<string>;
  transports(): readonly Transport[];
  state(): State;
  update(part: Partial<State>): void;
  /** Calls the listeners that want it in every tab, or those that want it in one. */
  emit(event: CarillonEvent, inEveryTab: boolean): void;
  report(problem: Problem): void;
  /** Receives the frames and syncs that parts of the client beside the inbox may want. */
  other(frame: OtherFrame["frame"]): void;
  /** The user signed out in another tab, or was replaced by another user. */
  signedOut(isReplaced: boolean): void;
}

export interface Session {
  known(): Known;
  act(kind: Intent["kind"], ids: readonly string[], type?: string, until?: string): Promise<void>;
  loadMore(): Promise<void>;
  dismissError(): void;
  refresh(): Promise<void>;
  /** Returns whether the frame was sent. A follower's frame that expects no reply is sent by the leader. */
  send(frame: ClientFrame): boolean;
  /** Connects again with the transports that are allowed now. */
  reconnect(): void;
  /** `isForgotten`: nothing is shown, saved or acknowledged on the way out. */
  end(isForgotten?: boolean): void;
  readonly viewHost: ViewHost;
  /** For the views that follow the inbox. */
  readonly followed: Followed;
}

export function createSession(host: SessionHost): Session {
  const { environment, cache } = host;
  const { random } = environment;
  const followed: Followed = { followers: new Set(), unreadChange: () => 0 };
  const loadPause = createPause();
  const startPause = createPause();
  let hasEnded = false;
  let link: Link | null = null;
  let outbox: Outbox | null = null;
  let skewMs = 0;

  async function call(method: string, path: string, options?: RequestOptions): Promise<ApiResponse> {
    if (hasEnded) throw closed();
    const response = await host.http.call(method, path, options);
    // A response for a user who has left must not be shown to the next user.
    if (hasEnded) throw closed();
    return response;
  }

  const now = (): number => Date.now() + skewMs;
  const isLeader = (): boolean => host.state().leader;

  function update(part: Partial<State>): void {
    if (!hasEnded) host.update(part);
  }

  const problems = createProblems(host.report, () => update({ error: problems.shown() }));

  function show(): void {
    const inbox = live.inbox();
    const { cursor, hasMore } = inbox;
    const all = intents.all();
    const { notifications, unreadCount } = applyIntents(inbox, all);
    update({ notifications, unreadCount: unreadCount + followed.unreadChange(inbox, all), cursor, hasMore });
    for (const follower of followed.followers) follower.show();
  }

  function setConnectionProblem(problem: Problem | null): void {
    if (problem === problems.connection()) return;
    problems.setConnection(problem);
    link?.postStatus();
  }

  function failed(error: CarillonError, isReceiving = false): void {
    if (hasEnded || error.code === "closed") return;
    const problem = toProblem("connection", error);
    host.report(problem);
    if (!isReceiving) setConnectionProblem(problem);
  }

  const live = createLiveInbox({
    ...host,
    known: host.known.inbox,
    random,
    now,
    call,
    isLeader,
    changed(change, before) {
      for (const follower of followed.followers) follower.follow(change, before);
      show();
      // A listener of the store may have closed the client.
      if (hasEnded) return false;
      if (live.inbox().cursor !== before.cursor) link?.ackSoon();
      return true;
    },
    observe: (event) => outbox?.observe(event),
    relay(since, answer, start) {
      link?.post({ kind: "sync", since, answer, start });
      host.other({ ...answer, type: "sync" });
    },
    beginSync() {
      const dropDone = intents.takeDone();
      return () => {
        if (hasEnded) return;
        dropDone();
        outbox?.resume();
        setConnectionProblem(null);
        update({ loading: false, fromCache: false });
        // The server answers, so a view need not wait for its backoff.
        for (const { wake } of followed.followers) wake();
      };
    },
    failed,
  });
  const { catchUp } = live;

  const intents = createIntents({
    initial: host.known.intents,
    changed: show,
    added: (intent) => outbox?.add(intent),
    isProvisional: (id) => live.inbox().provisional.some((item) => item.id === id),
  });

  /** Loads a part of the client on demand, if need be again and again. `null`: the session has ended. */
  async function load<T>(part: () => Promise<T>): Promise<T | null> {
    for (let failures = 1; !hasEnded; failures++) {
      const loaded = await part().catch(() => null);
      if (loaded) return hasEnded ? null : loaded;
      failed(notLoaded());
      await loadPause.for(backoffMs(failures, random));
    }
    return null;
  }

  /** Until it is loaded, changes only show. */
  async function loadOutbox(): Promise<void> {
    const loaded = await load(() => import("./outbox.js"));
    if (!loaded) return;
    outbox = loaded.createOutbox({
      intents,
      cache,
      key: host.key,
      random,
      call,
      send: (frame) => link?.send(frame) ?? false,
      isSender: isLeader,
      post: (message) => link?.post(message),
      find: (id) => live.inbox().items.find((item) => item.id === id),
      changed: show,
      failed,
      refused(error, { kind }, ids) {
        problems.failed("change", error, { action: kind, ...(kind !== "readAll" && { ids }) });
      },
      keepSyncing: catchUp.keepSyncing,
      storageFailed: live.storageFailed,
    });
    await outbox.load();
  }

  async function begin(): Promise<void> {
    const outboxLoaded = loadOutbox();
    const linkLoaded = load(() => import("./link.js"));
    const isKnown = (): boolean => live.inbox().cursor !== null;
    if (!isKnown()) {
      const cached = await live.load();
      // What the user has changed must not show unchanged first.
      if (cached) await Promise.race([outboxLoaded, startPause.for(LOAD_MS)]);
      if (hasEnded) return;
      if (cached && !isKnown()) {
        live.change({ type: "cached", cached });
        update({ fromCache: true, loading: cached.items.length === 0 });
      }
    }
    catchUp.keepSyncing();
    const loaded = await linkLoaded;
    if (!loaded || hasEnded) return;
    link = loaded.createLink({
      environment,
      key: host.key,
      isShared: host.tabs && host.userId !== null,
      pollMs: host.pollMs,
      wsUrl: host.wsUrl,
      live,
      problems,
      transports: host.transports,
      token: host.http.token,
      call,
      now,
      skewed(ms) {
        skewMs = ms;
      },
      outbox: () => outbox,
      state: host.state,
      update,
      other: host.other,
      failed,
      signedOut: host.signedOut,
    });
    // A listener of the store may have closed the client.
    if (hasEnded) link.close(true);
  }

  /** Whether a change would change nothing. A notification that does not show may be anything. */
  function isShownAs(kind: Intent["kind"], id: string): boolean {
    if (kind !== "read" && kind !== "unread") return false;
    const shown = host.state().notifications.find((item) => item.id === id);
    return shown !== undefined && (shown.readAt === null) === (kind === "unread");
  }

  function onVisibilityChange(): void {
    // Becoming hidden may be the last event before the page is discarded.
    if (environment.document?.visibilityState === "hidden") live.flush();
    else wake();
  }

  function wake(): void {
    loadPause.wake();
    catchUp.wake();
    for (const { wake } of followed.followers) wake();
    outbox?.wake();
    link?.wake();
  }

  function listen(how: "addEventListener" | "removeEventListener"): void {
    environment.document?.[how]("visibilitychange", onVisibilityChange);
    // All are only hints: after `online` a retry may succeed, after `offline` or a while elsewhere the socket may be dead.
    for (const hint of ["online", "offline", "focus"]) environment.window?.[how](hint, wake);
  }

  function acted(): void {
    problems.acting();
    link?.acted();
  }

  listen("addEventListener");
  void begin();

  return {
    known: () => ({ inbox: live.inbox(), intents: intents.all().filter(({ isDone }) => !isDone) }),
    followed,
    viewHost: {
      pageSize: host.pageSize,
      random,
      now,
      call,
      inbox: live.inbox,
      unreadCount: () => host.state().unreadCount,
      intents: intents.all,
      acted: () => link?.acted(),
      report: host.report,
    },
    act(kind, ids, type, until) {
      const { cursor, items, provisional } = live.inbox();
      const before = cursor ?? items[0]?.cursor ?? null;
      acted();
      if (kind === "readAll") {
        // No bound covers what is not written yet.
        const unbound = provisional.flatMap((item) => (type === undefined || item.type === type ? item.id : []));
        const marked = intents.add("read", unbound, null);
        // Nothing else has arrived on this client, and without a bound the server would mark the whole inbox.
        if (before === null) return marked;
      }
      return intents.add(
        kind,
        ids.filter((id) => !isShownAs(kind, id)),
        before,
        type,
        until,
      );
    },
    loadMore() {
      if (!live.inbox().hasMore) return Promise.resolve();
      acted();
      update({ loadingMore: true });
      const loaded = catchUp.loadMore().finally(() => update({ loadingMore: false }));
      return problems.watch(loaded, "loadMore");
    },
    dismissError: problems.dismiss,
    refresh() {
      acted();
      const synced = catchUp.sync();
      // A caller may ignore the promise, so its rejection also shows in `error`.
      synced.catch((thrown) => failed(asError(thrown)));
      return synced;
    },
    send: (frame) => link?.send(frame) ?? false,
    reconnect: () => link?.reconnect(),
    end(isForgotten = false) {
      if (isForgotten) hasEnded = true;
      else live.flush();
      outbox?.stop(isForgotten);
      startPause.wake();
      update({ wsStatus: "closed", transport: null, leader: false, loadingMore: false });
      hasEnded = true;
      listen("removeEventListener");
      live.stop();
      loadPause.wake();
      link?.close(isForgotten);
    },
  };
}
