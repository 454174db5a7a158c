// Notifications that only Redis has: shown at once by their id, counted and put in their place when they are written.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { CarillonEvent, View, ViewState } from "../../src/index.js";
import { FakeBrowser } from "../harness/browser.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, refusal } from "../harness/server.js";

let server: FakeServer;
let device: Device;
const devices: Device[] = [];

beforeEach(async () => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
  device = await opens();
  server.send({ title: "old" });
  await advance(3_000);
  device.events.length = device.rung.length = 0;
});

afterEach(() => {
  for (const { client } of devices.splice(0)) client.close();
  vi.useRealTimers();
});

async function opens(options: Parameters<typeof deviceOf>[1] = {}): Promise<Device> {
  const opened = deviceOf(server, options);
  devices.push(opened);
  return connected(opened);
}

const cursors = (): (string | null)[] => device.state().notifications.map(({ cursor }) => cursor);
const told = (events: readonly CarillonEvent[] = device.events): string[] =>
  events.map((event) => (event.type === "notification" ? event.notification.title : event.type));
const syncs = (): number => server.callsTo("/api/sync").length;

describe("a provisional notification", () => {
  test("shows at the top at once, rings, and moves and counts nothing", async () => {
    const before = device.state();
    const calls = server.calls.length;
    server.sendFast({ title: "1" });
    server.sendFast({ title: "2" });
    expect(device.titles()).toEqual(["2", "1", "old"]);
    expect(cursors()).toEqual([null, null, "e1.1"]);
    expect(device.state()).toMatchObject({ cursor: before.cursor, unreadCount: 1 });
    expect(told()).toEqual(["1", "2"]);
    expect(told(device.rung)).toEqual(["1", "2"]);
    expect(device.events[0]).toMatchObject({ cursor: null, prev: null, unreadCount: null });
    await advance(5_000);
    expect(server.calls.length).toBe(calls);
    expect(device.problems).toEqual([]);
  });

  test("takes its place without ringing again, and counts then", async () => {
    server.sendFast({ title: "1" });
    server.sendFast({ title: "2" });
    const calls = server.calls.length;
    server.drain();
    expect(device.titles()).toEqual(["2", "1", "old"]);
    expect(cursors()).toEqual(["e1.3", "e1.2", "e1.1"]);
    expect(device.state()).toMatchObject({ cursor: "e1.3", unreadCount: 3 });
    expect(told()).toEqual(["1", "2"]);
    await advance(1_000);
    expect(server.calls.length).toBe(calls);
  });

  test("stays above what was written meanwhile", () => {
    server.sendFast({ title: "provisional" });
    server.isRedisAway = true;
    server.send({ title: "written" });
    expect(device.titles()).toEqual(["provisional", "written", "old"]);
    server.isRedisAway = false;
    server.drain();
    expect(device.titles()).toEqual(["provisional", "written", "old"]);
    expect(cursors()).toEqual(["e1.3", "e1.2", "e1.1"]);
  });

  test("that comes twice shows and rings once", () => {
    const { frame } = server.sendFast({ title: "1" });
    server.push(frame);
    expect(device.titles()).toEqual(["1", "old"]);
    expect(told()).toEqual(["1"]);
  });

  test("that comes after its place is known is dropped", () => {
    const { frame } = server.sendFast({ title: "1", frame: "held" });
    server.drain();
    server.push(frame);
    expect(device.titles()).toEqual(["1", "old"]);
    expect(cursors()).toEqual(["e1.2", "e1.1"]);
    expect(told()).toEqual(["1"]);
  });

  test("that comes after it was deleted does not come back", () => {
    const { id, frame } = server.sendFast({ title: "1", frame: "held" });
    server.drain();
    server.change("deleted", [id]);
    server.push(frame);
    expect(device.titles()).toEqual(["old"]);
    expect(told()).toEqual(["1", "changed"]);
  });

  test("that comes after a sync brought it and its deletion does not come back", async () => {
    // Frames have moved the client on when the answer comes.
    let release = (): void => {};
    server.fault = ({ path }) =>
      path.startsWith("/api/sync")
        ? new Promise((resolve) => {
            release = () => resolve(undefined);
          })
        : undefined;
    const refreshed = device.client.refresh();
    await settle();
    server.fault = () => undefined;
    server.send({ title: "between" });
    const { id, frame } = server.sendFast({ title: "1", frame: "held" });
    server.drain({ frame: "lost" });
    server.change("deleted", [id], false);
    release();
    await refreshed;
    server.push(frame);
    expect(device.titles()).toEqual(["between", "old"]);
  });

  test("that comes after it was listed and deleted does not come back", async () => {
    const { id, frame } = server.sendFast({ title: "1", frame: "held" });
    device = await opens();
    server.change("deleted", [id]);
    server.push(frame);
    expect(device.titles()).toEqual(["old"]);
    expect(told()).toEqual(["changed"]);
  });

  test("that comes after the first list is dropped", async () => {
    const { frame } = server.sendFast({ title: "1", frame: "held" });
    device = await opens();
    server.push(frame);
    expect(device.titles()).toEqual(["1", "old"]);
    expect(cursors()).toEqual(["e1.2", "e1.1"]);
    expect(told()).toEqual([]);
  });

  test("takes its place by a sync when the frame is lost", async () => {
    server.sendFast({ title: "1" });
    server.drain({ frame: "lost" });
    await device.client.refresh();
    expect(cursors()).toEqual(["e1.2", "e1.1"]);
    expect(device.state().unreadCount).toBe(2);
    expect(told()).toEqual(["1"]);
  });

  test("takes its place by a list when the cursor is too old", async () => {
    server.sendFast({ title: "1" });
    server.drain({ frame: "lost" });
    server.purgedThrough = 2;
    await device.client.refresh();
    expect(cursors()).toEqual(["e1.2", "e1.1"]);
    expect(told()).toEqual(["1"]);
  });

  test("goes when a sync tells that it was deleted", async () => {
    const { id } = server.sendFast({ title: "1" });
    server.drain({ frame: "lost" });
    server.change("deleted", [id], false);
    await device.client.refresh();
    expect(device.titles()).toEqual(["old"]);
    expect(told()).toEqual(["1", "changed"]);
  });

  test("that was read elsewhere before its place is known is told to be read", async () => {
    const { id } = server.sendFast({ title: "1" });
    server.drain({ frame: "lost" });
    server.change("read", [id], false);
    await device.client.refresh();
    expect(device.state().notifications[0]).toMatchObject({ id, cursor: "e1.2", readAt: expect.any(String) });
    expect(device.events.slice(1)).toMatchObject([{ type: "changed", change: "read", ids: [id] }]);
  });

  test("rings once more when it comes back from a snooze", () => {
    const { id } = server.sendFast({ title: "1" });
    server.drain();
    server.change("deleted", [id]);
    const notification = { ...server.rows.get(id)?.notification, cursor: "e1.4" };
    server.push({ type: "notification", prev: "e1.3", cursor: "e1.4", notification, unreadCount: 2 });
    expect(told()).toEqual(["1", "changed", "1"]);
  });

  test("expires like any other", async () => {
    server.isRedisAway = true;
    server.sendFast({ title: "1", expiresAt: "2026-11-21T12:01:00.000Z" });
    expect(device.titles()).toEqual(["1", "old"]);
    await advance(60_000);
    expect(device.titles()).toEqual(["old"]);
    expect(device.state().unreadCount).toBe(1);
  });

  test("that Redis lost stays until the page is left, and takes its place if it is sent again", async () => {
    const { id, frame } = server.sendFast({ title: "1" });
    const [lost] = server.log.splice(0);
    await device.client.refresh();
    device.client.close();
    await connected(device);
    await advance(3_000);
    expect(device.titles()).toEqual(["1", "old"]);
    expect(device.state().unreadCount).toBe(1);
    server.send({ title: "later" });
    if (lost) server.log.push(lost);
    server.push(frame);
    server.drain();
    expect(device.titles()).toEqual(["1", "later", "old"]);
    expect(device.state()).toMatchObject({ unreadCount: 3, notifications: [{ id, cursor: "e1.3" }, {}, {}] });
    expect(told()).toEqual(["1", "later"]);
  });

  test("stays while a new epoch is loaded", async () => {
    server.isRedisAway = true;
    server.sendFast({ title: "1" });
    server.startNewEpoch();
    server.send({ title: "new" });
    await advance(1_000);
    expect(device.titles()).toEqual(["1", "new"]);
    server.isRedisAway = false;
    server.drain();
    expect(cursors()).toEqual(["e2.2", "e2.1"]);
  });
});

