// Every public type: what the server sends, what the client shows, and what an application can configure.
// The file holds types only, so it compiles to nothing.

import type { Environment } from "./environment.js";

/** A transport for events: a socket, an event stream over HTTP, or a call now and then. */
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
  /** It does not ring: the user or its sender has turned that off. */
  readonly silent: boolean;
  /**
   * The position in the inbox at which it arrived, as `<epoch>.<offset>`. It arrives anew, with another one, at the end of
   * a snooze. `null` while it is provisional: accepted with
   * `"accept": "fast"`, and not written to the inbox yet. It is shown by its `id`, above all others, and is not counted.
   */
  readonly cursor: string | null;
}

/** A notification that has its place in the inbox. */
export interface StoredNotification extends Notification {
  readonly cursor: string;
}

/** A change to notifications that have already arrived. */
export type ChangeKind = "read" | "unread" | "deleted" | "expired" | "snoozed";

/** A notification arrived, or came back at the end of its snooze. */
export interface NotificationEvent {
  readonly type: "notification";
  readonly cursor: string;
  readonly prev: string;
  readonly notification: StoredNotification;
  readonly unreadCount: number;
  /** Ids of the notifications that it replaces. */
  readonly replaces?: readonly string[];
  /** It arrived without ringing. */
  readonly silent?: boolean;
}

/** A notification arrived that is not written yet. No other event tells its arrival again. */
export interface ProvisionalEvent {
  readonly type: "notification";
  readonly cursor: null;
  readonly prev: null;
  readonly notification: Notification;
  readonly unreadCount: null;
  readonly silent?: boolean;
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

/**
 * A notification that arrived silently came by push while this page was in use, so it rings here and not as a
 * notification of the system.
 */
export interface PushedEvent {
  readonly type: "pushed";
  readonly notification: Notification;
}

/** An event for `onEvent`. Each is emitted once and in order, whatever the transport. */
export type CarillonEvent = NotificationEvent | ProvisionalEvent | ChangedEvent | EmittedEvent | PushedEvent;

/** The codes of the server's errors. */
export type ServerErrorCode =
  | "invalid_json"
  | "bad_request"
  | "token_missing"
  | "token_expired"
  | "invalid_token"
  | "invalid_ticket"
  | "forbidden"
  | "origin_not_allowed"
  | "not_found"
  | "method_not_allowed"
  | "conflict"
  | "cursor_expired"
  | "payload_too_large"
  | "unsupported_media_type"
  | "validation_failed"
  | "idempotency_key_reused"
  | "rate_limited"
  | "internal"
  | "overloaded"
  | "store_unavailable"
  | "outcome_unknown";

/** The codes of the failures that the client itself detects. The README explains them. */
export type ClientErrorCode =
  | "no_answer"
  | "invalid_answer"
  | "token_unavailable"
  | "user_changed"
  | "socket_refused"
  | "socket_closed"
  | "invalid_frame"
  | "list_behind"
  | "no_transport"
  | "cache_full"
  | "cache_unavailable"
  | "worker_failed"
  | "push_refused"
  | "closed";

/** `http_<status>` is the code of an error response that has none, such as one that API Gateway makes itself. */
export type ErrorCode = ServerErrorCode | ClientErrorCode | `http_${number}`;

/** An act of the user that the server can refuse. */
export type Action = "read" | "unread" | "delete" | "readAll" | "snooze" | "loadMore";

/** A failure with its code. */
export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  /**
   * `connection`: the client recovers on its own. `change`: the server refused a change. `cache`: storage failed. `push`:
   * this browser could not be subscribed.
   */
  readonly source: "connection" | "change" | "cache" | "push";
  /** The act that failed. Only such an `error` stays until the next act or `dismissError`. */
  readonly action?: Action;
  /** The notifications that the act was about. */
  readonly ids?: readonly string[];
  /** The HTTP status, if there was a response. */
  readonly status?: number;
  readonly requestId?: string;
  readonly retryAfterMs?: number;
}

