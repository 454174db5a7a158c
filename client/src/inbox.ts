// The known state of the server's inbox: a pure reducer. A change that brings nothing new returns the same object.

import { compareCursors, isAhead } from "./cursor.js";
import type { ListResponse, SyncResponse } from "./protocol.js";
import type {
  CachedInbox,
  CarillonEvent,
  ChangedEvent,
  Notification,
  NotificationEvent,
  ProvisionalEvent,
  StoredNotification,
} from "./types.js";

const MAX_CACHED = 200;

/** The known part of the inbox. */
export interface Inbox {
  /** Newest arrival first. */
  readonly items: readonly StoredNotification[];
  /**
   * Arrivals that are not written yet, newest first: never any of `items`. They belong above them, and count nothing.
   * One that Redis has lost stays here until the page is left, because no answer proves the loss: a server that
   * cannot reach Redis answers from the database alone, and writes later what Redis still has.
   */
  readonly provisional: readonly Notification[];
  readonly unreadCount: number;
  /** Every change up to here is known. `null` before the first response. */
  readonly cursor: string | null;
  /** The digest that the server sent with exactly this cursor, if any. */
  readonly etag: string | null;
  /** Whether the server has notifications older than `items`. */
  readonly hasMore: boolean;
  /** The page token of the next older page, if known. */
  readonly nextCursor: string | null;
}

/** Everything that can change the inbox. */
export type InboxChange =
  | { readonly type: "list"; readonly response: ListResponse }
  | { readonly type: "page"; readonly response: ListResponse }
  /** Only for a response that fits; see `fitOf`. */
  | { readonly type: "sync"; readonly response: SyncResponse }
  /** `at` is the present time, because a `changed` event carries none. */
  | { readonly type: "event"; readonly event: NotificationEvent | ChangedEvent; readonly at: string }
  /** Only for one that is not known yet. */
  | { readonly type: "provisional"; readonly event: ProvisionalEvent }
  | { readonly type: "expire"; readonly nowMs: number }
  | { readonly type: "lost" }
  | { readonly type: "cached"; readonly cached: CachedInbox };

export const emptyInbox: Inbox = {
  items: [],
  provisional: [],
  unreadCount: 0,
  cursor: null,
  etag: null,
  hasMore: false,
  nextCursor: null,
};

/** The decision about a step that carries the changes from `prev` to `cursor`. */
export type Fit = "apply" | "drop" | "wait" | "foreign";

/**
 * A step is applied if it begins at or before the inbox's own cursor and ends after it, because it carries every
 * change between. One that begins later would leave a gap, and one of another epoch is foreign.
 */
export function fitOf(own: string | null, step: { readonly prev: string; readonly cursor: string }): Fit {
  if (own === null) return "wait";
  const end = compareCursors(step.cursor, own);
  if (end === null) return "foreign";
  if (end <= 0) return "drop";
  return isAhead(step.prev, own) ? "wait" : "apply";
}

/** The inbox after a change. */
export function reduce(inbox: Inbox, change: InboxChange): Inbox {
  switch (change.type) {
    case "list": {
      const { items, nextCursor, unreadCount, cursor } = change.response;
      const known = new Map(inbox.items.map((item) => [item.id, item]));
      return {
        items: items.map((item) => reuse(known.get(item.id), item)),
        provisional: unplaced(inbox, items),
        unreadCount,
        cursor,
        etag: null,
        hasMore: nextCursor !== null,
        nextCursor,
      };
    }
    case "page": {
      const { items, nextCursor } = change.response;
      // A known item is at least as fresh as its copy on the page, because events and syncs have updated it.
      const known = new Set(inbox.items.map((item) => item.id));
      const older = items.filter((item) => !known.has(item.id));
      return {
        ...inbox,
        items: older.reduce(insert, inbox.items),
        provisional: unplaced(inbox, items),
        hasMore: nextCursor !== null,
        nextCursor,
      };
    }
    case "sync": {
      const { notifications, deleted, unreadCount, cursor, etag, complete } = change.response;
      const items = merge(without(inbox.items, deleted), notifications, inbox.hasMore);
      const provisional = without(unplaced(inbox, notifications), deleted);
      return { ...inbox, items, provisional, unreadCount, cursor, etag: complete ? etag : null };
    }
    case "event":
      return afterEvent(inbox, change.event, change.at);
    case "provisional":
      return { ...inbox, provisional: [change.event.notification, ...inbox.provisional] };
    case "expire": {
      const isExpired = ({ expiresAt }: Notification): boolean =>
        expiresAt !== null && Date.parse(expiresAt) <= change.nowMs;
      const expired = inbox.items.filter(isExpired);
      const provisional = inbox.provisional.filter((item) => !isExpired(item));
      if (expired.length === 0 && provisional.length === inbox.provisional.length) return inbox;
      const unread = expired.filter((item) => item.readAt === null).length;
      return {
        ...inbox,
        items: inbox.items.filter((item) => !isExpired(item)),
        provisional,
        unreadCount: Math.max(0, inbox.unreadCount - unread),
      };
    }
    case "lost":
      // The items stay visible until the list is loaded again. Without a cursor no event fits before that.
      return { ...inbox, cursor: null, etag: null };
    case "cached":
      return { ...change.cached, etag: null, provisional: unplaced(inbox, change.cached.items) };
  }
}

/**
 * The changes in a sync response that are not known yet, as the events that were missed.
 * The response covers the changes after `since`, and may be one part of a sync that began at `start`.
 * Frames may have brought some of its changes while it was on its way.
 */
