// A filtered part of the inbox with pages of its own: the server filters them, and the changes of the inbox keep them
// up to date. It knows more than it shows: a notification that no longer matches may match again.

import { backoffMs } from "./backoff.js";
import { createCatchUp } from "./catchup.js";
import { compareCursors } from "./cursor.js";
import { asError, isTemporary, toProblem } from "./errors.js";
import { createExpiry } from "./expiry.js";
import type { ApiResponse } from "./http.js";
import { type Inbox, type InboxChange, reduce, unplaced } from "./inbox.js";
import { applyIntents, type Intent } from "./overlay.js";
import { createProblems } from "./problems.js";
import { isObject, type SyncResponse } from "./protocol.js";
import type { Notification, Problem, RequestOptions, StoredNotification, ViewFilter, ViewState } from "./types.js";

/** Several changes in a row lead to one count. */
const COUNT_MS = 1_000;

/** What a view needs of the session. */
export interface ViewHost {
  readonly pageSize: number;
  random(): number;
  /** The server's time. */
  now(): number;
  call(method: string, path: string, options?: RequestOptions): Promise<ApiResponse>;
  /** The whole inbox, as far as it is known. */
  inbox(): Inbox;
  /** The number of unread notifications of all types that a page shows. */
  unreadCount(): number;
  intents(): readonly Intent[];
  /** The user did something. */
  acted(): void;
  report(problem: Problem): void;
}

/** Follows the inbox of one session. */
export interface Follower {
  /** The inbox changed, and was `before` until then. A call of `show` follows. */
  follow(change: InboxChange, before: Inbox): void;
  /** Shows what is known now. The unread count of the whole inbox and the changes by the user may be others. */
  show(): void;
  wake(): void;
}

/** How a session knows its views. */
export interface Followed {
  readonly followers: Set<Follower>;
  /** How changes that are not confirmed yet change the unread count by notifications that only a view has. */
  unreadChange: (inbox: Inbox, intents: readonly Intent[]) => number;
}

export interface LiveView extends Follower {
  /** What it knows, for the next session of the same user. */
  inbox(): Inbox;
  loadMore(): Promise<void>;
  refresh(): Promise<void>;
  dismissError(): void;
  /** Shows nothing new from now on. */
  stop(): void;
}

