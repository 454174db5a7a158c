import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { connected, type Device, deviceOf, pass, settle } from "../harness/device.js";
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

/** How often the server was asked what changed. */
const syncs = (): number => server.calledTo("/api/sync").length;

/** Connected, and the first ping is over. */
async function quiet(options: Parameters<typeof deviceOf>[1] = {}): Promise<Device> {
  device = await connected(deviceOf(server, options));
  await pass(3_000);
  return device;
}

describe("frames", () => {
  test("that come twice are shown and told once", async () => {
    await quiet();
    const { frame } = server.send({ title: "once" });
    server.push(frame);
    server.push(frame);
    await pass(1_000);
    expect(device.titles()).toEqual(["once"]);
    expect(device.events.length).toBe(1);
  });

  test("that overtake each other are put in order without asking", async () => {
    await quiet();
    const before = syncs();
    const frames = [1, 2, 3].map((n) => server.send({ title: `t${n}`, frame: "held" }).frame);
    for (const frame of frames.toReversed()) server.push(frame);
    expect(device.titles()).toEqual(["t3", "t2", "t1"]);
    await pass(10_000);
    expect(syncs()).toBe(before);
    expect(device.events.length).toBe(3);
  });

  test("that were lost are asked for after a quarter of a second", async () => {
    await quiet();
    const before = syncs();
    server.send({ title: "lost", frame: "lost" });
    server.send({ title: "seen" });
    expect(device.titles()).toEqual([]);
    await pass(249);
    expect(syncs()).toBe(before);
    await pass(1);
    expect(syncs()).toBe(before + 1);
    expect(device.titles()).toEqual(["seen", "lost"]);
    expect(device.events.length).toBe(2);
  });

  test("that are no JSON, or not what they say, lose nothing", async () => {
    await quiet();
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

  test("of a type that a later server may have are passed over", async () => {
    await quiet();
    server.push('{"type":"constructor"}');
    server.push('{"type":"weather"}');
    expect(device.problems).toEqual([]);
  });

  test("too large for the wire are fetched, and what comes after waits for them", async () => {
    await quiet();
    server.send({ title: "large", frame: "fetch" });
    server.send({ title: "after" });
    await settle();
    expect(device.titles()).toEqual(["after", "large"]);
    expect(device.state().unreadCount).toBe(2);
    expect(device.events.length).toBe(2);
  });

  test("that say resync are followed", async () => {
    await quiet();
    server.send({ title: "many", frame: "lost" });
    server.push({ type: "resync" });
    await settle();
    expect(device.titles()).toEqual(["many"]);
  });

  test("with ids that they replace take those away", async () => {
    await quiet();
    const first = server.send({ title: "1 like" });
    server.send({ title: "2 likes", replaces: [first.id] });
    expect(device.titles()).toEqual(["2 likes"]);
    expect(device.state().unreadCount).toBe(1);
    expect(device.state().cursor).toBe(server.cursor);
  });

  test("of what another device did are shown", async () => {
    await quiet();
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

  test("of what was emitted are told once, without a cursor", async () => {
    await quiet();
    const cursor = device.state().cursor;
    const emitted = { type: "announcement", id: "a1", name: "n", title: "t", body: null, data: {} };
    server.push(emitted);
    server.push(emitted);
    expect(device.events).toEqual([emitted]);
    expect(device.state().cursor).toBe(cursor);
  });

  test("whose cursors pass what a number can hold are in order", async () => {
    server.head = 0;
    server.epoch = "e1";
    await quiet();
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

test("an answer that is overtaken by frames takes nothing back", async () => {
  await quiet();
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

test("what a sync brings is told as the events that were missed, and nothing else", async () => {
  await quiet();
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
  const told = device.events.map((event) =>
    event.type === "notification"
      ? event.notification.id
      : event.type === "changed"
        ? [event.change, ...event.ids]
        : event,
  );
  expect(told).toEqual([id, ["read", read], ["unread", unread], ["deleted", deleted]]);
});

test("a sync that comes in parts is asked for to the end", async () => {
  await quiet();
  server.maxSync = 7;
  for (let n = 0; n < 30; n++) server.send({ title: `t${n}`, frame: "lost" });
  await device.client.refresh();
  expect(device.titles().length).toBe(30);
  expect(device.events.length).toBe(30);
  expect(device.state().cursor).toBe("e1.30");
});

test("a part that leads nowhere is not asked for without end", async () => {
  await quiet();
  server.send({ frame: "lost" });
  server.fault = ({ path }) =>
    path.startsWith("/api/sync")
      ? json(200, { notifications: [], deleted: [], unreadCount: 0, cursor: "e1.0", etag: "x", complete: false })
      : undefined;
  await expect(device.client.refresh()).rejects.toMatchObject({ code: "invalid_answer" });
});

test("a hole that no answer closes is asked about ever more rarely", async () => {
  await quiet();
  const before = syncs();
  const { notification } = server.send({ frame: "held" }).frame as { notification: object };
  server.rows.clear();
  server.head = 0;
  server.push({ type: "notification", prev: "e1.90", cursor: "e1.91", unreadCount: 1, notification });
  await pass(60_000);
  expect(syncs() - before).toBeGreaterThan(3);
  expect(syncs() - before).toBeLessThan(14);
});

test("a cursor that is no longer known lists anew, and says so", async () => {
  await quiet();
  server.send({ title: "old" });
  const kept = device.state().notifications[0];
  for (let n = 0; n < 10; n++) server.send({ title: `t${n}`, frame: "lost" });
  server.purgedThrough = 8;
  await device.client.refresh();
  expect(device.codes()).toContain("cursor_expired");
  expect(device.titles().length).toBe(11);
  expect(device.state()).toMatchObject({ cursor: server.cursor, error: null });
  expect(device.state().notifications.at(-1)).toBe(kept);
});

test("another history replaces this one", async () => {
  await quiet();
  server.send({ title: "of yore" });
  server.beginAnew();
  server.send({ title: "new" });
  await settle();
  expect(device.titles()).toEqual(["new"]);
  expect(device.state().cursor).toBe("e2.1");
  server.send({ title: "newer" });
  expect(device.titles()).toEqual(["newer", "new"]);
});

test("what expires is hidden when its time comes, though nobody says so", async () => {
  await quiet();
  const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();
  server.send({ title: "stays" });
  server.send({ title: "later", expiresAt: inMs(40_000) });
  server.send({ title: "sooner", expiresAt: inMs(10_000) });
  expect(device.titles()).toEqual(["sooner", "later", "stays"]);
  await pass(9_999);
  expect(device.titles().length).toBe(3);
  await pass(1);
  expect(device.titles()).toEqual(["later", "stays"]);
  expect(device.state().unreadCount).toBe(2);
  await pass(30_000);
  expect(device.titles()).toEqual(["stays"]);
});

test("what was shown is acknowledged, cumulatively and not for each", async () => {
  await quiet();
  for (let n = 0; n < 20; n++) server.send();
  await pass(499);
  expect(server.acked).not.toContain("e1.20");
  await pass(1);
  expect(server.acked.at(-1)).toBe("e1.20");
  expect(server.acked.length).toBeLessThan(4);
  server.send();
  device.client.close();
  await settle();
  expect(server.acked.at(-1)).toBe("e1.21");
});

test("a listener that fails keeps neither the others nor the inbox from going on", async () => {
  const thrown: unknown[] = [];
  const catcher = (error: unknown): unknown => thrown.push(error);
  process.on("uncaughtException", catcher);
  device = deviceOf(server);
  device.client.onEvent(() => {
    throw new Error("of the application");
  });
  const told: string[] = [];
  const stop = device.client.onEvent(({ type }) => told.push(type));
  await connected(device);
  server.send({ title: "shown" });
  stop();
  server.send({ title: "too" });
  await settle();
  expect(told).toEqual(["notification"]);
  expect(device.titles()).toEqual(["too", "shown"]);
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("uncaughtException", catcher);
  expect(thrown.length).toBe(2);
});

describe("pages", () => {
  test("are added below, each notification once, and what is below them stays out until its page comes", async () => {
    const sent = Array.from({ length: 25 }, (_, n) => server.send({ title: `t${n}` }));
    await quiet({ pageSize: 10 });
    expect(device.titles().length).toBe(10);
    expect(device.state().hasMore).toBe(true);
    // It was changed, so a sync tells of it; shown now, it would stand below a hole.
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

  test("that are behind what is known are asked for again", async () => {
    const sent = Array.from({ length: 20 }, () => server.send());
    await quiet({ pageSize: 10 });
    let asked = 0;
    server.fault = ({ path }) => {
      if (!path.startsWith("/api/notifications?") || asked++ > 0) return undefined;
      const items = sent
        .slice(0, 10)
        .map(({ frame, ...item }) => item)
        .reverse();
      // Told while the answer was on its way.
      server.change("read", [sent[3]?.id ?? ""]);
      return json(200, { items, nextCursor: null, unreadCount: 20, cursor: "e1.20" });
    };
    const more = device.client.loadMore();
    await pass(1_000);
    await more;
    expect(asked).toBe(2);
    expect(device.state().notifications.find(({ id }) => id === sent[3]?.id)?.readAt).not.toBeNull();
  });

  test("that fail say so", async () => {
    for (let n = 0; n < 20; n++) server.send();
    await quiet({ pageSize: 10 });
    server.fault = ({ path }) => (path.startsWith("/api/notifications?") ? json(500, {}) : undefined);
    await expect(device.client.loadMore()).rejects.toMatchObject({ code: "http_500" });
    expect(device.state()).toMatchObject({ loading: false, error: { code: "http_500" } });
  });
});
