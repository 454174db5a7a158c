// The client: finds out who the user is, and runs one session for as long as the user stays the same.

import { backoffMs } from "./backoff.js";
import { resolveEnvironment } from "./environment.js";
import { asError, CarillonError, closed, storageProblem, toProblem } from "./errors.js";
import { createHttp } from "./http.js";
import { emptyInbox, type Inbox } from "./inbox.js";
import type { Intent } from "./overlay.js";
import { createPause } from "./pause.js";
import { createSession, type Session } from "./session.js";
import { createStore, isolate } from "./store.js";
import type { Token } from "./token.js";
import type { CarillonEvent, Client, ClientOptions, EventCache, Problem, State, Transport } from "./types.js";

const initial: State = {
  notifications: [],
  unreadCount: 0,
  cursor: null,
  hasMore: false,
  loading: false,
  error: null,
  wsStatus: "closed",
  transport: null,
  leader: false,
  userId: null,
  fromCache: false,
};

/** Makes a client. It does nothing before `connect`. */
export function createClient(options: ClientOptions): Client {
  const environment = resolveEnvironment(options.environment);
  const { store, update } = createStore<State>(initial);
  const listeners = new Set<(event: CarillonEvent) => void>();
  const cache = resolveCache(options.cache ?? true, environment.indexedDB);
  const pause = createPause();
  const seen = new Set<string>();
  const report = (problem: Problem): void => isolate(() => options.onProblem?.(problem));
  let transports: readonly Transport[] = options.transports ?? ["websocket", "polling"];
  /** Identifies the present `connect`; `null` while closed. */
  let activeConnect: object | null = null;
  let session: Session | null = null;
  let sessionUser: string | null = null;
  let inbox: Inbox = emptyInbox;

  const http = createHttp({
    baseUrl: options.baseUrl,
    getToken: options.getToken,
    fetch: environment.fetch,
    onToken: checkUser,
  });

  /** After another user signs in, nothing of the previous user may be shown or changed. */
  function checkUser(token: Token): void {
    // A token that names no user does not contradict the session.
    if (!session || token.userId === null || token.userId === sessionUser) return;
    endSession();
    startSession(token.userId);
    throw userChanged();
  }

  const keyOf = (userId: string): string => `${options.baseUrl} ${userId}`;

  function startSession(userId: string | null): void {
    if (userId === null || userId !== store.getState().userId) {
      inbox = emptyInbox;
      seen.clear();
      update({ ...initial, wsStatus: "connecting", userId });
    }
    sessionUser = userId;
    update({ wsStatus: "connecting", loading: store.getState().notifications.length === 0 });
    session = createSession({
      environment,
      http,
      userId,
      key: keyOf(userId ?? ""),
      cache: userId === null ? null : cache,
      tabs: options.tabs ?? true,
      pageSize: options.pageSize ?? 50,
      pollMs: options.pollMs ?? 5_000,
      inbox,
      seen,
      transports: () => transports,
      state: store.getState,
      update,
      emit(event) {
        for (const listener of listeners) isolate(() => listener(event));
      },
      report,
    });
  }

  function endSession(): void {
    const ending = session;
    if (!ending) return;
    // A listener that is notified of the end may call `close` again.
    session = null;
    inbox = ending.inbox();
    ending.end();
  }

  /** Finds out who the user is, and starts the session. */
  async function begin(connect: object): Promise<void> {
    if (options.userId !== undefined) return startSession(store.getState().userId ?? options.userId);
    update({ wsStatus: "connecting", loading: true });
    for (let failures = 1; activeConnect === connect; failures++) {
      try {
        const { userId } = await http.token();
        if (activeConnect === connect) startSession(userId);
        return;
      } catch (thrown) {
        if (activeConnect !== connect) return;
        const error = toProblem("connection", asError(thrown));
        report(error);
        const isReachable = error.code !== "no_answer" && environment.isOnline();
        update({ error, loading: false, wsStatus: isReachable ? "reconnecting" : "offline" });
        await pause.for(backoffMs(failures, environment.random, error.retryAfterMs));
      }
    }
  }

  function act(kind: Intent["kind"], id: string | readonly string[], type?: string): Promise<void> {
    return session?.act(kind, typeof id === "string" ? [id] : id, type) ?? notConnected();
  }

  async function withCache<T>(use: (cache: EventCache, key: string) => Promise<T>, fallback: T): Promise<T> {
    const { userId } = store.getState();
    if (!cache || userId === null) return fallback;
    try {
      return await use(await cache(), keyOf(userId));
    } catch (thrown) {
      report(storageProblem(thrown));
      return fallback;
    }
  }

  return {
    store,
    connect() {
      if (activeConnect) return;
      const connect = {};
      activeConnect = connect;
      environment.window?.addEventListener("online", pause.wake);
      // React's strict mode connects, closes and connects again within one turn. Only the last call counts.
      queueMicrotask(() => {
        if (activeConnect === connect) void begin(connect);
      });
    },
    close() {
      activeConnect = null;
      environment.window?.removeEventListener("online", pause.wake);
      pause.wake();
      endSession();
      // The next `connect` may be for another user.
      http.forget();
      update({ wsStatus: "closed", loading: false });
    },
    setTransports(allowed) {
      transports = allowed;
      session?.reconnect();
    },
    onEvent(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    markAsRead: (id) => act("read", id),
    markAsUnread: (id) => act("unread", id),
    markAllAsRead: (type) => act("readAll", [], type),
    deleteNotification: (id) => act("delete", id),
    loadMore: () => session?.loadMore() ?? notConnected(),
    refresh: () => session?.refresh() ?? notConnected(),
    async request<T>(method: string, path: string, request = {}) {
      const { userId } = store.getState();
      const { body } = await http.call(method, path, request);
      // The response belongs to the user who made the call.
      if (userId !== null && userId !== store.getState().userId) throw userChanged();
      return body as T;
    },
    cacheEvent: (event) => withCache((opened, key) => opened.addEvents(key, [event]), undefined),
    loadCachedEvents: () => withCache<CarillonEvent[]>((opened, key) => opened.loadEvents(key), []),
    clearCache() {
      session?.stopSaving();
      return withCache((opened, key) => opened.clear(key), undefined);
    },
  };
}

const userChanged = (): CarillonError => new CarillonError("user_changed", "the token has another user");

function notConnected(): Promise<void> {
  const refusal = Promise.reject(closed());
  // A caller may ignore any refusal, so this one is no unhandled rejection either.
  refusal.catch(() => {});
  return refusal;
}

/** Our cache is loaded on demand: an application with its own cache, or without one, does not download it. */
function resolveCache(choice: boolean | EventCache, indexedDB: IDBFactory | null): (() => Promise<EventCache>) | null {
  if (typeof choice === "object") return async () => choice;
  if (!choice || !indexedDB) return null;
  let loading: Promise<EventCache> | undefined;
  return () => {
    loading ??= import("./cache.js").then(({ createIndexedDbCache }) => createIndexedDbCache(indexedDB));
    return loading;
  };
}