/** The state that a page shows. Unchanged notifications keep their identity from state to state. */
export interface State {
  /** Newest first, provisional ones at the top, including changes by the user that the server has not confirmed yet. */
  readonly notifications: readonly Notification[];
  readonly unreadCount: number;
  /** The position up to which every change is known, as `<epoch>.<offset>`. */
  readonly cursor: string | null;
  readonly hasMore: boolean;
  /**
   * Whether nothing is known about the inbox yet, neither from the server nor from the cache. It lasts while nothing
   * responds, with the `error` beside it, so an inbox that is not loading and has no notifications is really empty.
   */
  readonly loading: boolean;
  /** Whether an older page is on its way. */
  readonly loadingMore: boolean;
  /** Any tab shows the connection's error. The error of an act shows in its own tab. */
  readonly error: Problem | null;
  readonly wsStatus: Status;
  readonly transport: Transport | null;
  /** Whether this tab holds the connection for all tabs of the user. */
  readonly leader: boolean;
  readonly userId: string | null;
  /** Whether the inbox comes from the cache and the server has not confirmed it yet. */
  readonly fromCache: boolean;
}

/** Which notifications a view shows. Without members: all. */
export interface ViewFilter {
  readonly type?: string;
  /** Only those that are unread. */
  readonly unread?: boolean;
}

/** What a view shows. Unchanged notifications keep their identity from state to state. */
export interface ViewState {
  /** Newest first, provisional ones at the top, including changes by the user that the server has not confirmed yet. */
  readonly notifications: readonly Notification[];
  /** How many of the filter's type are unread, loaded or not. */
  readonly unreadCount: number;
  readonly hasMore: boolean;
  /** Whether there is nothing to show yet, and an answer is still to come. */
  readonly loading: boolean;
  readonly loadingMore: boolean;
  readonly error: Problem | null;
}

/** A filtered part of the inbox with pages of its own. It follows the client's connection, and needs none itself. */
export interface View {
  readonly store: Store<ViewState>;
  loadMore(): Promise<void>;
  /** Asks the server for changes. Resolves when they are shown. */
  refresh(): Promise<void>;
  /** Hides the present `error`. */
  dismissError(): void;
  /** Ends the updates of this view's store. The view itself ends some time after its last holder's release. */
  release(): void;
}

/** A store for Zustand's `useStore(client.store, selector)`. */
export interface Store<S> {
  getState(): S;
  getInitialState(): S;
  subscribe(listener: (state: S, previous: S) => void): () => void;
}

/** The part of the inbox that is kept between two visits. */
export interface CachedInbox {
  /** Newest first, without provisional ones. */
  readonly items: readonly StoredNotification[];
  readonly unreadCount: number;
  readonly cursor: string;
  readonly hasMore: boolean;
  readonly nextCursor: string | null;
}

/** A change by the user that the server has not answered yet. */
export interface PendingChange {
  readonly id: string;
  readonly kind: "read" | "unread" | "delete" | "readAll" | "snooze";
  /** The notifications without an answer; empty for `readAll`. */
  readonly ids: readonly string[];
  /** For `readAll`: only this type. */
  readonly type?: string;
  /** For `readAll` and `snooze`: only arrivals up to this cursor. */
  readonly before?: string;
  /** For `snooze`: when they come back, as RFC 3339 in UTC. */
  readonly until?: string;
  /** When the user made it, as RFC 3339 in UTC. */
  readonly at: string;
}

/**
 * Stores the inbox and the last events on the device. `key` names the server and the user.
 * A method that fails rejects; the client reports that as a problem and carries on.
 */
