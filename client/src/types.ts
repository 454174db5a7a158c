// Every public type: what the server sends, what the client shows, and what an application can configure.
// The file holds types only, so it compiles to nothing.

import type { Environment } from "./environment.js";

/** A transport for events. The client does not support `sse` yet and ignores it. */
export type Transport = "websocket" | "sse" | "polling";

/** The state of the connection. `offline` means that nothing responds at all. */
export type Status = "connecting" | "connected" | "reconnecting" | "offline" | "closed";

/** How urgent a notification is. */
export type Priority = "low" | "normal" | "high" | "critical";

/** A notification in an inbox. Times are RFC 3339 in UTC. */
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
  /** The position in the inbox at which it arrived, as `<epoch>.<offset>`. It never changes. */
  readonly cursor: string;
}

/** A change to notifications that have already arrived. */
export type ChangeKind = "read" | "unread" | "deleted" | "expired";

/** A notification arrived. */
export interface NotificationEvent {
  readonly type: "notification";
  readonly cursor: string;
  readonly prev: string;
  readonly notification: Notification;
  readonly unreadCount: number;
  /** Ids of the notifications that it replaces. */
  readonly replaces?: readonly string[];
}

/** Notifications changed, on any device of the user. */
export interface ChangedEvent {
  readonly type: "changed";
  readonly cursor: string;
  readonly prev: string;
  readonly ids: readonly string[];
  readonly change: ChangeKind;
  readonly unreadCount: number;
}

/** A service emitted an event to the users who were connected. */
export interface EmittedEvent {
  readonly type: "system" | "dashboard" | "announcement";
  readonly id: string;
  readonly name: string | null;
  readonly title: string | null;
  readonly body: string | null;
  readonly data: Readonly<Record<string, unknown>>;
}

/** An event for `onEvent`. Each is emitted once and in order, whatever the transport. */
export type CarillonEvent = NotificationEvent | ChangedEvent | EmittedEvent;

/** A failure with its code. */
export interface Problem {
  /** A code of the server (`rate_limited`, …), or one of the client's own, which the README lists. */
  readonly code: string;
  readonly message: string;
  /** `connection`: the client recovers on its own. `change`: the server refused a change. `cache`: storage failed. */
  readonly source: "connection" | "change" | "cache";
  /** The HTTP status, if there was a response. */
  readonly status?: number;
  readonly requestId?: string;
  readonly retryAfterMs?: number;
}

/** The state that a page shows. Unchanged notifications keep their identity from state to state. */
export interface State {
  /** Newest first, including changes by the user that the server has not confirmed yet. */
  readonly notifications: readonly Notification[];
  readonly unreadCount: number;
  /** The position up to which every change is known, as `<epoch>.<offset>`. */
  readonly cursor: string | null;
  readonly hasMore: boolean;
  readonly loading: boolean;
  readonly error: Problem | null;
  readonly wsStatus: Status;
  readonly transport: Transport | null;
  /** Whether this tab holds the connection for all tabs of the user. */
  readonly leader: boolean;
  readonly userId: string | null;
  /** Whether the inbox comes from the cache and the server has not confirmed it yet. */
  readonly fromCache: boolean;
}

/** A store for Zustand's `useStore(client.store, selector)`. */
export interface Store<S> {
  getState(): S;
  getInitialState(): S;
  subscribe(listener: (state: S, previous: S) => void): () => void;
}

/** The part of the inbox that is kept between two visits. */
export interface CachedInbox {
  /** Newest first. */
  readonly items: readonly Notification[];
  readonly unreadCount: number;
  readonly cursor: string;
  readonly hasMore: boolean;
  readonly nextCursor: string | null;
}

/**
 * Stores the inbox and the last events on the device. `key` names the server and the user.
 * A method that fails rejects; the client reports that as a problem and carries on.
 */
export interface EventCache {
  loadInbox(key: string): Promise<CachedInbox | null>;
  saveInbox(key: string, inbox: CachedInbox): Promise<void>;
  loadEvents(key: string): Promise<CarillonEvent[]>;
  /** Appends events, drops duplicates, and discards the oldest beyond a limit. */
  addEvents(key: string, events: readonly CarillonEvent[]): Promise<void>;
  clear(key: string): Promise<void>;
}

/** The options of `createClient`. */
export interface ClientOptions {
  /** The address of the API, without a slash at the end. `""` is the page's own origin. */
  readonly baseUrl: string;
  /**
   * Returns a valid JWT. Called again before the last token expires, at each `connect`, and after a timeout of 20 s.
   * The token is kept in memory only. A thrown error is reported as `token_unavailable`, a network error as
   * `no_answer`, and a `CarillonError` under its own code.
   */
  readonly getToken: () => string | Promise<string>;
  /** The transports to use, in order of preference. Default: `["websocket", "polling"]`. */
  readonly transports?: readonly Transport[];
  /** Default: IndexedDB, if available. */
  readonly cache?: boolean | EventCache;
  /** Whether the tabs of a user share one connection. Default: `true`, if the browser supports it. */
  readonly tabs?: boolean;
  /** The user whose cache to show until there is a token. The token then decides who the user is. */
  readonly userId?: string;
  /** Notifications per page, 1–200. Default: 50. */
  readonly pageSize?: number;
  /** The pause between two polls in milliseconds; ten times as long while the page is hidden. Default: 5,000. */
  readonly pollMs?: number;
  /** Called with every problem, including those that the client recovers from on its own. */
  readonly onProblem?: (problem: Problem) => void;
  /** Replacements for parts of the global environment. */
  readonly environment?: Partial<Environment>;
}

/** The options of `request`. */
export interface RequestOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * One user's connection, inbox and cache.
 * A change shows at once. If the server refuses it, the client undoes it, sets `error` and rejects the promise.
 * If there is no response, the client retries until there is one.
 */
export interface Client {
  readonly store: Store<State>;
  /** Starts, or starts again after `close`. A no-op while connected. */
  connect(): void;
  /**
   * Closes the connection and cancels calls in flight. The inbox stays visible, without changes that have no answer
   * yet. The next `connect` may be for another user.
   */
  close(): void;
  setTransports(transports: readonly Transport[]): void;
  /** Returns a function that removes the listener. */
  onEvent(listener: (event: CarillonEvent) => void): () => void;
  markAsRead(id: string | readonly string[]): Promise<void>;
  markAsUnread(id: string | readonly string[]): Promise<void>;
  /** Marks everything that has arrived on this client. What arrives meanwhile stays unread. */
  markAllAsRead(type?: string): Promise<void>;
  deleteNotification(id: string | readonly string[]): Promise<void>;
  loadMore(): Promise<void>;
  /** Asks the server for changes. Resolves when they are shown. */
  refresh(): Promise<void>;
  /** Calls the API with the user's token. Rejects with a `CarillonError`. An empty response is `undefined`. */
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  cacheEvent(event: CarillonEvent): Promise<void>;
  loadCachedEvents(): Promise<CarillonEvent[]>;
  /** Deletes this user's data from the device, as for signing out. Nothing is saved again before the next `connect`. */
  clearCache(): Promise<void>;
}
