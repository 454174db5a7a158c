// The client: finds out who the user is, and runs one session for as long as the user stays the same.

import { backoffMs } from "./backoff.js";
import { resolveEnvironment } from "./environment.js";
import { asError, CarillonError, closed, storageProblem, toProblem, withoutAlarm } from "./errors.js";
import { createHttp } from "./http.js";
import { emptyInbox } from "./inbox.js";
import { createLazyPush } from "./lazyPush.js";
import { createLazyViews } from "./lazyViews.js";
import type { Intent } from "./overlay.js";
import { createPause } from "./pause.js";
import type { ClientFrame } from "./protocol.js";
import { createSession, type Known, type Session } from "./session.js";
import { forget, forgetKept, keptName, tellTabs } from "./signout.js";
import { createStore, isolate } from "./store.js";
import type { Token } from "./token.js";
import type {
  CarillonEvent,
  Client,
  ClientOptions,
  EventCache,
  Problem,
  SignOutHook,
  State,
  Transport,
  Wire,
} from "./types.js";

const initial: State = {
  notifications: [],
  unreadCount: 0,
  cursor: null,
  hasMore: false,
  loading: true,
  loadingMore: false,
  error: null,
  wsStatus: "closed",
  transport: null,
  leader: false,
  userId: null,
  fromCache: false,
};

const nothing: Known = { inbox: emptyInbox, intents: [] };