export function createLiveView(
  host: ViewHost,
  { type, unread }: ViewFilter,
  known: Inbox,
  update: (part: Partial<ViewState>) => void,
): LiveView {
  const query = `${type === undefined ? "" : `&type=${encodeURIComponent(type)}`}${unread ? "&unread=true" : ""}`;
  let inbox = known;
  let shown: readonly Notification[] = [];
  let isStopped = false;
  /** Where the view loaded a page by itself. */
  let continuedFrom: string | null = null;
  /** How many unread notifications of the type are not loaded. `null` until the server has counted. */
  let unloaded: number | null = null;
  let countTimer: ReturnType<typeof setTimeout> | undefined;
  let countFailures = 0;

  const problems = createProblems(host.report, () => show());

  const isOfType = (item: Notification): boolean => type === undefined || item.type === type;
  const isShown = (item: Notification): boolean => isOfType(item) && !(unread && item.readAt !== null);
  const unreadIn = (items: readonly Notification[]): number =>
    items.filter(({ cursor, readAt }) => cursor !== null && readAt === null).length;

  function show(isCountKnown = type !== undefined): void {
    // Until there is a page of its own, it shows what the whole inbox has.
    const isLoaded = inbox.cursor !== null || inbox.items.length > 0;
    const source = isLoaded ? inbox : host.inbox();
    const intents = host.intents();
    // What is not written yet is on no page, so the whole inbox alone has it.
    const provisional = unplaced(host.inbox(), source.items);
    const all = applyIntents({ ...withUnread(source, intents), provisional }, intents).notifications.filter(isOfType);
    const items = all.filter(isShown);
    if (items.length !== shown.length || items.some((item, index) => item !== shown[index])) shown = items;
    const error = problems.shown();
    update({
      notifications: shown,
      // While the inbox changes, its count belongs to the state before.
      ...(isCountKnown && { unreadCount: countOf(all, source.hasMore, intents) }),
      hasMore: source.hasMore,
      loading: inbox.cursor === null && error === null && shown.length === 0,
      error,
    });
    // A page can lose all its notifications. Then the view would look empty although it is not.
    const isEmptied = shown.length === 0 && inbox.cursor !== null && inbox.hasMore;
    if (!isEmptied || intents.length > 0 || isStopped || continuedFrom === inbox.nextCursor) return;
    // Only once: a page that cannot be loaded would otherwise be requested for ever.
    continuedFrom = inbox.nextCursor;
    void loadMore();
  }

  /** A notification that the user marks as unread may not have been in the view so far. */
  function withUnread(source: Inbox, intents: readonly Intent[]): Inbox {
    if (!unread) return source;
    const ids = intents.flatMap((intent) => (intent.kind === "unread" ? [...intent.ids] : []));
    return merged(source, find(missing(source, ids)));
  }

  function countOf(all: readonly Notification[], hasMore: boolean, intents: readonly Intent[]): number {
    if (type === undefined) return host.unreadCount();
    const isAllRead = intents.some((intent) => intent.kind === "readAll" && [undefined, type].includes(intent.type));
    return unreadIn(all) + (hasMore && !isAllRead ? (unloaded ?? 0) : 0);
  }

  function change(inboxChange: InboxChange): void {
    const before = inbox;
    inbox = reduce(inbox, inboxChange);
    if (inbox === before) return;
    if (inbox.items !== before.items) inbox = { ...inbox, items: inbox.items.filter(isOfType) };
    expiry.watch(inbox.items, true);
    if (inboxChange.type === "page" && unloaded !== null) {
      unloaded = Math.max(0, unloaded + unreadIn(before.items) - unreadIn(inbox.items));
    } else if (inboxChange.type !== "lost") countSoon(inboxChange.type === "list" ? 0 : COUNT_MS);
    show();
    if (inboxChange.type === "list" && isBehind()) catchUp.keepSyncing();
  }

  /** Whether the whole inbox knows changes that this view has not seen. */
  function isBehind(): boolean {
    const { cursor } = host.inbox();
    return cursor !== null && inbox.cursor !== null && (compareCursors(inbox.cursor, cursor) ?? -1) < 0;
  }

  /** The whole inbox was loaded, so this view can begin or go on. */
  function begin(): void {
    const all = host.inbox();
    if (all.cursor === null) return show();
    // Nothing is missing there, so there is nothing to ask the server.
    if (!all.hasMore) change({ type: "cached", cached: { ...all, cursor: all.cursor } });
    else if (inbox.cursor === null || isBehind()) catchUp.keepSyncing();
    show();
  }

  function find(ids: readonly string[]): StoredNotification[] {
    const wanted = new Set(ids);
    return wanted.size === 0 ? [] : host.inbox().items.filter(({ id }) => wanted.has(id));
  }

  /** An event names notifications only, so an unknown one that becomes unread has to be found elsewhere. */
  function knowsUnread(ids: readonly string[]): boolean {
    const absent = missing(inbox, ids);
    const found = find(absent);
    inbox = merged(inbox, found.filter(isOfType));
    return found.length === absent.length;
  }

  function countSoon(ms: number): void {
    // Without further pages everything to count is here.
    if (type === undefined || !inbox.hasMore || isStopped) return;
    if (ms === 0) clearTimeout(countTimer);
    else if (countTimer !== undefined) return;
    countTimer = setTimeout(() => void count(), ms);
  }

  async function count(): Promise<void> {
    countTimer = undefined;
    try {
      const { body } = await host.call("GET", `/api/notifications/unread-count?type=${encodeURIComponent(type ?? "")}`);
      const total = isObject(body) ? body["count"] : null;
      if (isStopped || typeof total !== "number") return;
      countFailures = 0;
      unloaded = Math.max(0, total - unreadIn(inbox.items));
      show();
    } catch (thrown) {
      const error = asError(thrown);
      if (isTemporary(error)) countSoon(COUNT_MS + backoffMs(++countFailures, host.random, error.retryAfterMs));
    }
  }

  function failed(thrown: unknown): void {
    const error = asError(thrown);
    if (isStopped || error.code === "closed") return;
    const problem = toProblem("connection", error);
    host.report(problem);
    problems.setConnection(problem);
  }

  function loadMore(): Promise<void> {
    problems.acting();
    if (inbox.cursor === null) return problems.watch(catchUp.sync(), "loadMore");
    if (!inbox.hasMore) return Promise.resolve();
    update({ loadingMore: true });
    return problems.watch(
      catchUp.loadMore().finally(() => update({ loadingMore: false })),
      "loadMore",
    );
  }

  const expiry = createExpiry(host.now, () => {
    change({ type: "expire", nowMs: host.now() });
    expiry.watch(inbox.items, true);
  });

  const catchUp = createCatchUp({
    pageSize: host.pageSize,
    query,
    random: host.random,
    call: host.call,
    inbox: () => inbox,
    change,
    // The whole inbox emits them, and shares what it receives with the other tabs.
    emit() {},
    relay() {},
    beginSync: () => () => problems.setConnection(null),
    failed,
  });

  begin();
  show(true);

  return {
    inbox: () => inbox,
    follow(inboxChange, before) {
      switch (inboxChange.type) {
        case "list":
        case "cached":
          return begin();
        case "sync":
          // It carries every change after the cursor that the whole inbox had.
          if (before.cursor !== null) catchUp.acceptSync(before.cursor, inboxChange.response);
          return;
        case "event": {
          const { event } = inboxChange;
          const isKnown = !unread || event.type !== "changed" || event.change !== "unread" || knowsUnread(event.ids);
          const { cursor, prev } = event;
          catchUp.accept(isKnown ? event : { type: "fetch", cursor, prev, id: "" });
        }
      }
    },
    show: () => show(true),
    wake: catchUp.wake,
    loadMore() {
      host.acted();
      return loadMore();
    },
    refresh() {
      host.acted();
      problems.acting();
      countSoon(0);
      const synced = catchUp.sync();
      synced.catch((thrown) => {
        failed(thrown);
        catchUp.keepSyncing();
      });
      return synced;
    },
    dismissError: problems.dismiss,
    stop() {
      isStopped = true;
      clearTimeout(countTimer);
      expiry.stop();
      catchUp.stop();
      show();
      update({ loadingMore: false });
    },
  };
}

function missing({ items }: Inbox, ids: readonly string[]): string[] {
  if (ids.length === 0) return [];
  const present = new Set(items.map(({ id }) => id));
  return ids.filter((id) => !present.has(id));
}

/** The inbox with more notifications, where each belongs, at the same position. */
function merged(inbox: Inbox, notifications: readonly StoredNotification[]): Inbox {
  const { cursor, etag, unreadCount } = inbox;
  if (notifications.length === 0 || cursor === null) return inbox;
  const response: SyncResponse = { notifications, deleted: [], unreadCount, cursor, etag: etag ?? "", complete: true };
  return { ...reduce(inbox, { type: "sync", response }), etag };
}