describe("a change of a provisional notification", () => {
  test("shows at once, and still when it is written", async () => {
    const { id } = server.sendFast({ title: "1" });
    const done = device.client.markAsRead(id);
    expect(device.state()).toMatchObject({ unreadCount: 1, notifications: [{ readAt: expect.any(String) }, {}] });
    // It is written before it is read, so the frame of the arrival comes first.
    const seen: (string | null | undefined)[] = [];
    device.client.store.subscribe(({ notifications }) => seen.push(notifications[0]?.readAt));
    await done;
    await advance(1_000);
    expect(cursors()).toEqual(["e1.2", "e1.1"]);
    expect(seen).not.toContain(null);
    expect(device.state()).toMatchObject({ cursor: "e1.3", unreadCount: 1 });
    expect(told()).toEqual(["1", "changed"]);
  });

  test("shows still when all frames are lost", async () => {
    const { id } = server.sendFast({ title: "1" });
    server.fault = ({ method }) => {
      if (method !== "DELETE" && method !== "POST") return undefined;
      server.drain({ frame: "lost" });
      server.change("deleted", [id], false);
      return new Response(null, { status: 204 });
    };
    const seen: number[] = [];
    device.client.store.subscribe(({ notifications }) => seen.push(notifications.length));
    await device.client.deleteNotification(id);
    await advance(1_000);
    expect(device.titles()).toEqual(["old"]);
    expect(new Set(seen)).toEqual(new Set([1]));
    expect(device.state().unreadCount).toBe(1);
  });

  test("is undone if the server refuses it", async () => {
    const { id } = server.sendFast({ title: "1" });
    server.fault = ({ path }) => (path.includes(id) ? refusal(403, "forbidden") : undefined);
    await expect(device.client.deleteNotification(id)).rejects.toMatchObject({ code: "forbidden" });
    expect(device.titles()).toEqual(["1", "old"]);
  });

  test("stays if Redis lost the notification", async () => {
    const [read, deleted] = [server.sendFast({ title: "read" }), server.sendFast({ title: "deleted" })];
    server.log = [];
    await Promise.all([device.client.markAsRead(read.id), device.client.deleteNotification(deleted.id)]);
    await advance(120_000);
    expect(device.titles()).toEqual(["read", "old"]);
    expect(device.state()).toMatchObject({ unreadCount: 1, notifications: [{ readAt: expect.any(String) }, {}] });
  });

  test("does not hide later changes of other notifications", async () => {
    const [old] = device.state().notifications;
    const { id } = server.sendFast({ title: "lost" });
    server.log = [];
    await device.client.markAsRead([id, old?.id ?? ""]);
    await advance(120_000);
    server.change("unread", [old?.id ?? ""]);
    expect(device.state()).toMatchObject({ unreadCount: 1, notifications: [{ id }, { readAt: null }] });
  });

  test("is part of marking all as read, also of one type", async () => {
    server.sendFast({ title: "1", type: "like" });
    server.sendFast({ title: "2", type: "news" });
    const unread = (): string[] =>
      device.state().notifications.flatMap(({ title, readAt }) => (readAt === null ? title : []));
    const liked = device.client.markAllAsRead("like");
    expect(unread()).toEqual(["2"]);
    await liked;
    await device.client.markAllAsRead();
    await advance(2_000);
    expect(unread()).toEqual([]);
    expect(device.state().unreadCount).toBe(0);
    expect(server.unreadCount).toBe(0);
  });
});

