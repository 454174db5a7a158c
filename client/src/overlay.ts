// Changes by the user that the server has not confirmed yet, shown on top of the known inbox.
// Because the two are separate, a refusal is undone by dropping its intent, whatever has arrived meanwhile.

import { isAhead } from "./cursor.js";
import type { CarillonError } from "./errors.js";
import { allOf, type Inbox } from "./inbox.js";
import type { Notification, PendingChange } from "./types.js";

/** A change that the user made, from the moment it shows until the inbox includes it. */
export interface Intent {
  readonly id: string;
  readonly kind: PendingChange["kind"];
  /** For every kind but `readAll`: the notifications concerned, without those that the server refused. */
  readonly ids: Set<string>;
  /** For `readAll`: only this type. */
  readonly type: string | undefined;
  /** For `readAll` and `snooze`: only arrivals up to this cursor. */
  readonly before: string | null;
  /** For `snooze`: when the notifications come back. */
  readonly until: string | undefined;
  readonly at: string;
  /** Who knows of it: the user of this tab, who waits for it, another tab, or only the device, after a reload. */
  readonly source: "user" | "tab" | "device";
  /** What the server has not answered yet: ids of `ids`, or `EVERYTHING`. */
  readonly open: Set<string>;
  /** The server has answered all of it. It stays until the inbox is known to include it. */
  isDone: boolean;
  /** Ids whose change no event has confirmed yet. */
  readonly unconfirmed: Set<string>;
  /** The changed copy of each notification, so that a row keeps its identity while others change. */
  readonly results: WeakMap<Notification, Notification>;
  /** What the user waits for. */
  readonly answered: Promise<void>;
  readonly settle: (refusal?: CarillonError) => void;
}

/** Stands for the notifications of a `readAll`, which are not known one by one. */
export const EVERYTHING = "*";

/** The part of the inbox that a page shows. */
export interface View {
  readonly notifications: readonly Notification[];
  readonly unreadCount: number;
}

/** The inbox with the intents applied in order. One pass, because two hundred intents at once are no exception. */
export function applyIntents(inbox: Inbox, intents: readonly Intent[]): View {
  const { unreadCount } = inbox;
  const items = allOf(inbox);
  if (intents.length === 0) return { notifications: items, unreadCount };
  const byId = new Map<string, Intent[]>();
  const ofAll = intents.filter(({ kind }) => kind === "readAll");
  for (const intent of intents) {
    for (const id of intent.ids) {
      const known = byId.get(id);
      if (known) known.push(intent);
      else byId.set(id, [intent]);
    }
  }
  let unreadBefore = 0;
  let unreadAfter = 0;
  const notifications: Notification[] = [];
  for (const item of items) {
    const own = byId.get(item.id);
    // Without both there is nothing to put in order.
    const concerned = own && ofAll.length > 0 ? intents : (own ?? ofAll);
    const shown = concerned.length > 0 ? after(item, concerned) : item;
    // A provisional one is counted when it is written.
    if (item.cursor !== null) {
      if (item.readAt === null) unreadBefore++;
      if (shown?.readAt === null) unreadAfter++;
    }
    if (shown) notifications.push(shown);
  }
  // Notifications that are not loaded are read too. Everything newer than `before` is loaded.
  const isAllRead = ofAll.some(({ type }) => type === undefined);
  // The count may lag behind the items by an event.
  const count = isAllRead ? unreadAfter : Math.max(0, unreadCount + unreadAfter - unreadBefore);
  return { notifications, unreadCount: count };
}

/** A notification after the intents, or `null` if one of them takes it out of the inbox. */
function after(notification: Notification, intents: readonly Intent[]): Notification | null {
  let item = notification;
  for (const intent of intents) {
    if (!concerns(intent, item)) continue;
    if (intent.kind === "delete" || intent.kind === "snooze") return null;
    const becomesUnread = intent.kind === "unread";
    if ((item.readAt === null) !== becomesUnread) item = resultOf(intent, item, becomesUnread ? null : intent.at);
  }
  return item;
}

/** Whether an intent is about a notification. */
export function concerns({ kind, ids, type, before }: Intent, { id, cursor, ...item }: Notification): boolean {
  const isLater = before !== null && cursor !== null && isAhead(cursor, before);
  // One that has come back was snoozed before.
  if (kind !== "readAll") return ids.has(id) && !(kind === "snooze" && isLater);
  if (type !== undefined && item.type !== type) return false;
  return before === null || (cursor !== null && !isLater);
}

function resultOf(intent: Intent, item: Notification, readAt: string | null): Notification {
  let result = intent.results.get(item);
  if (!result) {
    result = { ...item, readAt };
    intent.results.set(item, result);
  }
  return result;
}
