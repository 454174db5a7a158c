// Changes that happen between a request and its response.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { CachedInbox } from "../../src/index.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, json, refusal } from "../harness/server.js";

let server: FakeServer;
let device: Device;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
});

afterEach(() => {
  device.client.close();
  vi.useRealTimers();
});

async function idleDevice(options: Parameters<typeof deviceOf>[1] = {}): Promise<Device> {
  device = await connected(deviceOf(server, options));
  await advance(3_000);
  return device;
}

/** Delays the next call to this path until the returned function is called. */
function hold(path: string): () => void {
  let release = (): void => {};
  server.fault = (call) => {
    if (!call.path.startsWith(path)) return undefined;
    server.fault = () => undefined;
    return new Promise((resolve) => {
      release = () => resolve(undefined);
    });
  };
  return () => release();
}

describe("a sync response that overlaps with frames", () => {
  test("emits only what is new", async () => {
    await idleDevice();
    const read = server.send({ title: "read" });
    const deleted = server.send({ title: "deleted" });
    device.events.length = 0;
    const release = hold("/api/sync");
    const refreshed = device.client.refresh();
    await settle();
    server.send({ title: "arrived" });
    server.change("read", [read.id]);
    server.change("deleted", [deleted.id]);
    server.send({ title: "lost", frame: "lost" });
    release();
    await refreshed;
    expect(device.titles()).toEqual(["lost", "arrived", "read"]);
    expect(device.events.map((event) => (event.type === "changed" ? event.change : event.type))).toEqual([
      "notification",
      "read",
      "deleted",
      "notification",
    ]);
  });

  test("emits nothing if the frames brought everything", async () => {
    await idleDevice();
    const release = hold("/api/sync");
    const refreshed = device.client.refresh();
    await settle();
    server.send({ title: "arrived" });
    release();
    await refreshed;
    expect(device.events.map(({ type }) => type)).toEqual(["notification"]);
  });
});

test("a notification that was read elsewhere is emitted as an arrival, even beyond the first part of a sync", async () => {
  await idleDevice();
  const { id } = server.send({ frame: "lost" });
  server.maxSync = 2;
  for (let n = 0; n < 3; n++) server.send({ frame: "lost" });
  server.change("read", [id], false);
  await device.client.refresh();
  const arrivals = device.events.flatMap((event) => (event.type === "notification" ? event.notification.id : []));
  expect(arrivals.sort()).toEqual(["n1", "n2", "n3", "n4"]);
  expect(device.events.length).toBe(4);
});

test("an emitted event is passed on once, even after reconnecting", async () => {
  device = deviceOf(server);
  const emitted = { type: "announcement", id: "a1", name: "n", title: "t", body: null, data: {} };
  await connected(device);
  server.push(emitted);
  server.fault = ({ path }) =>
    path.startsWith("/api/sync")
      ? json(200, {
          notifications: [],
          deleted: [],
          events: [emitted],
          unreadCount: 0,
          cursor: server.cursor,
          etag: "x",
          complete: true,
        })
      : undefined;
  device.client.close();
  await connected(device);
  expect(device.events).toEqual([emitted]);
});

test("a sync response of another epoch does not cause a hot loop", async () => {
  await idleDevice();
  const before = server.callsTo("/api/sync").length;
  server.fault = ({ path }) => {
    if (!path.startsWith("/api/sync")) return undefined;
    if (server.callsTo("/api/sync").length - before > 50) throw new Error("a hot loop");
    return json(200, { notifications: [], deleted: [], unreadCount: 0, cursor: "e9.1", etag: "x", complete: true });
  };
  server.push({ type: "resync" });
  await advance(5_000);
  expect(server.callsTo("/api/sync").length - before).toBeLessThan(10);
  expect(device.codes()).toContain("invalid_answer");
});

test("a retry delay longer than a timer accepts does not cause an immediate retry", async () => {
  server.fault = () => refusal(503, "overloaded", 2 ** 40);
  device = await connected(deviceOf(server));
  await advance(60_000);
  expect(server.calls.length).toBeLessThan(10);
});