describe("views", () => {
  test("show what fits them, and count it when it is written", async () => {
    for (let n = 0; n < 5; n++) server.send({ type: "news", title: `n${n}` });
    device = await opens({ pageSize: 3 });
    const views: [View, View, View] = [
      device.client.view({ type: "news" }),
      device.client.view({ type: "like" }),
      device.client.view({ unread: true }),
    ];
    const states = (): ViewState[] => views.map(({ store }) => store.getState());
    await vi.dynamicImportSettled();
    await advance(2_000);
    const [news] = states().map(({ unreadCount }) => unreadCount);
    server.sendFast({ type: "news", title: "fast" });
    expect(states().map(({ notifications }) => notifications[0]?.title)).toEqual(["fast", "old", "fast"]);
    expect(states()[0]?.unreadCount).toBe(news);
    server.drain();
    await advance(2_000);
    expect(states().map(({ notifications }) => notifications[0]?.cursor)).toEqual(["e1.7", "e1.1", "e1.7"]);
    expect(states()[0]?.unreadCount).toBe((news ?? 0) + 1);
    const ids = states().map(({ notifications }) => notifications.map(({ id }) => id));
    for (const shown of ids) expect(new Set(shown).size).toBe(shown.length);
    for (const view of views) view.release();
  });

  test("of unread ones leave out one that is read before it is written", async () => {
    const view = device.client.view({ unread: true });
    await vi.dynamicImportSettled();
    await settle();
    const { id } = server.sendFast({ title: "fast" });
    const titles = (): string[] => view.store.getState().notifications.map(({ title }) => title);
    expect(titles()).toEqual(["fast", "old"]);
    const done = device.client.markAsRead(id);
    expect(titles()).toEqual(["old"]);
    await done;
    await advance(1_000);
    expect(titles()).toEqual(["old"]);
    view.release();
  });
});

