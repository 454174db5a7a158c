// The client: who the user is, and one session for as long as that stays.

import { backoffMs } from "./backoff.js";
import { environment as surroundings } from "./environment.js";
import { createHttp } from "./http.js";
import { emptyInbox, type Inbox } from "./inbox.js";
import type { Intent } from "./overlay.js";
import { createPause } from "./pause.js";
import { asError, CarillonError, problem, storageProblem } from "./problem.js";
import { createSession, type Session } from "./session.js";
import { createStore } from "./store.js";
import type { Token } from "./token.js";
import type { CarillonEvent, Client, ClientOptions, EventCache, State, Transport } from "./types.js";

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
    throw new CarillonError("user_changed", "the token is another user's");
  }

  const keyOf = (userId: string): string => `${options.baseUrl} ${userId}`;

  function enter(userId: string | null): void {
    if (userId === null || userId !== store.getState().userId) {
      inbox = emptyInbox;
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
      transports: () => transports,
      state: store.getState,
      update,
      tell(event) {
        for (const listener of listeners) {
          try {
            listener(event);
          } catch (thrown) {
            // One that fails must not keep the others, or the inbox, from going on.
            queueMicrotask(() => {
              throw thrown;
            });
          }
        }
      },
      report: (what) => options.onProblem?.(what),
    });
  }

  function leave(): void {
    if (!session) return;
    inbox = session.inbox();
    session.end();
    session = null;
  }

  /** Learns who the user is, and enters. */
  async function begin(mine: object): Promise<void> {
    if (options.userId !== undefined) return enter(options.userId);
    update({ wsStatus: "connecting", loading: true });
    for (let failures = 1; wanted === mine; failures++) {
      try {
        const { userId } = await http.token();
        if (wanted === mine) enter(userId);
        return;
      } catch (thrown) {
        if (wanted !== mine) return;
        const error = problem("connection", asError(thrown));
        options.onProblem?.(error);
        update({ error, loading: false, wsStatus: environment.isOnline() ? "reconnecting" : "offline" });
        await pause.for(backoffMs(failures, environment.random));
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
      return await use(cache, keyOf(userId));
    } catch (thrown) {
      options.onProblem?.(storageProblem(thrown));
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
      return (await http.call(method, path, request)).body as T;
    },
    cacheEvent: (event) => cached((kept, key) => kept.addEvents(key, [event]), undefined),
    loadCachedEvents: () => cached<CarillonEvent[]>((kept, key) => kept.loadEvents(key), []),
    clearCache() {
      session?.forget();
      return cached((kept, key) => kept.clear(key), undefined);
    },
  };
}

function notConnected(): Promise<void> {
  const refusal = Promise.reject(new CarillonError("closed", "connect the client first"));
  // Like every other refusal, it is nobody's unhandled rejection.
  refusal.catch(() => {});
  return refusal;
}

function chosenCache(choice: boolean | EventCache, indexedDB: IDBFactory | null): EventCache | null {
  if (typeof choice === "object") return choice;
  if (!choice || !indexedDB) return null;
  let loading: Promise<EventCache> | undefined;
  // Loaded where it is used: an application with a cache of its own, or with none, does without.
  const loaded = (): Promise<EventCache> => {
    loading ??= import("./cache.js").then(({ createIndexedDbCache }) => createIndexedDbCache(indexedDB));
    return loading;
  };
  return {
    loadInbox: async (key) => (await loaded()).loadInbox(key),
    saveInbox: async (key, inbox) => (await loaded()).saveInbox(key, inbox),
    loadEvents: async (key) => (await loaded()).loadEvents(key),
    addEvents: async (key, events) => (await loaded()).addEvents(key, events),
    clear: async (key) => (await loaded()).clear(key),
  };
}
