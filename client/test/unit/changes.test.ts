import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, json, refusal } from "../harness/server.js";

let server: FakeServer;
let device: Device;

beforeEach(async () => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
  for (const title of ["a", "b", "c"]) server.send({ title, type: title === "c" ? "news" : "like" });
  device = await connected(deviceOf(server));
  await advance(3_000);
});

afterEach(() => {
  device.client.close();
  vi.useRealTimers();
});

const unread = (): string[] =>
  device
    .state()
    .notifications.filter(({ readAt }) => readAt === null)
    .map(({ title }) => title);

/** Delays calls until the returned function is called. Then the server answers them, or they get `response`. */
function hold(path: string, response?: Response): () => void {
  let release = (): void => {};
  const held = new Promise<Response | undefined>((resolve) => {
    release = () => resolve(response);
  });
  server.fault = (call) => (call.path.includes(path) ? held : undefined);
  return release;
}

test("a change shows at once, and does not flicker while the server confirms it", async () => {
  const release = hold("/read");
  const counts: number[] = [];
  device.client.store.subscribe(({ unreadCount }) => counts.push(unreadCount));
  const done = device.client.markAsRead("n1");
  expect(device.state().unreadCount).toBe(2);
  expect(unread()).toEqual(["c", "b"]);
  release();
  await done;
  await advance(5_000);
  expect(unread()).toEqual(["c", "b"]);
  expect(Math.max(...counts)).toBe(2);
  expect(server.rows.get("n1")?.notification.readAt).not.toBeNull();
});

test("a change without a frame stays until a sync confirms it", async () => {
  const counts: number[] = [];
  device.client.store.subscribe(({ unreadCount }) => counts.push(unreadCount));
  server.fault = ({ path }) => {
    if (!path.endsWith("n1/read")) return undefined;
    server.change("read", ["n1"], false);
    return new Response(null, { status: 204 });
  };
  const before = server.callsTo("/api/sync").length;
  await device.client.markAsRead("n1");
  expect(device.state().unreadCount).toBe(2);
  await advance(250);
  expect(server.callsTo("/api/sync").length).toBe(before + 1);
  expect(device.state()).toMatchObject({ unreadCount: 2, cursor: server.cursor });
  // The overlay is empty again, so a change by another device shows.
  server.change("unread", ["n1"]);
  expect(device.state().unreadCount).toBe(3);
  expect(Math.max(...counts.slice(0, -1))).toBe(2);
});

test("a refusal undoes the change, and sets the error", async () => {
  const release = hold("/read", refusal(403, "forbidden"));
  server.change("deleted", ["n2"], false);
  const done = device.client.markAsRead("n2");
  expect(unread()).toEqual(["c", "a"]);
  const refused = expect(done).rejects.toMatchObject({ code: "forbidden", status: 403 });
  release();
  await refused;
  expect(device.state().error).toMatchObject({ code: "forbidden", source: "change" });
  server.fault = () => undefined;
  await settle();
  // The refusal caused a sync, which removed the notification.
  expect(device.titles()).toEqual(["c", "a"]);
  await device.client.markAsRead("n1");
  expect(device.state().error).toBeNull();
});

test("a notification whose deletion is refused reappears next to later arrivals", async () => {
  const release = hold("/n1", refusal(403, "forbidden"));
  const done = device.client.deleteNotification("n1");
  expect(device.titles()).toEqual(["c", "b"]);
  expect(device.state().unreadCount).toBe(2);
  server.send({ title: "d" });
  expect(device.titles()).toEqual(["d", "c", "b"]);
  release();
  await expect(done).rejects.toMatchObject({ code: "forbidden" });
  expect(device.titles()).toEqual(["d", "c", "b", "a"]);
  expect(device.state().unreadCount).toBe(4);
});

test("a caller may ignore the promise", async () => {
  const unhandled: unknown[] = [];
  const collect = (reason: unknown): unknown => unhandled.push(reason);
  process.on("unhandledRejection", collect);
  server.fault = () => refusal(403, "forbidden");
  void device.client.markAsRead("n1");
  void device.client.deleteNotification("n2");
  void device.client.refresh();
  await advance(1_000);
  device.client.close();
  void device.client.markAsRead("n1");
  void device.client.loadMore();
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", collect);
  expect(unhandled).toEqual([]);
});

test.each([
  ["no response", () => Promise.reject(new TypeError("fetch failed"))],
  ["429", () => refusal(429, "rate_limited", 1_000)],
  ["503", () => refusal(503, "outcome_unknown")],
  ["a proxy's page", () => new Response("<html>", { status: 200 })],
])("%s is not a refusal: the change is retried until it succeeds", async (_, fault) => {
  let left = 4;
  server.fault = ({ path }) => (path.endsWith("/n1/read") && left-- > 0 ? fault() : undefined);
  const done = device.client.markAsRead("n1");
  await settle();
  expect(unread()).toEqual(["c", "b"]);
  await advance(60_000);
  await done;
  expect(server.rows.get("n1")?.notification.readAt).not.toBeNull();
  expect(device.state()).toMatchObject({ unreadCount: 2, error: null });
});