export interface EventCache {
  loadInbox(key: string): Promise<CachedInbox | null>;
  saveInbox(key: string, inbox: CachedInbox): Promise<void>;
  loadEvents(key: string): Promise<CarillonEvent[]>;
  /**
   * Appends events, drops duplicates, and discards the oldest beyond a limit. The event of a notification replaces the
   * provisional one of the same notification.
   */
  addEvents(key: string, events: readonly CarillonEvent[]): Promise<void>;
  /** Changes that have no answer, oldest first. Without it and `saveChanges` they last as long as the page. */
  loadChanges?(key: string): Promise<readonly PendingChange[]>;
  /** In one step: replaces changes with the same id in place, appends new ones, and drops those that are settled. */
  saveChanges?(key: string, changes: readonly PendingChange[], settled: readonly string[]): Promise<void>;
  /** Deletes everything that belongs to the key. */
  clear(key: string): Promise<void>;
}

/** The options of `createClient`. */
export interface ClientOptions {
  /** The address of the API, without a slash at the end. `""` is the page's own origin. */
  readonly baseUrl: string;
  /** The address of the WebSocket API. Default: the one that the server names with each ticket. */
  readonly wsUrl?: string;
  /**
   * Returns a valid JWT. Called again before the last token expires, at each `connect`, and after a timeout of 20 s.
   * The token is kept in memory only, and with push for its worker, until it expires. A thrown error is reported as `token_unavailable`, a network error as
   * `no_answer`, and a `CarillonError` under its own code.
   */
  readonly getToken: () => string | Promise<string>;
  /** The transports to use, in order of preference. Each is used where none before it opens. Default: `["websocket", "sse", "polling"]`. */
  readonly transports?: readonly Transport[];
  /** Default: IndexedDB, if available. */
  readonly cache?: boolean | EventCache;
  /** Whether the tabs of a user share one connection. Default: `true`, if the browser supports it. */
  readonly tabs?: boolean;
  /** The user whose cache to show until there is a token. The token then decides who the user is. */
  readonly userId?: string;
  /** Notifications per page, 1–200. Default: 50. */
  readonly pageSize?: number;
  /** The pause between two polls in milliseconds; ten times as long while no tab is visible. Default: 5,000. */
  readonly pollMs?: number;
  /** Called with every problem, including those that the client recovers from on its own. */
  readonly onProblem?: (problem: Problem) => void;
  /** Replacements for parts of the global environment. */
  readonly environment?: Partial<Environment>;
}

/**
 * Whether this browser shows notifications while no tab is open. `unknown`: not found out yet. `unsupported`: see
 * `reason`. `unavailable`: the server sends no pushes. `denied`: the user forbids notifications in the settings of the
 * browser.
 */
export type PushStatus = "unknown" | "unsupported" | "unavailable" | "denied" | "off" | "on";

/** The state of push in this browser. */
export interface PushState {
  readonly status: PushStatus;
  /**
   * Why it is `unsupported`. `insecure`: the page has no HTTPS. `install`: only for pages on the home screen, as on iOS.
   * `browser`: the browser has none.
   */
  readonly reason: "insecure" | "install" | "browser" | null;
  /** Whether it is being turned on or off. */
  readonly busy: boolean;
  /** Why the last attempt failed. */
  readonly error: Problem | null;
}

/** How push is turned on. */
export interface PushOptions {
  /**
   * Where the page's own origin serves `@carillon/client/push-worker.js`, or the registration of a worker that imports
   * it. Default: `"/push-worker.js"`.
   */
  readonly serviceWorker?: string | URL | ServiceWorkerRegistration;
  /** The picture beside the text of a notification. */
  readonly icon?: string;
  /** A small picture of one colour, where there is no room for more. */
  readonly badge?: string;
}

/** Web Push, for this user in this browser. */
export interface Push {
  readonly store: Store<PushState>;
  /**
   * Asks the user for permission, and subscribes. Call it within a gesture of the user, such as a click. Returns what has
   * become of it. Rejects, with the `error` in the store, if the server or the browser failed.
   */
  enable(options?: PushOptions): Promise<PushStatus>;
  /** Unsubscribes, and closes what is shown. `signOut` does the same. */
  disable(): Promise<void>;
}

