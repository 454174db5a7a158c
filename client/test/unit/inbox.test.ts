import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, json } from "../harness/server.js";

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

/** The number of sync calls so far. */
const syncs = (): number => server.callsTo("/api/sync").length;

/** Connects a device, and waits until its first ping is over. */
async function idleDevice(options: Parameters<typeof deviceOf>[1] = {}): Promise<Device> {
  device = await connected(deviceOf(server, options));
  await advance(3_000);
  return device;
}

describe("frames", () => {
  test("that come twice are shown and emitted once", async () => {
    await idleDevice();
    const { frame } = server.send({ title: "once" });
    server.push(frame);
    server.push(frame);
    await advance(1_000);
    expect(device.titles()).toEqual(["once"]);
    expect(device.events.length).toBe(1);
  });

  test("that overtake each other are reordered without a sync", async () => {
    await idleDevice();
    const before = syncs();
    const frames = [1, 2, 3].map((n) => server.send({ title: `t${n}`, frame: "held" }).frame);
    for (const frame of frames.toReversed()) server.push(frame);
    expect(device.titles()).toEqual(["t3", "t2", "t1"]);
    await advance(10_000);
    expect(syncs()).toBe(before);
    expect(device.events.length).toBe(3);
  });

  test("that were lost are fetched after a quarter of a second", async () => {
    await idleDevice();
    const before = syncs();
    server.send({ title: "lost", frame: "lost" });
    server.send({ title: "seen" });
    expect(device.titles()).toEqual([]);
    await advance(249);
    expect(syncs()).toBe(before);
    await advance(1);
    expect(syncs()).toBe(before + 1);
    expect(device.titles()).toEqual(["seen", "lost"]);
    expect(device.events.length).toBe(2);
  });

  test("that are malformed lose nothing", async () => {
    await idleDevice();
    server.send({ title: "spoilt", frame: "lost" });
    for (const text of [
      "",
      "<html>",
      "null",
      "[]",
      "7",
      '{"type":7}',
      '{"type":"notification"}',
      '{"cursor":"e1.9"}',
    ]) {
      server.push(text);
    }
    await settle();
    expect(device.codes().filter((code) => code === "invalid_frame").length).toBe(8);
    expect(device.titles()).toEqual(["spoilt"]);
    expect(device.state().wsStatus).toBe("connected");
  });

  test("of an unknown type are ignored", async () => {
    await idleDevice();
    server.push('{"type":"constructor"}');
    server.push('{"type":"weather"}');
    expect(device.problems).toEqual([]);
  });

  test("for a notification that is too large are fetched, and later frames wait for them", async () => {
    await idleDevice();
    server.send({ title: "large", frame: "fetch" });
    server.send({ title: "after" });
    await settle();
    expect(device.titles()).toEqual(["after", "large"]);
    expect(device.state().unreadCount).toBe(2);
    expect(device.events.length).toBe(2);
  });

  test("of type resync cause a sync", async () => {
    await idleDevice();
    server.send({ title: "many", frame: "lost" });
    server.push({ type: "resync" });
    await settle();
    expect(device.titles()).toEqual(["many"]);
  });

  test("that replace notifications remove those", async () => {
    await idleDevice();
    const first = server.send({ title: "1 like" });
    server.send({ title: "2 likes", replaces: [first.id] });
    expect(device.titles()).toEqual(["2 likes"]);
    expect(device.state().unreadCount).toBe(1);
    expect(device.state().cursor).toBe(server.cursor);
  });

  test("for changes by another device are applied", async () => {
    await idleDevice();
    const { id } = server.send();
    const other = server.send();
    server.change("read", [id]);
    expect(device.state().unreadCount).toBe(1);
    expect(device.state().notifications.find((item) => item.id === id)?.readAt).not.toBeNull();
    server.change("unread", [id]);
    expect(device.state().unreadCount).toBe(2);
    server.change("deleted", [id]);
    expect(device.state().notifications.map((item) => item.id)).toEqual([other.id]);
  });

  test("for emitted events are passed on once, and leave the cursor unchanged", async () => {
    await idleDevice();
    const cursor = device.state().cursor;
    const emitted = { type: "announcement", id: "a1", name: "n", title: "t", body: null, data: {} };
    server.push(emitted);
    server.push(emitted);
    expect(device.events).toEqual([emitted]);
    expect(device.state().cursor).toBe(cursor);
  });

  test("with cursors beyond the exact range of a number are in order", async () => {
    server.head = 0;
    server.epoch = "e1";
    await idleDevice();
    const big = "9007199254740993";
    const next = "9007199254740994";
    const frame = (prev: string, cursor: string, id: string): object => ({
      type: "notification",
      prev,
      cursor,
      unreadCount: 1,
      notification: {
        id,
        type: "like",
        title: id,
        createdAt: "2026-11-21T12:00:00Z",
        readAt: null,
        expiresAt: null,
        cursor,
      },
    });
    server.push(frame("e1.0", `e1.${big}`, "a"));
    server.push(frame(`e1.${big}`, `e1.${next}`, "b"));
    server.push(frame(`e1.${big}`, `e1.${next}`, "b"));
    expect(device.titles()).toEqual(["b", "a"]);
  });
});