/** Makes a client. It does nothing before `connect`. */
export function createClient(options: ClientOptions): Client {
  const environment = resolveEnvironment(options.environment);
  const { store, update } = createStore<State>(initial);
  const signOutHooks = new Set<SignOutHook>();
  const listeners = new Map<object, { listener: (event: CarillonEvent) => void; everyTab: boolean }>();
  const parts = new Set<Parameters<Wire["subscribe"]>[0]>();
  const cache = resolveCache(options.cache ?? true, environment.indexedDB);
  const pause = createPause();
  const seen = new Set<string>();
  const report = (problem: Problem): void => isolate(() => options.onProblem?.(problem));
  let transports: readonly Transport[] = options.transports ?? ["websocket", "sse", "polling"];
  /** Identifies the present `connect`; `null` while closed. */
  let activeConnect: object | null = null;
  let session: Session | null = null;
  let sessionUser: string | null = null;
  let known = nothing;
  /** The user, as far as the application knows before there is a token. Not after a sign-out. */
  let expectedUser = options.userId;
  /** A sign-out whose hooks may still use the token. */
  let leaving: Promise<void> | null = null;
  const { view, attach: attachViews } = createLazyViews();

  const http = createHttp({
    baseUrl: options.baseUrl,
    getToken: options.getToken,
    fetch: environment.fetch,
    onToken: checkUser,
  });

  const { push, ...lazyPush } = createLazyPush({
    environment,
    baseUrl: options.baseUrl,
    client: () => client,
    token: http.token,
    ring(event) {
      emit(event, true);
      emit(event, false);
    },
  });

  function emit(event: CarillonEvent, inEveryTab: boolean): void {
    for (const { listener, everyTab } of listeners.values()) {
      if (everyTab === inEveryTab) isolate(() => listener(event));
    }
  }

  /** After another user signs in, nothing of the previous user may be shown or changed. */
  function checkUser(token: Token): void {
    // A token that names no user does not contradict the session.
    if (!session || token.userId === null || token.userId === sessionUser) return lazyPush.used(token);
    become(token.userId);
    throw userChanged();
  }

  function become(userId: string | null): void {
    const previous = user();
    if (previous === null || previous === userId) endSession();
    else {
      tellTabs(environment, keyOf(previous), { kind: "signOut", isReplaced: true });
      void forgetUser();
    }
    startSession(userId);
  }

  /** Ends the session, and forgets everything but what the store shows. */
  function forgetUser(): Promise<void> {
    const userId = user();
    endSession(true);
    known = nothing;
    seen.clear();
    expectedUser = undefined;
    return forget([
      () => withCache(userId, (opened, key) => opened.clear(key), undefined),
      () => userId !== null && forgetKept(environment, keyOf(userId)),
      () => lazyPush.forget(userId),
      ...[...signOutHooks].map((hook) => () => hook(userId)),
    ]);
  }

  async function signOut(): Promise<void> {
    activeConnect = null;
    environment.window?.removeEventListener("online", pause.wake);
    pause.wake();
    const forgotten = forgetUser();
    leaving = forgotten;
    update(initial);
    await forgotten;
    if (leaving === forgotten) forgetToken();
  }

  function forgetToken(): void {
    leaving = null;
    http.forget();
  }

  /** Another tab did it. If another user replaced this one, the next token names that user. */
  function signedOut(isReplaced: boolean): void {
    const connect = activeConnect;
    void signOut();
    if (!isReplaced || !connect) return;
    forgetToken();
    start();
  }

  function start(): void {
    const connect = {};
    activeConnect = connect;
    environment.window?.addEventListener("online", pause.wake);
    // React's strict mode connects, closes and connects again within one turn. Only the last call counts.
    queueMicrotask(() => {
      if (activeConnect === connect) void begin(connect);
    });
  }

  const user = (): string | null => store.getState().userId;
  const keyOf = (userId: string): string => `${options.baseUrl} ${userId}`;

  function startSession(userId: string | null): void {
    const isOther = userId === null || userId !== user();
    if (isOther) {
      known = nothing;
      seen.clear();
      update({ ...initial, wsStatus: "connecting", userId });
    }
    sessionUser = userId;
    update({ wsStatus: "connecting", error: null });
    session = createSession({
      environment,
      http,
      userId,
      key: keyOf(userId ?? ""),
      cache: userId === null ? null : cache,
      tabs: options.tabs ?? true,
      pageSize: options.pageSize ?? 50,
      pollMs: options.pollMs ?? 5_000,
      wsUrl: options.wsUrl,
      known,
      seen,
      transports: () => transports,
      state: store.getState,
      update,
      emit,
      report,
      other(frame) {
        for (const listener of parts) isolate(() => listener(frame));
      },
      signedOut,
    });
    attachViews(session, isOther);
    lazyPush.begin();
  }

  function endSession(isForgotten = false): void {
    const ending = session;
    if (!ending) return;
    // A listener that is notified of the end may call `close` again.
    session = null;
    known = ending.known();
    ending.end(isForgotten);
    attachViews(null, isForgotten);
  }

  /** Finds out who the user is, and starts the session. */
  async function begin(connect: object): Promise<void> {
    if (expectedUser !== undefined) return startSession(user() ?? expectedUser);
    update({ wsStatus: "connecting" });
    for (let failures = 1; activeConnect === connect; failures++) {
      try {
        const { userId } = await http.token();
        if (activeConnect === connect) become(userId);
        return;
      } catch (thrown) {
        if (activeConnect !== connect) return;
        const error = toProblem("connection", asError(thrown));
        report(error);
        const isReachable = error.code !== "no_answer" && environment.isOnline();
        update({ error, wsStatus: isReachable ? "reconnecting" : "offline" });
        await pause.for(backoffMs(failures, environment.random, error.retryAfterMs));
      }
    }
  }

  function act(kind: Intent["kind"], id: string | readonly string[], type?: string, until?: string): Promise<void> {
    return session?.act(kind, typeof id === "string" ? [id] : id, type, until) ?? notConnected();
  }

  async function withCache<T>(
    userId: string | null,
    use: (cache: EventCache, key: string) => Promise<T>,
    fallback: T,
  ): Promise<T> {
    if (!cache || userId === null) return fallback;
    try {
      return await use(await cache(), keyOf(userId));
    } catch (thrown) {
      report(storageProblem(thrown));
      return fallback;
    }
  }

  const client: Client = {
    store,
    connect() {
      if (activeConnect) return;
      if (leaving) forgetToken();
      start();
    },
    close() {
      activeConnect = null;
      environment.window?.removeEventListener("online", pause.wake);
      pause.wake();
      endSession();
      // The next `connect` may be for another user.
      if (!leaving) http.forget();
      update({ wsStatus: "closed" });
    },
    setTransports(allowed) {
      transports = allowed;
      session?.reconnect();
    },
    onEvent(listener, { everyTab = false } = {}) {
      const id = {};
      listeners.set(id, { listener, everyTab });
      return () => listeners.delete(id);
    },
    markAsRead: (id) => act("read", id),
    markAsUnread: (id) => act("unread", id),
    markAllAsRead: (type) => act("readAll", [], type),
    deleteNotification: (id) => act("delete", id),
    snooze: (id, until) => act("snooze", id, undefined, new Date(until).toISOString()),
    loadMore: () => session?.loadMore() ?? notConnected(),
    dismissError: () => (session ? session.dismissError() : update({ error: null })),
    view,
    refresh: () => session?.refresh() ?? notConnected(),
    async request<T>(method: string, path: string, request = {}) {
      const userId = user();
      const { body } = await http.call(method, path, request);
      // The response belongs to the user who made the call.
      if (userId !== null && userId !== user()) throw userChanged();
      return body as T;
    },
    cacheEvent: (event) => withCache(user(), (opened, key) => opened.addEvents(key, [event]), undefined),
    loadCachedEvents: () => withCache<CarillonEvent[]>(user(), (opened, key) => opened.loadEvents(key), []),
    signOut() {
      const userId = user();
      if (userId !== null) tellTabs(environment, keyOf(userId), { kind: "signOut", isReplaced: false });
      return signOut();
    },
    onSignOut(hook) {
      signOutHooks.add(hook);
      return () => signOutHooks.delete(hook);
    },
    push,
    wire: {
      environment,
      keptName() {
        const userId = user();
        return userId !== null && (options.cache ?? true) === true ? keptName(keyOf(userId)) : null;
      },
      report,
      send: (frame) => session?.send(frame as ClientFrame) ?? false,
      subscribe(listener) {
        parts.add(listener);
        return () => parts.delete(listener);
      },
    },
  };
  return client;
}

const userChanged = (): CarillonError => new CarillonError("user_changed", "the token has another user");

const notConnected = (): Promise<void> => withoutAlarm(Promise.reject(closed()));

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
