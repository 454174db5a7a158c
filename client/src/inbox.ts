// What the server has told of the inbox: a pure reducer. A change that tells nothing new returns the same inbox.

import { compareCursors, isAhead } from "./cursor.js";
import type { ListAnswer, SyncAnswer } from "./protocol.js";
import type { CachedInbox, CarillonEvent, ChangedEvent, Notification, NotificationEvent } from "./types.js";

const MAX_CACHED = 200;

/** The inbox as far as it is known. */
export interface Inbox {
  /** Newest first, by their arrival. */
  readonly items: readonly Notification[];
  readonly unreadCount: number;
  /** Up to where everything is known; `null` before the first answer. */
  readonly cursor: string | null;
  /** The digest that the server gave with this very cursor, if it did. */
  readonly etag: string | null;
  /** Whether there are older ones than `items`. */
  readonly hasMore: boolean;
  /** From where to page on, where that is known. */
  readonly nextCursor: string | null;
}

/** What may happen to it. */
export type InboxChange =
  | { readonly type: "list"; readonly answer: ListAnswer }
  | { readonly type: "page"; readonly answer: ListAnswer }
  /** Of an answer that fits; see `fitOf`. */
  | { readonly type: "sync"; readonly answer: SyncAnswer }
  /** `at` is the time now: a change does not say when. */
  | { readonly type: "event"; readonly event: NotificationEvent | ChangedEvent; readonly at: string }
  | { readonly type: "passed"; readonly nowMs: number }
  | { readonly type: "lost" }
  | { readonly type: "cached"; readonly cached: CachedInbox };

export const emptyInbox: Inbox = {
  items: [],
  unreadCount: 0,
  cursor: null,
  etag: null,
  hasMore: false,
  nextCursor: null,
};

/** What to do with something that tells the inbox from `prev` to `cursor`. */
export type Fit = "apply" | "drop" | "wait" | "foreign";

/**
 * Applied where it begins at or before what is known and ends after it: it tells every change between.
 * One that begins later leaves a hole, and one of another epoch is of another history.
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
      const { items, nextCursor, unreadCount, cursor } = change.answer;
      const known = new Map(inbox.items.map((item) => [item.id, item]));
      return {
        items: items.map((item) => kept(known.get(item.id), item)),
        unreadCount,
        cursor,
        etag: null,
        hasMore: nextCursor !== null,
        nextCursor,
      };
    }
    case "page": {
      const { items, nextCursor } = change.answer;
      // Whatever is there already is at least as fresh: frames and syncs have followed it.
      const known = new Set(inbox.items.map((item) => item.id));
      const older = items.filter((item) => !known.has(item.id));
      return { ...inbox, items: older.reduce(placed, inbox.items), hasMore: nextCursor !== null, nextCursor };
    }
    case "sync": {
      const { notifications, deleted, unreadCount, cursor, etag, complete } = change.answer;
      const items = put(without(inbox.items, deleted), notifications, inbox.hasMore);
      return { ...inbox, items, unreadCount, cursor, etag: complete ? etag : null };
    }
    case "event":
      return afterEvent(inbox, change.event, change.at);
    case "passed": {
      const isOver = ({ expiresAt }: Notification): boolean =>
        expiresAt !== null && Date.parse(expiresAt) <= change.nowMs;
      const over = inbox.items.filter(isOver);
      if (over.length === 0) return inbox;
      const unread = over.filter((item) => item.readAt === null).length;
      return {
        ...inbox,
        items: inbox.items.filter((item) => !isOver(item)),
        unreadCount: Math.max(0, inbox.unreadCount - unread),
      };
    }
    case "lost":
      // What is shown stays until the list comes anew; no event fits before that.
      return { ...inbox, cursor: null, etag: null };
    case "cached":
      return { ...change.cached, etag: null };
  }
}

/**
 * What an answer from `since` on tells beyond what is known, as the events that were missed.
 * It may be a part of one that began at `start`; and frames may have told some of it while it was on its way.
 */