test("of two changes to a notification the last one counts, although the first one failed", async () => {
  let failures = 2;
  server.fault = ({ path }) => (path.endsWith("/n1/read") && failures-- > 0 ? refusal(503, "overloaded") : undefined);
  const done = Promise.all([device.client.markAsRead("n1"), device.client.markAsUnread("n1")]);
  expect(unread()).toEqual(["c", "b", "a"]);
  await advance(30_000);
  await done;
  expect(server.rows.get("n1")?.notification.readAt).toBeNull();
  expect(unread()).toEqual(["c", "b", "a"]);
  expect(device.state().unreadCount).toBe(3);
});

test("deleting a deleted notification succeeds", async () => {
  server.change("deleted", ["n1"], false);
  await device.client.deleteNotification("n1");
  await advance(1_000);
  expect(device.titles()).toEqual(["c", "b"]);
});

describe("several changes at once", () => {
  test("show at once, and are sent together", async () => {
    const release = hold("/api/notifications/n");
    const done = device.client.markAsRead(["n1", "n2"]);
    expect(unread()).toEqual(["c"]);
    await settle();
    expect(server.changeFrames).toMatchObject([{ action: "read", ids: ["n1", "n2"] }]);
    release();
    await done;
    await advance(1_000);
    expect(unread()).toEqual(["c"]);
    expect(device.state().unreadCount).toBe(1);
  });

  test("match the server after one of them is gone", async () => {
    server.change("deleted", ["n2"], false);
    await device.client.markAsRead(["n1", "n2"]);
    await advance(1_000);
    expect(device.titles()).toEqual(["c", "a"]);
    expect(unread()).toEqual(["c"]);
    expect(device.state().error).toBeNull();
  });

  test("succeed but for the one that is refused, which the error names", async () => {
    server.fault = ({ path }) => (path.includes("/n2/") ? refusal(403, "forbidden") : undefined);
    const done = expect(device.client.markAsRead(["n1", "n2", "n3"])).rejects.toMatchObject({ code: "forbidden" });
    await advance(1_000);
    await done;
    expect(unread()).toEqual(["b"]);
    expect(device.state().error).toMatchObject({ code: "forbidden", action: "read", ids: ["n2"] });
  });

  test("that wait for a retry are all retried when the network comes back", async () => {
    server.fault = () => Promise.reject(new TypeError("fetch failed"));
    server.openSockets[0]?.end();
    const done = device.client.markAsRead(["n1", "n2", "n3"]);
    await advance(20_000);
    server.fault = () => undefined;
    device.page.dispatchEvent(new Event("online"));
    await settle();
    await done;
    expect(server.unreadCount).toBe(0);
  });
});

describe("marking all as read", () => {
  test("marks what has arrived, and nothing that arrives meanwhile", async () => {
    const release = hold("/read-all");
    const done = device.client.markAllAsRead();
    expect(device.state().unreadCount).toBe(0);
    server.send({ title: "d" });
    expect(unread()).toEqual(["d"]);
    expect(device.state().unreadCount).toBe(1);
    release();
    await done;
    await advance(1_000);
    expect(unread()).toEqual(["d"]);
    expect(server.unreadCount).toBe(1);
    expect(server.changeFrames[0]).toMatchObject({ action: "readAll", before: "e1.3" });
    // The overlay is empty again, so a change by another device shows.
    server.change("unread", ["n1"]);
    expect(unread()).toEqual(["d", "a"]);
  });

  test("of a type leaves other types unread", async () => {
    const done = device.client.markAllAsRead("like");
    expect(unread()).toEqual(["c"]);
    await done;
    await advance(1_000);
    expect(unread()).toEqual(["c"]);
    expect(device.state().unreadCount).toBe(1);
  });

  test("is undone if it is refused", async () => {
    server.fault = ({ path }) =>
      path.endsWith("read-all") ? json(410, { error: { code: "cursor_expired" } }) : undefined;
    await expect(device.client.markAllAsRead()).rejects.toMatchObject({ code: "cursor_expired" });
    expect(device.state().unreadCount).toBe(3);
    expect(unread()).toEqual(["c", "b", "a"]);
  });
});

test("closing rejects pending changes", async () => {
  server.fault = () => Promise.reject(new TypeError("fetch failed"));
  const done = device.client.markAsRead("n1");
  const ended = expect(done).rejects.toMatchObject({ code: "closed" });
  await advance(1_000);
  device.client.close();
  await ended;
});