test("a response that is overtaken by frames undoes nothing", async () => {
  await idleDevice();
  const { id } = server.send();
  let release = (): void => {};
  server.fault = async ({ path }) => {
    if (!path.startsWith("/api/sync")) return undefined;
    const stale = json(200, {
      notifications: [server.rows.get(id)?.notification],
      deleted: [],
      unreadCount: 1,
      cursor: "e1.1",
      etag: "x",
      complete: true,
    });
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    return stale;
  };
  const refreshed = device.client.refresh();
  await settle();
  server.change("read", [id]);
  expect(device.state().unreadCount).toBe(0);
  release();
  server.fault = () => undefined;
  await refreshed;
  expect(device.state()).toMatchObject({ unreadCount: 0, cursor: "e1.2" });
  expect(device.state().notifications[0]?.readAt).not.toBeNull();
  expect(device.events.map(({ type }) => type)).toEqual(["notification", "changed"]);
});

test("a sync emits exactly the events that were missed", async () => {
  await idleDevice();
  const [read, unread, deleted] = [server.send(), server.send(), server.send()].map(({ id }) => id) as [
    string,
    string,
    string,
  ];
  server.change("read", [unread]);
  device.events.length = 0;
  server.change("read", [read], false);
  server.change("unread", [unread], false);
  server.change("deleted", [deleted], false);
  const { id } = server.send({ frame: "lost" });
  await device.client.refresh();
  await device.client.refresh();
  const emitted = device.events.map((event) =>
    event.type === "notification"
      ? event.notification.id
      : event.type === "changed"
        ? [event.change, ...event.ids]
        : event,
  );
  expect(emitted).toEqual([id, ["read", read], ["unread", unread], ["deleted", deleted]]);
});

test("a sync in parts is fetched to the end", async () => {
  await idleDevice();
  server.maxSync = 7;
  for (let n = 0; n < 30; n++) server.send({ title: `t${n}`, frame: "lost" });
  await device.client.refresh();
  expect(device.titles().length).toBe(30);
  expect(device.events.length).toBe(30);
  expect(device.state().cursor).toBe("e1.30");
});

test("a part that makes no progress is not requested forever", async () => {
  await idleDevice();
  server.send({ frame: "lost" });
  server.fault = ({ path }) =>
    path.startsWith("/api/sync")
      ? json(200, { notifications: [], deleted: [], unreadCount: 0, cursor: "e1.0", etag: "x", complete: false })
      : undefined;
  await expect(device.client.refresh()).rejects.toMatchObject({ code: "invalid_answer" });
});

test("a gap that no response closes causes fewer and fewer syncs", async () => {
  await idleDevice();
  const before = syncs();
  const { notification } = server.send({ frame: "held" }).frame as { notification: object };
  server.rows.clear();
  server.head = 0;
  server.push({ type: "notification", prev: "e1.90", cursor: "e1.91", unreadCount: 1, notification });
  await advance(60_000);
  expect(syncs() - before).toBeGreaterThan(3);
  expect(syncs() - before).toBeLessThan(14);
});

test("an expired cursor reloads the list, and is reported", async () => {
  await idleDevice();
  server.send({ title: "old" });
  const oldest = device.state().notifications[0];
  for (let n = 0; n < 10; n++) server.send({ title: `t${n}`, frame: "lost" });
  server.purgedThrough = 8;
  await device.client.refresh();
  expect(device.codes()).toContain("cursor_expired");
  expect(device.titles().length).toBe(11);
  expect(device.state()).toMatchObject({ cursor: server.cursor, error: null });
  expect(device.state().notifications.at(-1)).toBe(oldest);
});

