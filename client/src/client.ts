// The client: who the user is, and one session for as long as that stays.

import { backoffMs } from "./backoff.js";
import { environment as surroundings } from "./environment.js";
import { createHttp } from "./http.js";
import { emptyInbox, type Inbox } from "./inbox.js";
import type { Intent } from "./overlay.js";
import { createPause } from "./pause.js";
import { asError, CarillonError, closed, problem, storageProblem } from "./problem.js";
import { createSession, type Session } from "./session.js";
import { apart, createStore } from "./store.js";
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

/** Makes a client. Nothing happens before `connect`. */
export function createClient(options: ClientOptions): Client {
  const environment = surroundings(options.environment);
  const { store, update } = createStore<State>(initial);
  const listeners = new Set<(event: CarillonEvent) => void>();
  const cache = chosenCache(options.cache ?? true, environment.indexedDB);
  const pause = createPause();
  const seen = new Set<string>();
  const report = (what: Problem): void => apart(() => options.onProblem?.(what));
  let transports: readonly Transport[] = options.transports ?? ["websocket", "polling"];
  let wanted: object | null = null;
  let session: Session | null = null;
  let sessionUser: string | null = null;
  let inbox: Inbox = emptyInbox;

  const http = createHttp({
    baseUrl: options.baseUrl,
    getToken: options.getToken,
    fetch: environment.fetch,
    onToken: checkUser,
  });

  /** Somebody else has signed in: nothing of the one before may be shown or changed. */
  function checkUser(token: Token): void {
    // A token that does not say whose it is contradicts nobody.
    if (!session || token.userId === null || token.userId === sessionUser) return;
    leave();
    enter(token.userId);
    throw userChanged();
  }

  const keyOf = (userId: string): string => `${options.baseUrl} ${userId}`;

  function enter(userId: string | null): void {
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
      tell(event) {
        for (const listener of listeners) apart(() => listener(event));
      },
      report,
    });
  }

  function leave(): void {
    const left = session;
    if (!left) return;
    // A listener that hears of the end may close once more.
    session = null;
    inbox = left.inbox();
    left.end();
  }

  /** Learns who the user is, and enters. */
  async function begin(mine: object): Promise<void> {
    if (options.userId !== undefined) return enter(store.getState().userId ?? options.userId);
    update({ wsStatus: "connecting", loading: true });
    for (let failures = 1; wanted === mine; failures++) {
      try {
        const { userId } = await http.token();
        if (wanted === mine) enter(userId);
        return;
      } catch (thrown) {
        if (wanted !== mine) return;
        const error = problem("connection", asError(thrown));
        report(error);
        const isThere = error.code !== "no_answer" && environment.isOnline();
        update({ error, loading: false, wsStatus: isThere ? "reconnecting" : "offline" });
        await pause.for(backoffMs(failures, environment.random, error.retryAfterMs));
      }
    }
  }

  function act(kind: Intent["kind"], id: string | readonly string[], type?: string): Promise<void> {
    return session?.act(kind, typeof id === "string" ? [id] : id, type) ?? notConnected();
  }

  async function cached<T>(use: (cache: EventCache, key: string) => Promise<T>, otherwise: T): Promise<T> {
    const { userId } = store.getState();
    if (!cache || userId === null) return otherwise;
    try {
      return await use(await cache(), keyOf(userId));
    } catch (thrown) {
      report(storageProblem(thrown));
      return otherwise;
    }
  }

  return {
    store,
    connect() {
      if (wanted) return;
      const mine = {};
      wanted = mine;
      environment.window?.addEventListener("online", pause.wake);
      // React's strict mode connects, closes and connects again within one turn: that is one connection.
      queueMicrotask(() => {
        if (wanted === mine) void begin(mine);
      });
    },
    close() {
      wanted = null;
      environment.window?.removeEventListener("online", pause.wake);
      pause.wake();
      leave();
      // Whoever connects next may be somebody else.
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
      // It was meant for whoever was here then.
      if (userId !== null && userId !== store.getState().userId) throw userChanged();
      return body as T;
    },
    cacheEvent: (event) => cached((kept, key) => kept.addEvents(key, [event]), undefined),
    loadCachedEvents: () => cached<CarillonEvent[]>((kept, key) => kept.loadEvents(key), []),
    clearCache() {
      session?.forget();
      return cached((kept, key) => kept.clear(key), undefined);
    },
  };
}

const userChanged = (): CarillonError => new CarillonError("user_changed", "the token is another user's");

function notConnected(): Promise<void> {
  const refusal = Promise.reject(closed());
  // Like every other refusal, it is nobody's unhandled rejection.
  refusal.catch(() => {});
  return refusal;
}

/** Loaded where it is used: an application with a cache of its own, or with none, does without ours. */
function chosenCache(choice: boolean | EventCache, indexedDB: IDBFactory | null): (() => Promise<EventCache>) | null {
  if (typeof choice === "object") return async () => choice;
  if (!choice || !indexedDB) return null;
  let loading: Promise<EventCache> | undefined;
  return () => {
    loading ??= import("./cache.js").then(({ createIndexedDbCache }) => createIndexedDbCache(indexedDB));
    return loading;
  };
}