describe("over other ways", () => {
  test("a frame comes over an event stream too", async () => {
    server.eventsUrl = "http://carillon.test/api/events";
    device = await opens({ transports: ["sse"] });
    await advance(3_000);
    server.sendFast({ title: "1" });
    await settle();
    expect(device.titles()).toEqual(["1", "old"]);
    server.drain();
    await settle();
    expect(device.state()).toMatchObject({ transport: "sse", cursor: "e1.2", unreadCount: 2 });
    expect(told()).toEqual(["1"]);
  });

  test("polling brings it in its place", async () => {
    device = await opens({ transports: ["polling"] });
    server.sendFast({ title: "1" });
    await advance(6_000);
    expect(device.state()).toMatchObject({ cursor: "e1.2", unreadCount: 2 });
    expect(told()).toEqual(["1"]);
  });

  test("a malformed frame shows nothing, and leads to one sync", async () => {
    const { frame } = server.sendFast({ title: "1", frame: "held" });
    server.log = [];
    const notification = { ...(frame as { notification: object }).notification };
    for (const broken of [
      { ...frame, prev: "e1.1" },
      { ...frame, unreadCount: 2 },
      { ...frame, notification: { ...notification, cursor: "e1.2" } },
      { ...frame, notification: { ...notification, id: 7 } },
      { ...frame, cursor: "e1.2", prev: "e1.1", unreadCount: 2 },
    ]) {
      const before = syncs();
      server.push(broken);
      await advance(1_000);
      expect(device.titles()).toEqual(["old"]);
      expect(syncs()).toBe(before + 1);
    }
  });
});

describe("tabs", () => {
  let tabs: Device[];
  beforeEach(async () => {
    const browser = new FakeBrowser();
    const opensTab = (): Promise<Device> => opens({ environment: { ...browser.tab(), indexedDB: null } });
    tabs = [await opensTab(), await opensTab()];
    await advance(3_000);
  });

  test("all show it, and one of them rings once", async () => {
    server.sendFast({ title: "1" });
    await settle();
    server.drain();
    await settle();
    for (const tab of tabs) {
      expect(tab.titles()).toEqual(["1", "old"]);
      expect(tab.state()).toMatchObject({ cursor: "e1.2", unreadCount: 2 });
      expect(told(tab.events)).toEqual(["1"]);
    }
    expect(tabs.flatMap(({ rung }) => told(rung))).toEqual(["1"]);
  });

  test("a change by a follower is carried out, and shows in all", async () => {
    const { id } = server.sendFast({ title: "1" });
    await settle();
    await tabs[1]?.client.markAsRead(id);
    await advance(1_000);
    for (const tab of tabs) {
      expect(tab.state()).toMatchObject({ unreadCount: 1, notifications: [{ readAt: expect.any(String) }, {}] });
    }
  });

  test("the next leader goes on from what it shows", async () => {
    server.sendFast({ title: "1" });
    await settle();
    tabs[0]?.client.close();
    await advance(10_000);
    expect(tabs[1]?.state()).toMatchObject({ leader: true, cursor: "e1.2", unreadCount: 2 });
    expect(told(tabs[1]?.events)).toEqual(["1"]);
    expect(told(tabs[1]?.rung)).toEqual([]);
  });
});