describe("a page", () => {
  test("that was requested before the list was reloaded leaves no gap", async () => {
    for (let n = 0; n < 40; n++) server.send({ title: `t${n}` });
    await idleDevice({ pageSize: 10 });
    // Forty more arrive and the cursor expires, so the list is reloaded while the page is in flight.
    const release = hold("/api/notifications?");
    const more = device.client.loadMore();
    await vi.dynamicImportSettled();
    await settle();
    for (let n = 40; n < 80; n++) server.send({ title: `t${n}`, frame: "lost" });
    server.purgedThrough = 60;
    await device.client.refresh();
    release();
    await more;
    while (device.state().hasMore) await device.client.loadMore();
    expect(device.titles()).toEqual(Array.from({ length: 80 }, (_, n) => `t${79 - n}`));
  });

  test("whose page token has expired is reported, and the list is reloaded", async () => {
    for (let n = 0; n < 30; n++) server.send();
    await idleDevice({ pageSize: 10 });
    server.startNewEpoch();
    for (let n = 0; n < 15; n++) server.send({ title: `new ${n}`, frame: "lost" });
    server.fault = ({ path }) => {
      if (!path.includes("&cursor=")) return undefined;
      server.fault = () => undefined;
      return refusal(410, "cursor_expired");
    };
    await expect(device.client.loadMore()).rejects.toMatchObject({ code: "cursor_expired" });
    await settle();
    expect(device.titles().length).toBe(10);
    expect(device.state()).toMatchObject({ cursor: "e2.15", error: { action: "loadMore" } });
    await device.client.loadMore();
    expect(device.titles()).toEqual(Array.from({ length: 15 }, (_, n) => `new ${14 - n}`));
  });

  test("of another epoch is not mixed with the inbox", async () => {
    for (let n = 0; n < 30; n++) server.send();
    await idleDevice({ pageSize: 10 });
    server.startNewEpoch();
    for (let n = 0; n < 15; n++) server.send({ title: `new ${n}`, frame: "lost" });
    const shown: number[] = [];
    device.client.store.subscribe(({ notifications }) => shown.push(notifications.length));
    await device.client.loadMore();
    expect(new Set(shown)).toEqual(new Set([10]));
    expect(device.titles()[0]).toBe("new 14");
  });
});

test("a slow cache does not replace what arrived while it was being read", async () => {
  const old = server.send({ title: "old" });
  let give = (_: CachedInbox | null): void => {};
  const nothing = async (): Promise<never[]> => [];
  const cache = {
    loadInbox: () =>
      new Promise<CachedInbox | null>((resolve) => {
        give = resolve;
      }),
    saveInbox: async () => {},
    loadEvents: nothing,
    addEvents: async () => {},
    clear: async () => {},
  };
  device = await connected(deviceOf(server, { cache }));
  server.send({ title: "new" });
  await device.client.refresh();
  const shown: string[] = [];
  device.client.store.subscribe(({ notifications }) => shown.push(notifications.map(({ title }) => title).join()));
  const { frame, ...item } = old;
  give({ items: [item], unreadCount: 1, cursor: "e1.1", hasMore: false, nextCursor: null });
  await advance(3_000);
  expect(new Set(shown)).toEqual(new Set(["new,old"]));
  expect(device.events).toEqual([]);
});

test("cached data of an unexpected shape is ignored", async () => {
  server.send({ title: "shown" });
  const broken = { items: [null], unreadCount: 1, cursor: "e1.1", hasMore: false, nextCursor: null };
  const cache = {
    loadInbox: async () => broken as never,
    saveInbox: async () => {},
    loadEvents: async () => [],
    addEvents: async () => {},
    clear: async () => {},
  };
  device = await connected(deviceOf(server, { cache }));
  await settle();
  expect(device.titles()).toEqual(["shown"]);
  expect(device.state().wsStatus).toBe("connected");
});

describe("an application's error", () => {
  const thrown: unknown[] = [];
  const catcher = (error: unknown): unknown => thrown.push(error);
  beforeEach(() => {
    thrown.length = 0;
    process.on("uncaughtException", catcher);
  });
  afterEach(async () => {
    vi.useRealTimers();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("uncaughtException", catcher);
  });

  test("in onProblem does not stop retries", async () => {
    device = deviceOf(server, {
      onProblem: () => {
        throw new Error("application error");
      },
    });
    await connected(device);
    server.openSockets[0]?.end();
    await advance(1_000);
    expect(device.state().wsStatus).toBe("connected");
  });

  test("in a store listener loses no event", async () => {
    await idleDevice();
    const stop = device.client.store.subscribe(() => {
      throw new Error("application error");
    });
    server.send({ title: "arrived" });
    expect(device.events.length).toBe(1);
    stop();
  });
});

describe("marking all as read", () => {
  test("before anything has arrived marks nothing", async () => {
    server.send({ title: "never seen" });
    server.fault = ({ path }) => (path.startsWith("/api/notifications?") ? refusal(503, "overloaded") : undefined);
    device = await connected(deviceOf(server));
    await device.client.markAllAsRead();
    server.fault = () => undefined;
    await advance(10_000);
    expect(device.state()).toMatchObject({ unreadCount: 1 });
    expect(server.callsTo("/api/notifications/read-all")).toEqual([]);
  });

  test("covers notifications that are not loaded, but no later arrivals", async () => {
    for (let n = 0; n < 30; n++) server.send();
    await idleDevice({ pageSize: 10 });
    const release = hold("/api/notifications/read-all");
    const done = device.client.markAllAsRead();
    expect(device.state().unreadCount).toBe(0);
    await settle();
    server.send();
    expect(device.state().unreadCount).toBe(1);
    release();
    await done;
    await advance(1_000);
    expect(device.state().unreadCount).toBe(1);
    expect(server.unreadCount).toBe(1);
  });
});

test("failing polling shows as reconnecting, not as connecting", async () => {
  device = await connected(deviceOf(server, { transports: ["polling"] }));
  expect(device.state().wsStatus).toBe("connected");
  server.fault = () => refusal(503, "overloaded");
  await advance(5_000);
  expect(device.state()).toMatchObject({ wsStatus: "reconnecting", error: { code: "overloaded" } });
});
