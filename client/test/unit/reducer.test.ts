import { expect, test, vi } from "vitest";
import { emptyInbox, type Inbox, reduce } from "../../src/inbox.js";
import type { Notification, StoredNotification } from "../../src/index.js";
import { intentOf } from "../../src/intents.js";
import { applyIntents } from "../../src/overlay.js";
import { createStore } from "../../src/store.js";

const at = "2026-11-21T12:00:00.000Z";

function item(offset: number): StoredNotification {
  return {
    id: `n${offset}`,
    type: "like",
    title: `t${offset}`,
    body: null,
    data: {},
    actionUrl: null,
    priority: "normal",
    createdAt: at,
    readAt: null,
    expiresAt: null,
    collapseKey: null,
    silent: false,
    cursor: `e.${offset}`,
  };
}

function inboxOf(count: number): Inbox {
  const items = Array.from({ length: count }, (_, n) => item(count - n));
  return { ...emptyInbox, items, unreadCount: count, cursor: `e.${count}` };
}

const arrival = (offset: number) =>
  ({
    type: "event",
    at,
    event: {
      type: "notification",
      prev: `e.${offset - 1}`,
      cursor: `e.${offset}`,
      notification: item(offset),
      unreadCount: offset,
    },
  }) as const;

test("reducing does not mutate its input", () => {
  const before = inboxOf(3);
  const copy = structuredClone(before);
  const frozen = { ...before, items: Object.freeze([...before.items]) };
  reduce(frozen, arrival(4));
  const ids = ["n1", "n2"];
  const step = { prev: "e.3", cursor: "e.5", unreadCount: 1, ids };
  for (const change of ["read", "unread", "deleted", "expired"] as const) {
    reduce(frozen, { type: "event", at, event: { type: "changed", change, ...step } });
  }
  expect(before).toEqual(copy);
});

test("an event inspects only the notifications that it concerns", () => {
  const before = inboxOf(10_000);
  const looks = [vi.spyOn(JSON, "stringify"), vi.spyOn(Date, "parse"), vi.spyOn(Array.prototype, "sort")];
  const arrived = reduce(before, arrival(10_001));
  const read = reduce(arrived, {
    type: "event",
    at,
    event: { type: "changed", change: "read", prev: "e.10001", cursor: "e.10002", ids: ["n77"], unreadCount: 10_000 },
  });
  for (const look of looks) expect(look).not.toHaveBeenCalled();
  // Each makes one new array, with the same objects except one.
  expect(arrived.items.slice(1).every((same, n) => same === before.items[n])).toBe(true);
  expect(read.items.filter((other, n) => other !== arrived.items[n]).map(({ id }) => id)).toEqual(["n77"]);
  const view = applyIntents(read, []);
  expect(view.notifications).toBe(read.items);
});

test("an intent changes only its notification, and the changed copy keeps its identity", () => {
  const inbox = inboxOf(100);
  const intent = intentOf({ id: "c1", kind: "read", ids: ["n5"], at }, "user");
  const [first, second] = [applyIntents(inbox, [intent]), applyIntents(reduce(inbox, arrival(101)), [intent])];
  const of = (view: typeof first): Notification | undefined => view.notifications.find(({ id }) => id === "n5");
  expect(of(first)?.readAt).toBe(at);
  expect(of(first)).toBe(of(second));
  expect(first.notifications.filter((other, n) => other !== inbox.items[n]).length).toBe(1);
  expect([first.unreadCount, second.unreadCount]).toEqual([99, 100]);
});

test("a snooze hides a notification until it has come back, as a new arrival on top", () => {
  const inbox = inboxOf(3);
  const bounds = { before: "e.3", until: "2026-11-21T13:00:00.000Z" };
  const intent = intentOf({ id: "c1", kind: "snooze", ids: ["n2"], at, ...bounds }, "user");
  const ids = (of: Inbox): string[] => applyIntents(of, [intent]).notifications.map(({ id }) => id);
  expect(ids(inbox)).toEqual(["n3", "n1"]);
  expect(applyIntents(inbox, [intent]).unreadCount).toBe(2);
  const response = { deleted: [], unreadCount: 3, cursor: "e.5", etag: "", complete: true };
  const back = { ...item(2), cursor: "e.5" };
  const after = reduce(inbox, { type: "sync", response: { ...response, notifications: [back] } });
  expect(ids(after)).toEqual(["n2", "n3", "n1"]);
  expect(after.items[0]).toBe(back);
});

test("a list without changes keeps every object", () => {
  const inbox = inboxOf(50);
  const items = structuredClone(inbox.items);
  const after = reduce(inbox, { type: "list", response: { items, nextCursor: null, unreadCount: 50, cursor: "e.50" } });
  expect(after.items.every((same, n) => same === inbox.items[n])).toBe(true);
});

test("a store notifies no listener if nothing differs", () => {
  const { store, update } = createStore({ a: 1, b: 2 });
  const listener = vi.fn();
  const stop = store.subscribe(listener);
  update({ a: 1 });
  expect(listener).not.toHaveBeenCalled();
  update({ a: 2 });
  expect(listener).toHaveBeenCalledWith({ a: 2, b: 2 }, { a: 1, b: 2 });
  stop();
  update({ a: 3 });
  expect(listener).toHaveBeenCalledTimes(1);
  expect(store.getInitialState()).toEqual({ a: 1, b: 2 });
});