export function missedEvents(inbox: Inbox, since: string, start: string, response: SyncResponse): CarillonEvent[] {
  const { cursor, unreadCount } = response;
  const prev = inbox.cursor ?? since;
  const known = new Map(allOf(inbox).map((item) => [item.id, item]));
  const arrived: NotificationEvent[] = [];
  const ids: Record<"read" | "unread", string[]> = { read: [], unread: [] };
  for (const notification of response.notifications) {
    const before = known.get(notification.id);
    const isUnread = notification.readAt === null;
    // One that was provisional arrives as well. Who has heard of it is not told again. One that was snoozed arrives anew.
    const isArrival = before?.cursor !== notification.cursor && isAhead(notification.cursor, start);
    const silent = notification.silent && { silent: true };
    if (isArrival) arrived.push({ type: "notification", cursor, prev, notification, unreadCount, ...silent });
    if (isArrival && isUnread) continue;
    if (before ? (before.readAt === null) !== isUnread : !isArrival) {
      ids[isUnread ? "unread" : "read"].push(notification.id);
    }
  }
  // The deletion of an unknown item counts only if no frame can have brought it already.
  const deleted = response.deleted.filter((id) => known.has(id) || prev === since);
  const changed = (change: ChangedEvent["change"], which: readonly string[]): ChangedEvent[] =>
    which.length ? [{ type: "changed", cursor, prev, ids: which, change, unreadCount }] : [];
  return [
    ...arrived,
    ...changed("read", ids.read),
    ...changed("unread", ids.unread),
    ...changed("deleted", deleted),
    ...(response.events ?? []),
  ];
}

/** Everything that there is to show. */
export function allOf({ provisional, items }: Inbox): readonly Notification[] {
  return provisional.length > 0 ? [...provisional, ...items] : items;
}

/** The provisional notifications without those that have their place among the items. */
export function unplaced(inbox: Inbox, items: readonly StoredNotification[]): readonly Notification[] {
  const { provisional } = inbox;
  return provisional.length > 0
    ? without(
        provisional,
        items.map(({ id }) => id),
      )
    : provisional;
}

/**
 * The part of the inbox to cache: the newest items. A page token does not fit a trimmed list, so it is dropped.
 * Provisional notifications are not cached: the next visit begins with an answer that has them in their place, or not
 * at all if Redis has lost them, and nothing would ever remove a copy of those.
 */
export function toCached(inbox: Inbox, cursor: string): CachedInbox {
  const { items, unreadCount, hasMore, nextCursor } = inbox;
  const trimmed = items.length > MAX_CACHED && { items: items.slice(0, MAX_CACHED), hasMore: true, nextCursor: null };
  return { items, unreadCount, cursor, hasMore, nextCursor, ...trimmed };
}

function afterEvent(inbox: Inbox, event: NotificationEvent | ChangedEvent, at: string): Inbox {
  const { cursor, unreadCount } = event;
  const withItems = (items: readonly StoredNotification[]): Inbox => ({
    ...inbox,
    items,
    unreadCount,
    cursor,
    etag: null,
  });
  if (event.type === "notification") {
    const arrived = [event.notification];
    const items = merge(without(inbox.items, event.replaces ?? []), arrived, inbox.hasMore);
    return { ...withItems(items), provisional: unplaced(inbox, arrived) };
  }
  switch (event.change) {
    case "read":
      return withItems(marked(inbox.items, event.ids, at));
    case "unread":
      return withItems(marked(inbox.items, event.ids, null));
    default: {
      const { items, provisional } = inbox;
      return { ...withItems(without(items, event.ids)), provisional: without(provisional, event.ids) };
    }
  }
}

function marked(
  items: readonly StoredNotification[],
  ids: readonly string[],
  readAt: string | null,
): readonly StoredNotification[] {
  const wanted = new Set(ids);
  return items.map((item) =>
    wanted.has(item.id) && (item.readAt === null) !== (readAt === null) ? { ...item, readAt } : item,
  );
}

function without<T extends Notification>(items: readonly T[], ids: readonly string[]): readonly T[] {
  if (ids.length === 0) return items;
  const removed = new Set(ids);
  return items.filter((item) => !removed.has(item.id));
}

/** Replaces known items with their present state, and inserts new ones where their arrival belongs. */
function merge(
  items: readonly StoredNotification[],
  present: readonly StoredNotification[],
  hasMore: boolean,
): readonly StoredNotification[] {
  const oldest = items.at(-1);
  const fresh = new Map(present.map((item) => [item.id, item]));
  let all = items;
  // Arrivals, the most frequent change, skip this copy: `insert` makes the only one.
  if (items.some((item) => fresh.has(item.id))) {
    all = items.flatMap((item) => {
      const now = fresh.get(item.id);
      // At the end of a snooze it belongs where its new arrival does.
      if (now && now.cursor !== item.cursor) return [];
      return now && fresh.delete(item.id) ? reuse(item, now) : item;
    });
  }
  for (const item of fresh.values()) {
    // Below the oldest known item there may be unknown ones in between, so this one waits for its page.
    if (hasMore && oldest && isAhead(oldest.cursor, item.cursor)) continue;
    all = insert(all, item);
  }
  return all;
}

/** Inserts an item in order, newest first. It nearly always belongs at one of the ends. */
function insert(items: readonly StoredNotification[], item: StoredNotification): readonly StoredNotification[] {
  const last = items.at(-1);
  if (last && isAhead(last.cursor, item.cursor)) return [...items, item];
  const below = items.findIndex((other) => isAhead(item.cursor, other.cursor));
  const all = [...items];
  all.splice(below < 0 ? items.length : below, 0, item);
  return all;
}

/** The known object if nothing differs, so that its row need not render again. */
function reuse(known: StoredNotification | undefined, now: StoredNotification): StoredNotification {
  return known && JSON.stringify(known) === JSON.stringify(now) ? known : now;
}