export function missed(inbox: Inbox, since: string, start: string, answer: SyncAnswer): CarillonEvent[] {
  const { cursor, unreadCount } = answer;
  const prev = inbox.cursor ?? since;
  const known = new Map(inbox.items.map((item) => [item.id, item]));
  const arrived: NotificationEvent[] = [];
  const ids: Record<"read" | "unread", string[]> = { read: [], unread: [] };
  for (const notification of answer.notifications) {
    const before = known.get(notification.id);
    const isUnread = notification.readAt === null;
    if (!before && isAhead(notification.cursor, start)) {
      arrived.push({ type: "notification", cursor, prev, notification, unreadCount });
    } else if (!before || (before.readAt === null) !== isUnread) {
      ids[isUnread ? "unread" : "read"].push(notification.id);
    }
  }
  // Of what is not shown nobody knows whether a frame has told it.
  const deleted = answer.deleted.filter((id) => known.has(id) || prev === since);
  const changed = (change: ChangedEvent["change"], which: readonly string[]): ChangedEvent[] =>
    which.length ? [{ type: "changed", cursor, prev, ids: which, change, unreadCount }] : [];
  return [
    ...arrived,
    ...changed("read", ids.read),
    ...changed("unread", ids.unread),
    ...changed("deleted", deleted),
    ...(answer.events ?? []),
  ];
}

/** What is kept of it until the next visit: the newest. What is cut off has no place to page on from. */
export function cachedOf(inbox: Inbox, cursor: string): CachedInbox {
  const { items, unreadCount, hasMore, nextCursor } = inbox;
  const cut = items.length > MAX_CACHED && { items: items.slice(0, MAX_CACHED), hasMore: true, nextCursor: null };
  return { items, unreadCount, cursor, hasMore, nextCursor, ...cut };
}

function afterEvent(inbox: Inbox, event: NotificationEvent | ChangedEvent, at: string): Inbox {
  const { cursor, unreadCount } = event;
  const after = (items: readonly Notification[]): Inbox => ({ ...inbox, items, unreadCount, cursor, etag: null });
  if (event.type === "notification") {
    return after(put(without(inbox.items, event.replaces ?? []), [event.notification], inbox.hasMore));
  }
  switch (event.change) {
    case "read":
      return after(marked(inbox.items, event.ids, at));
    case "unread":
      return after(marked(inbox.items, event.ids, null));
    default:
      return after(without(inbox.items, event.ids));
  }
}

function marked(
  items: readonly Notification[],
  ids: readonly string[],
  readAt: string | null,
): readonly Notification[] {
  const wanted = new Set(ids);
  return items.map((item) =>
    wanted.has(item.id) && (item.readAt === null) !== (readAt === null) ? { ...item, readAt } : item,
  );
}

function without(items: readonly Notification[], ids: readonly string[]): readonly Notification[] {
  if (ids.length === 0) return items;
  const gone = new Set(ids);
  return items.filter((item) => !gone.has(item.id));
}

/** The present state of each, where it stands or where its arrival belongs. */
function put(
  items: readonly Notification[],
  present: readonly Notification[],
  hasMore: boolean,
): readonly Notification[] {
  const oldest = items.at(-1);
  const fresh = new Map(present.map((item) => [item.id, item]));
  let all = items;
  // An arrival, which is the most frequent change, copies the list once: where it is placed.
  if (items.some((item) => fresh.has(item.id))) {
    all = items.map((item) => {
      const now = fresh.get(item.id);
      return now && fresh.delete(item.id) ? kept(item, now) : item;
    });
  }
  for (const item of fresh.values()) {
    // Below the oldest one shown there may be others between, so it comes with its page.
    if (hasMore && oldest && isAhead(oldest.cursor, item.cursor)) continue;
    all = placed(all, item);
  }
  return all;
}

/** With one more, newest first; nearly always at one of the ends. */
function placed(items: readonly Notification[], item: Notification): readonly Notification[] {
  const last = items.at(-1);
  if (last && isAhead(last.cursor, item.cursor)) return [...items, item];
  const below = items.findIndex((other) => isAhead(item.cursor, other.cursor));
  return items.toSpliced(below < 0 ? items.length : below, 0, item);
}

/** The same object where nothing differs, so that its row need not render. */
function kept(known: Notification | undefined, now: Notification): Notification {
  return known && JSON.stringify(known) === JSON.stringify(now) ? known : now;
}