test("a new epoch replaces the inbox", async () => {
  await idleDevice();
  server.send({ title: "old" });
  server.startNewEpoch();
  server.send({ title: "new" });
  await settle();
  expect(device.titles()).toEqual(["new"]);
  expect(device.state().cursor).toBe("e2.1");
  server.send({ title: "newer" });
  expect(device.titles()).toEqual(["newer", "new"]);
});

test("a notification is hidden when it expires, without an event", async () => {
  await idleDevice();
  const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();
  server.send({ title: "stays" });
  server.send({ title: "later", expiresAt: inMs(40_000) });
  server.send({ title: "sooner", expiresAt: inMs(10_000) });
  expect(device.titles()).toEqual(["sooner", "later", "stays"]);
  await advance(9_999);
  expect(device.titles().length).toBe(3);
  await advance(1);
  expect(device.titles()).toEqual(["later", "stays"]);
  expect(device.state().unreadCount).toBe(2);
  await advance(30_000);
  expect(device.titles()).toEqual(["stays"]);
});

test("shown notifications are acknowledged cumulatively, not one by one", async () => {
  await idleDevice();
  for (let n = 0; n < 20; n++) server.send();
  await advance(499);
  expect(server.acked).not.toContain("e1.20");
  await advance(1);
  expect(server.acked.at(-1)).toBe("e1.20");
  expect(server.acked.length).toBeLessThan(4);
  server.send();
  device.client.close();
  await settle();
  expect(server.acked.at(-1)).toBe("e1.21");
});

test("a failing listener stops neither other listeners nor the inbox", async () => {
  const thrown: unknown[] = [];
  const catcher = (error: unknown): unknown => thrown.push(error);
  process.on("uncaughtException", catcher);
  device = deviceOf(server);
  device.client.onEvent(() => {
    throw new Error("application error");
  });
  const received: string[] = [];
  const stop = device.client.onEvent(({ type }) => received.push(type));
  await connected(device);
  server.send({ title: "shown" });
  stop();
  server.send({ title: "too" });
  await settle();
  expect(received).toEqual(["notification"]);
  expect(device.titles()).toEqual(["too", "shown"]);
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("uncaughtException", catcher);
  expect(thrown.length).toBe(2);
});

describe("pages", () => {
  test("are appended without duplicates, and older notifications stay out until their page comes", async () => {
    const sent = Array.from({ length: 25 }, (_, n) => server.send({ title: `t${n}` }));
    await idleDevice({ pageSize: 10 });
    expect(device.titles().length).toBe(10);
    expect(device.state().hasMore).toBe(true);
    // Its change brings it with the sync. Shown now, it would be below a gap.
    server.change("read", [sent[3]?.id ?? ""], false);
    server.send({ title: "t25" });
    await device.client.refresh();
    expect(device.titles().length).toBe(11);
    await device.client.loadMore();
    expect(device.titles().length).toBe(21);
    await Promise.all([device.client.loadMore(), device.client.loadMore()]);
    expect(device.titles()).toEqual(Array.from({ length: 26 }, (_, n) => `t${25 - n}`));
    expect(device.state()).toMatchObject({ hasMore: false, unreadCount: 25 });
    const calls = server.calls.length;
    await device.client.loadMore();
    expect(server.calls.length).toBe(calls);
  });

  test("that lag behind the inbox are requested again", async () => {
    const sent = Array.from({ length: 20 }, () => server.send());
    await idleDevice({ pageSize: 10 });
    let calls = 0;
    server.fault = ({ path }) => {
      if (!path.startsWith("/api/notifications?") || calls++ > 0) return undefined;
      const items = sent
        .slice(0, 10)
        .map(({ frame, ...item }) => item)
        .reverse();
      // The event overtakes the response.
      server.change("read", [sent[3]?.id ?? ""]);
      return json(200, { items, nextCursor: null, unreadCount: 20, cursor: "e1.20" });
    };
    const more = device.client.loadMore();
    await advance(1_000);
    await more;
    expect(calls).toBe(2);
    expect(device.state().notifications.find(({ id }) => id === sent[3]?.id)?.readAt).not.toBeNull();
  });

  test("that fail are reported", async () => {
    for (let n = 0; n < 20; n++) server.send();
    await idleDevice({ pageSize: 10 });
    server.fault = ({ path }) => (path.startsWith("/api/notifications?") ? json(500, {}) : undefined);
    await expect(device.client.loadMore()).rejects.toMatchObject({ code: "http_500" });
    expect(device.state()).toMatchObject({ loadingMore: false, error: { code: "http_500", action: "loadMore" } });
  });
});
