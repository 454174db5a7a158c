// What the user did and the server has not confirmed yet, laid over what is known of the inbox.
// Kept apart from it, a refusal is taken back by forgetting it, whatever has arrived meanwhile.

import { isAhead } from "./cursor.js";
import type { Inbox } from "./inbox.js";
import type { Notification } from "./types.js";

/** Something the user did. */
export interface Intent {
  readonly kind: "read" | "unread" | "delete" | "readAll";
  /** Of all but `readAll`: which are still to be done, or refused. */
  readonly ids: Set<string>;
  /** Of `readAll`: only this type. */
  readonly type: string | undefined;
  /** Of `readAll`: what has arrived up to here. */
  readonly before: string | null;
  readonly at: string;
  /** The server has done it; it stays until the inbox is known to be that far. */
  isDone: boolean;
  /** Ids of which an event has not yet told the same. */
  readonly untold: Set<string>;
  /** What it made of each, so that a row keeps its identity while others change. */
  readonly made: WeakMap<Notification, Notification>;
}

/** What a page shows of the inbox. */
export interface View {
  readonly notifications: readonly Notification[];
  readonly unreadCount: number;
}

/** The inbox with what the user did, in the order in which it was done. */
export function overlaid(inbox: Inbox, intents: readonly Intent[]): View {
  let notifications = inbox.items;
  let unreadCount = inbox.unreadCount;
  for (const intent of intents) {
    notifications = notifications.flatMap((item) => {
      if (!concerns(intent, item)) return item;
      const isUnread = item.readAt === null;
      const becomesUnread = intent.kind === "unread";
      if (intent.kind === "delete") {
        if (isUnread) unreadCount--;
        return [];
      }
      if (isUnread === becomesUnread) return item;
      unreadCount += becomesUnread ? 1 : -1;
      return made(intent, item, becomesUnread ? null : intent.at);
    });
    // Those that are not loaded are read too; whatever is newer than `before` is loaded.
    if (intent.kind === "readAll" && intent.type === undefined) {
      unreadCount = notifications.filter((item) => item.readAt === null).length;
    }
  }
  // The count may lag behind the items by an event.
  return { notifications, unreadCount: Math.max(0, unreadCount) };
}

function concerns(intent: Intent, item: Notification): boolean {
  if (intent.kind !== "readAll") return intent.ids.has(item.id);
  if (intent.type !== undefined && item.type !== intent.type) return false;
  return intent.before === null || !isAhead(item.cursor, intent.before);
}

function made(intent: Intent, item: Notification, readAt: string | null): Notification {
  let result = intent.made.get(item);
  if (!result) {
    result = { ...item, readAt };
    intent.made.set(item, result);
  }
  return result;
}
