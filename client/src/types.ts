// Every public type: what the server says, what the client shows, what an application may choose.
// Types only; nothing of this file is left after compilation.

import type { Environment } from "./environment.js";

/** A way events come in. There is no server for `sse` yet, so it is passed over. */
export type Transport = "websocket" | "sse" | "polling";

/** Where the connection stands; `offline` means that nothing answers at all. */
export type Status = "connecting" | "connected" | "reconnecting" | "offline" | "closed";

/** How loudly a notification rings. */
export type Priority = "low" | "normal" | "high" | "critical";

/** What stands in an inbox. Times are RFC 3339 in UTC. */
export interface Notification {
  readonly id: string;
  readonly type: string;
  readonly title: string;
  readonly body: string | null;
  readonly data: Readonly<Record<string, unknown>>;
  readonly actionUrl: string | null;
  readonly priority: Priority;
  readonly createdAt: string;
  readonly readAt: string | null;
  readonly expiresAt: string | null;
  readonly collapseKey: string | null;
  /** Where in the inbox it arrived, as `<epoch>.<offset>`; it never changes. */
  readonly cursor: string;
}

/** What may become of notifications that are there. */
export type ChangeKind = "read" | "unread" | "deleted" | "expired";

/** A notification arrived. */
export interface NotificationEvent {
  readonly type: "notification";
  readonly cursor: string;
  readonly prev: string;
  readonly notification: Notification;
  readonly unreadCount: number;
  /** Ids of those that it took the place of. */
  readonly replaces?: readonly string[];
}

/** Something became of notifications, on whatever device. */
export interface ChangedEvent {
  readonly type: "changed";
  readonly cursor: string;
  readonly prev: string;
  readonly ids: readonly string[];
  readonly change: ChangeKind;
  readonly unreadCount: number;
}

/** Something was emitted to whoever was there. */
export interface EmittedEvent {
  readonly type: "system" | "dashboard" | "announcement";
  readonly id: string;
  readonly name: string | null;
  readonly title: string | null;
  readonly body: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

/** What `onEvent` tells: each once, in order, whichever way it came. */
export type CarillonEvent = NotificationEvent | ChangedEvent | EmittedEvent;

/** What went wrong, named. */
export interface Problem {
  /** A code of the contract (`rate_limited`, …) or one of the client's own, which the README lists. */
  readonly code: string;
  readonly message: string;
  /** `connection` goes by itself, `change` is something the user did that was refused, `cache` is storage. */
  readonly source: "connection" | "change" | "cache";
  /** The HTTP status, where there was an answer. */
  readonly status?: number;
  readonly requestId?: string;
  readonly retryAfterMs?: number;
}

/** What a page shows. Unchanged notifications keep their identity from state to state. */
export interface State {
  /** Newest first, with what the user did but the server did not yet confirm. */
  readonly notifications: readonly Notification[];
  readonly unreadCount: number;
  /** How far this client has come, as `<epoch>.<offset>`. */
  readonly cursor: string | null;
  readonly hasMore: boolean;
  readonly loading: boolean;
  readonly error: Problem | null;
  readonly wsStatus: Status;
  readonly transport: Transport | null;
  /** Whether this tab holds the connection for all tabs of the user. */
  readonly leader: boolean;
  readonly userId: string | null;
  /** Whether what is shown comes from the cache and no server has confirmed it yet. */
  readonly fromCache: boolean;
}

/** A store as `zustand` understands one: `useStore(client.store, selector)`. */
export interface Store<S> {
  getState(): S;
  getInitialState(): S;
  subscribe(listener: (state: S, previous: S) => void): () => void;
}

/** What is kept between two visits. */
export interface CachedInbox {
  /** Newest first. */
  readonly items: readonly Notification[];
  readonly unreadCount: number;
  readonly cursor: string;
  readonly hasMore: boolean;
  readonly nextCursor: string | null;
}

/**
 * Where the inbox and the last events are kept; `key` names server and user.
 * Whatever fails rejects: it is told as a problem and otherwise does no harm.
 */
export interface EventCache {
  loadInbox(key: string): Promise<CachedInbox | null>;
  saveInbox(key: string, inbox: CachedInbox): Promise<void>;
  loadEvents(key: string): Promise<CarillonEvent[]>;
  /** Adds events behind those that are there, the same one once, and lets the oldest go. */
  addEvents(key: string, events: readonly CarillonEvent[]): Promise<void>;
  clear(key: string): Promise<void>;
}

/** What an application may choose. */
export interface ClientOptions {
  /** Where the API is, without a slash at the end; `""` is the page's own origin. */
  readonly baseUrl: string;
  /**
   * A valid JWT. It is asked again whenever the last one nears its end, at each `connect`,
   * and where it takes longer than 20 s; it is kept in memory only. What it throws is told as `token_unavailable`,
   * a network that does not answer as `no_answer`, and a `CarillonError` as what it is.
   */
  readonly getToken: () => string | Promise<string>;
  /** What may be used, in order. Default: `["websocket", "polling"]`. */
  readonly transports?: readonly Transport[];
  /** Default: IndexedDB, where there is one. */
  readonly cache?: boolean | EventCache;
  /** Whether one tab holds the connection for all. Default: where the browser can. */
  readonly tabs?: boolean;
  /** Whose cache to show while no token can be had; the token decides in the end. */
  readonly userId?: string;
  /** Notifications a page, 1–200. Default: 50. */
  readonly pageSize?: number;
  /** The pause between two polls while visible; ten times that while hidden. Default: 5,000. */
  readonly pollMs?: number;
  /** Told of everything that went wrong, also of what went by itself. */
  readonly onProblem?: (problem: Problem) => void;
  /** Parts of the browser to use instead of the global ones. */
  readonly environment?: Partial<Environment>;
}

/** What `request` may carry. */
export interface RequestOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * One user's connection, inbox and cache.
 * Changes show at once; a refusal takes them back, stands in `error`, and rejects the promise.
 * A call without answer is repeated until there is one.
 */
export interface Client {
  readonly store: Store<State>;
  /** Begins, or begins again after `close`. Twice is once. */
  connect(): void;
  /**
   * Ends the connection and what is under way. What is shown stays, but for changes without an answer.
   * Whoever connects next may be another user.
   */
  close(): void;
  setTransports(transports: readonly Transport[]): void;
  /** Returns how to stop listening. */
  onEvent(listener: (event: CarillonEvent) => void): () => void;
  markAsRead(id: string | readonly string[]): Promise<void>;
  markAsUnread(id: string | readonly string[]): Promise<void>;
  /** Those that have arrived here; what arrives meanwhile stays unread. */
  markAllAsRead(type?: string): Promise<void>;
  deleteNotification(id: string | readonly string[]): Promise<void>;
  loadMore(): Promise<void>;
  /** Asks the server for what has changed; resolves when it is shown. */
  refresh(): Promise<void>;
  /** A call with the user's token; rejects with a `CarillonError`. An empty answer is `undefined`. */
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  cacheEvent(event: CarillonEvent): Promise<void>;
  loadCachedEvents(): Promise<CarillonEvent[]>;
  /** Removes what is kept of this user on this device, as for signing out; nothing more is kept before the next `connect`. */
  clearCache(): Promise<void>;
}
