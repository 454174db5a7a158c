// Changes by the user that the server has not confirmed yet, shown on top of the known inbox.
// Because the two are separate, a refusal is undone by dropping its intent, whatever has arrived meanwhile.

import { isAhead } from "./cursor.js";
import type { Inbox } from "./inbox.js";
import type { Notification } from "./types.js";

/** A change that the user made. */
export interface Intent {
  readonly kind: "read" | "unread" | "delete" | "readAll";
  /** For every kind but `readAll`: the notifications concerned, without those that the server refused. */
  readonly ids: Set<string>;
  /** For `readAll`: only this type. */
  readonly type: string | undefined;
  /** For `readAll`: only arrivals up to this cursor. */
  readonly before: string | null;
  readonly at: string;
  /** The server has done it. It stays until the inbox is known to include it. */
  isDone: boolean;
  /** Ids whose change no event has confirmed yet. */
  readonly unconfirmed: Set<string>;
  /** The changed copy of each notification, so that a row keeps its identity while others change. */
  readonly results: WeakMap<Notification, Notification>;
}

/** The part of the inbox that a page shows. */
export interface View {
  readonly notifications: readonly Notification[];
  readonly unreadCount: number;
}

/** The inbox with the intents applied in order. */
export function applyIntents(inbox: Inbox, intents: readonly Intent[]): View {
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
      return resultOf(intent, item, becomesUnread ? null : intent.at);
    });
    // Notifications that are not loaded are read too. Everything newer than `before` is loaded.
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

function resultOf(intent: Intent, item: Notification, readAt: string | null): Notification {
  let result = intent.results.get(item);
  if (!result) {
    result = { ...item, readAt };
    intent.results.set(item, result);
  }
  return result;
}