/** Forgets what an application keeps for a user. `null` is a user whom the token did not name. */
export type SignOutHook = (userId: string | null) => void | Promise<void>;

/** The options of `request`. */
export interface RequestOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the parts of this package that are loaded separately need of a client. It is not for applications. */
export interface Wire {
  readonly environment: Environment;
  /** Begins the name of everything that is kept of the user in local storage. `null`: nothing may be kept. */
  keptName(): string | null;
  report(problem: Problem): void;
  /** Returns whether the frame was sent over the socket of this tab. One without `ref` may go over another's. */
  send(frame: object): boolean;
  /** Calls the listener with the frames that do not concern the inbox, unchecked, and with each sync. */
  subscribe(listener: (frame: Readonly<Record<string, unknown>>) => void): () => void;
}

/**
 * One user's connection, inbox and cache.
 * A change shows at once. If the server refuses it, the client undoes it, sets `error` and rejects the promise.
 * If there is no response, the client retries until there is one, over reloads and closed tabs too.
 */
export interface Client {
  readonly store: Store<State>;
  /** Starts, or starts again after `close`. A no-op while connected. */
  connect(): void;
  /**
   * Closes the connection and cancels calls in flight. The inbox stays visible. The promises of changes without an
   * answer reject with `closed`; the changes are kept, and sent after the next `connect` of the same user.
   */
  close(): void;
  setTransports(transports: readonly Transport[]): void;
  /**
   * Calls the listener with each event in one tab of the browser, so that a sound plays once, or with `everyTab` in
   * each of them. Returns a function that removes the listener.
   */
  onEvent(listener: (event: CarillonEvent) => void, options?: { readonly everyTab?: boolean }): () => void;
  markAsRead(id: string | readonly string[]): Promise<void>;
  markAsUnread(id: string | readonly string[]): Promise<void>;
  /** Marks everything that has arrived on this client. What arrives meanwhile stays unread. */
  markAllAsRead(type?: string): Promise<void>;
  deleteNotification(id: string | readonly string[]): Promise<void>;
  /**
   * Takes notifications out of the inbox. At `until`, at most a year ahead, each comes back as a new arrival, unread. A
   * snooze that could not be sent by then is dropped.
   */
  snooze(id: string | readonly string[], until: Date | string): Promise<void>;
  loadMore(): Promise<void>;
  /** Hides the present `error`. One of the connection stays hidden until the connection recovers or fails differently. */
  dismissError(): void;
  /**
   * Shows only what fits the filter, which the server applies. Equal filters share one view, so their pages are loaded
   * once. Call `release` when it is no longer shown.
   */
  view(filter: ViewFilter): View;
  /** Asks the server for changes. Resolves when they are shown. */
  refresh(): Promise<void>;
  /** Calls the API with the user's token. Rejects with a `CarillonError`. An empty response is `undefined`. */
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  cacheEvent(event: CarillonEvent): Promise<void>;
  loadCachedEvents(): Promise<CarillonEvent[]>;
  /**
   * Forgets the user: the store, the cache and the changes that have not been sent, in all tabs that share a
   * connection. The store is empty when the call returns; the promise resolves when the device has forgotten as well
   * and the hooks have settled, after 5 s at the latest. Then the client is closed.
   * A token of another user does the same to the previous user, and then continues as the next.
   */
  signOut(): Promise<void>;
  /**
   * Calls the hook in every tab when a user has signed out, to forget what else is kept for that user. Until it
   * settles, `request` still uses the token of the user who called `signOut`. Returns a function that removes the hook.
   */
  onSignOut(hook: SignOutHook): () => void;
  /** Notifications of the system, for when no tab is open. What it needs is loaded on demand. */
  readonly push: Push;
  readonly wire: Wire;
}
