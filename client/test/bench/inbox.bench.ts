// The cost of one event in an inbox of 10,000 with a subscriber. The result is printed, never asserted.

import { bench, describe } from "vitest";
import { emptyInbox, type Inbox, reduce } from "../../src/inbox.js";
import type { Notification, StoredNotification } from "../../src/index.js";
import { applyIntents } from "../../src/overlay.js";
import { createStore } from "../../src/store.js";

const COUNT = 10_000;
const item = (offset: number): StoredNotification =>
  ({
    id: `n${offset}`,
    type: "like",
    title: "t",
    readAt: null,
    expiresAt: null,
    cursor: `e.${offset}`,
  }) as StoredNotification;
const items = Array.from({ length: COUNT }, (_, n) => item(COUNT - n));
const inbox: Inbox = { ...emptyInbox, items, unreadCount: COUNT, cursor: `e.${COUNT}` };
const step = { prev: `e.${COUNT}`, cursor: `e.${COUNT + 1}`, unreadCount: 1 };
const { store, update } = createStore<{ notifications: readonly Notification[] }>({ notifications: items });
store.subscribe(() => {});

function applies(event: Parameters<typeof reduce>[1]): void {
  update(applyIntents(reduce(inbox, event), []));
}

describe("one event among 10,000 notifications", () => {
  bench("an arrival", () => {
    applies({ type: "event", at: "", event: { type: "notification", ...step, notification: item(COUNT + 1) } });
  });

  bench("a change in the middle", () => {
    applies({ type: "event", at: "", event: { type: "changed", ...step, change: "read", ids: ["n5000"] } });
  });

  bench("a deletion at the end", () => {
    applies({ type: "event", at: "", event: { type: "changed", ...step, change: "deleted", ids: ["n1"] } });
  });
});
