import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { connected, type Device, deviceOf, pass, settle } from "../harness/device.js";
import { FakeServer, json, refusal } from "../harness/server.js";

let server: FakeServer;
let device: Device;

beforeEach(async () => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
  for (const title of ["a", "b", "c"]) server.send({ title, type: title === "c" ? "news" : "like" });
  device = await connected(deviceOf(server));
  await pass(3_000);
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

/** Holds calls until they are let go, as a slow network does; then they are answered, or refused. */
function hold(path: string, answer?: Response): () => void {
  let release = (): void => {};
  const held = new Promise<Response | undefined>((resolve) => {
    release = () => resolve(answer);
  });
  server.fault = (call) => (call.path.includes(path) ? held : undefined);
  return release;
}

test("a change shows at once, and is not taken back while the server confirms it", async () => {
  const release = hold("/read");
  const counts: number[] = [];
  device.client.store.subscribe(({ unreadCount }) => counts.push(unreadCount));
  const done = device.client.markAsRead("n1");
  expect(device.state().unreadCount).toBe(2);
  expect(unread()).toEqual(["c", "b"]);
  release();
  await done;
  await pass(5_000);
  expect(unread()).toEqual(["c", "b"]);
  expect(Math.max(...counts)).toBe(2);
  expect(server.rows.get("n1")?.notification.readAt).not.toBeNull();
});

test("a change of which no frame comes stays until a sync tells it", async () => {
  const counts: number[] = [];
  device.client.store.subscribe(({ unreadCount }) => counts.push(unreadCount));
  server.fault = ({ path }) => {
    if (!path.endsWith("n1/read")) return undefined;
    server.change("read", ["n1"], false);
    return new Response(null, { status: 204 });
  };
  const before = server.calledTo("/api/sync").length;
  await device.client.markAsRead("n1");
  expect(device.state().unreadCount).toBe(2);
  await pass(250);
  expect(server.calledTo("/api/sync").length).toBe(before + 1);
  expect(device.state()).toMatchObject({ unreadCount: 2, cursor: server.cursor });
  // Nothing is laid over any more: what another device does shows.
  server.change("unread", ["n1"]);
  expect(device.state().unreadCount).toBe(3);
  expect(Math.max(...counts.slice(0, -1))).toBe(2);
});

test("a refusal takes the change back, and says why", async () => {
  const release = hold("/read");
  server.change("deleted", ["n2"], false);
  const done = device.client.markAsRead("n2");
  expect(unread()).toEqual(["c", "a"]);
  const refused = expect(done).rejects.toMatchObject({ code: "not_found", status: 404, requestId: "q1" });
  server.fault = () => undefined;
  release();
  await refused;
  expect(device.state().error).toMatchObject({ code: "not_found", source: "change" });
  await settle();
  // It is gone, as the server said; the refusal was the first sign of it.
  expect(device.titles()).toEqual(["c", "a"]);
  await device.client.markAsRead("n1");
  expect(device.state().error).toBeNull();
});

test("a refused deletion is shown again, with all that came meanwhile", async () => {
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

test("nobody has to wait for the promise", async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): unknown => unhandled.push(reason);
  process.on("unhandledRejection", note);
  server.fault = () => refusal(403, "forbidden");
  void device.client.markAsRead("n1");
  void device.client.deleteNotification("n2");
  void device.client.refresh();
  await pass(1_000);
  device.client.close();
  void device.client.markAsRead("n1");
  void device.client.loadMore();
  vi.useRealTimers();
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", note);
  expect(unhandled).toEqual([]);
});

test.each([
  ["no answer", () => Promise.reject(new TypeError("fetch failed"))],
  ["429", () => refusal(429, "rate_limited", 1_000)],
  ["503", () => refusal(503, "outcome_unknown")],
  ["a proxy's page", () => new Response("<html>", { status: 200 })],
])("%s is no refusal: it is done again until there is one", async (_, fault) => {
  let left = 4;
  server.fault = ({ path }) => (path.endsWith("/n1/read") && left-- > 0 ? fault() : undefined);
  const done = device.client.markAsRead("n1");
  await settle();
  expect(unread()).toEqual(["c", "b"]);
  await pass(30_000);
  await done;
  expect(server.rows.get("n1")?.notification.readAt).not.toBeNull();
  expect(device.state()).toMatchObject({ unreadCount: 2, error: null });
});

test("changes go out in order, so that a later one is never overtaken", async () => {
  let failures = 2;
  server.fault = ({ path }) => (path.endsWith("/n1/read") && failures-- > 0 ? refusal(503, "overloaded") : undefined);
  const done = Promise.all([device.client.markAsRead("n1"), device.client.markAsUnread("n1")]);
  expect(unread()).toEqual(["c", "b", "a"]);
  await pass(30_000);
  await done;
  expect(server.rows.get("n1")?.notification.readAt).toBeNull();
  expect(unread()).toEqual(["c", "b", "a"]);
  expect(device.state().unreadCount).toBe(3);
});

test("deleting what is deleted already is done", async () => {
  server.change("deleted", ["n1"], false);
  await device.client.deleteNotification("n1");
  await pass(1_000);
  expect(device.titles()).toEqual(["c", "b"]);
});

describe("many at once", () => {
  test("show at once, and go out together", async () => {
    const release = hold("/api/notifications/n");
    const done = device.client.markAsRead(["n1", "n2"]);
    expect(unread()).toEqual(["c"]);
    await settle();
    expect(server.calledTo("/api/notifications/n").length).toBe(2);
    release();
    await done;
    await pass(1_000);
    expect(unread()).toEqual(["c"]);
    expect(device.state().unreadCount).toBe(1);
  });

  test("of which one is refused are shown as the server has them", async () => {
    server.change("deleted", ["n2"], false);
    await expect(device.client.markAsRead(["n1", "n2"])).rejects.toMatchObject({ code: "not_found" });
    await pass(1_000);
    expect(device.titles()).toEqual(["c", "a"]);
    expect(unread()).toEqual(["c"]);
  });

  test("that wait to be repeated are all repeated as soon as there is a hint", async () => {
    server.fault = () => Promise.reject(new TypeError("fetch failed"));
    const done = device.client.markAsRead(["n1", "n2", "n3"]);
    await pass(20_000);
    server.fault = () => undefined;
    device.page.dispatchEvent(new Event("online"));
    await settle();
    await done;
    expect(server.unreadCount).toBe(0);
  });
});

describe("marking all", () => {
  test("marks what has arrived here, and nothing that arrives meanwhile", async () => {
    const release = hold("/read-all");
    const done = device.client.markAllAsRead();
    expect(device.state().unreadCount).toBe(0);
    server.send({ title: "d" });
    expect(unread()).toEqual(["d"]);
    expect(device.state().unreadCount).toBe(1);
    release();
    await done;
    await pass(1_000);
    expect(unread()).toEqual(["d"]);
    expect(server.unreadCount).toBe(1);
    expect(server.calledTo("/api/notifications/read-all")[0]?.body).toEqual({ before: "e1.3" });
    // Nothing is laid over any more: what another device does shows.
    server.change("unread", ["n1"]);
    expect(unread()).toEqual(["d", "a"]);
  });

  test("of a type leaves the others", async () => {
    const done = device.client.markAllAsRead("like");
    expect(unread()).toEqual(["c"]);
    await done;
    await pass(1_000);
    expect(unread()).toEqual(["c"]);
    expect(device.state().unreadCount).toBe(1);
  });

  test("is taken back where it is refused", async () => {
    server.fault = ({ path }) =>
      path.endsWith("read-all") ? json(410, { error: { code: "cursor_expired" } }) : undefined;
    await expect(device.client.markAllAsRead()).rejects.toMatchObject({ code: "cursor_expired" });
    expect(device.state().unreadCount).toBe(3);
    expect(unread()).toEqual(["c", "b", "a"]);
  });
});

test("closing leaves nothing waiting", async () => {
  server.fault = () => Promise.reject(new TypeError("fetch failed"));
  const done = device.client.markAsRead("n1");
  const ended = expect(done).rejects.toMatchObject({ code: "closed" });
  await pass(1_000);
  device.client.close();
  await ended;
});
