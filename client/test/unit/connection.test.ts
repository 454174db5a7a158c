// One socket: opened with a ticket, kept alive by pings, and renewed in time.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, refusal } from "../harness/server.js";
import type { FakeSocket } from "../harness/socket.js";
import { tokenOf } from "../harness/token.js";

const HOUR_MS = 3_600_000;
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

test("it connects with a ticket, shows the inbox, and receives notifications", async () => {
  server.send({ title: "before" });
  device = deviceOf(server);
  expect(device.state().wsStatus).toBe("closed");
  device.client.connect();
  await connected(device);
  expect(device.state()).toMatchObject({
    wsStatus: "connected",
    transport: "websocket",
    leader: true,
    userId: "alice",
  });
  expect(server.sockets.map(({ url }) => url.href)).toEqual(["ws://carillon.test/live?ticket=t0"]);
  expect(device.state().loading).toBe(false);
  server.send({ title: "after" });
  expect(device.titles()).toEqual(["after", "before"]);
  expect(device.state().unreadCount).toBe(2);
  expect(device.events.map(({ type }) => type)).toEqual(["notification"]);
});

test("the socket opens at the address that the application names", async () => {
  device = await connected(deviceOf(server, { wsUrl: "wss://sockets.test/live" }));
  expect(server.sockets.map(({ url }) => url.href)).toEqual(["wss://sockets.test/live?ticket=t0"]);
});

test("closing stops everything, and connecting continues from the same cursor", async () => {
  device = await connected(deviceOf(server));
  device.client.close();
  expect(device.state()).toMatchObject({ wsStatus: "closed", transport: null });
  expect(server.openSockets).toEqual([]);
  const calls = server.calls.length;
  await advance(HOUR_MS);
  expect(server.calls.length).toBe(calls);
  server.send({ title: "meanwhile" });
  await connected(device);
  expect(device.titles()).toEqual(["meanwhile"]);
  expect(server.callsTo("/api/notifications?").length).toBe(1);
});

test("connecting, closing and connecting within one turn makes one connection", async () => {
  device = deviceOf(server);
  device.client.connect();
  device.client.close();
  device.client.connect();
  await settle();
  expect(server.callsTo("/api/ws/ticket").length).toBe(1);
});

test("a notification committed while the connection was being stored is found by the ping after two seconds", async () => {
  device = await connected(deviceOf(server));
  // Committed before the connection was stored, so it is not pushed.
  server.send({ title: "held", frame: "lost" });
  await advance(1_999);
  expect(device.titles()).toEqual([]);
  await advance(1);
  expect(device.titles()).toEqual(["held"]);
});

test("a pong with a different etag causes a sync even if the cursor is the same", async () => {
  const { id } = server.send();
  device = await connected(deviceOf(server));
  await advance(3_000);
  const row = server.rows.get(id);
  if (row) server.rows.set(id, { ...row, notification: { ...row.notification, readAt: "2026-11-21T12:00:00.000Z" } });
  await advance(60_000);
  expect(device.state()).toMatchObject({ cursor: server.cursor, unreadCount: 0 });
});

const pingsOf = (socket: FakeSocket | undefined): number =>
  socket?.sent.filter(({ action }) => action === "ping").length ?? 0;

test("it pings every minute while visible and every four minutes while hidden", async () => {
  device = await connected(deviceOf(server));
  const socket = server.openSockets[0];
  const pings = (): number => pingsOf(socket);
  await advance(2_000);
  expect(pings()).toBe(1);
  await advance(60_000);
  expect(pings()).toBe(2);
  device.page.hide();
  await advance(60_000);
  expect(pings()).toBe(3);
  await advance(239_999);
  expect(pings()).toBe(3);
  await advance(1);
  expect(pings()).toBe(4);
  device.page.show();
  expect(pings()).toBe(5);
  await advance(60_000);
  expect(pings()).toBe(6);
});

test.each([
  ["as often as the ticket says", 30_000, 30_000],
  ["at most every 20 s", 1, 20_000],
  ["at least every 4 min", 1e12, 240_000],
  ["every minute if the interval makes no sense", "soon", 60_000],
])("it pings %s", async (_, pingEveryMs, expectedMs) => {
  server.pingEveryMs = pingEveryMs;
  device = await connected(deviceOf(server));
  await advance(2_000);
  expect(pingsOf(server.openSockets[0])).toBe(1);
  await advance(expectedMs - 1);
  expect(pingsOf(server.openSockets[0])).toBe(1);
  await advance(1);
  expect(pingsOf(server.openSockets[0])).toBe(2);
});

test.each<[string, () => unknown]>([
  ["a change", () => device.client.markAsRead("n1")],
  ["loading another page", () => device.client.loadMore()],
  ["a refresh", () => device.client.refresh()],
  ["becoming visible", () => device.page.show()],
  ["the window getting the focus", () => device.page.dispatchEvent(new Event("focus"))],
])("%s makes a half-open socket noticed within 15 s", async (_, act) => {
  server.send();
  server.send();
  device = await connected(deviceOf(server, { pageSize: 1 }));
  await advance(5_000);
  const [dead] = server.openSockets;
  if (dead) dead.isDead = true;
  server.send({ title: "lost" });
  void act();
  await advance(15_000);
  expect(dead?.readyState).toBe(3);
  expect(server.openSockets.length).toBe(1);
  expect(device.titles()).toContain("lost");
});

test("a change costs no ping while the socket brings frames", async () => {
  const { id } = server.send();
  device = await connected(deviceOf(server));
  await advance(5_000);
  await device.client.markAsRead(id);
  await device.client.deleteNotification(id);
  await advance(30_000);
  expect(pingsOf(server.openSockets[0])).toBe(1);
});

test("a socket that is silent after a ping is replaced", async () => {
  device = await connected(deviceOf(server));
  const [dead] = server.openSockets;
  if (dead) dead.isDead = true;
  await advance(2_000 + 10_000 + 1_000);
  expect(dead?.readyState).toBe(3);
  expect(server.openSockets.length).toBe(1);
  expect(device.codes()).toContain("socket_closed");
});

test("an offline hint makes it probe the socket at once", async () => {
  device = await connected(deviceOf(server));
  await advance(5_000);
  const [dead] = server.openSockets;
  if (dead) dead.isDead = true;
  device.page.dispatchEvent(new Event("offline"));
  await advance(10_000);
  expect(dead?.readyState).toBe(3);
});

test("it renews the socket before two hours, never has two at once, and misses nothing in between", async () => {
  const expiresMs = Date.now() + 10 * HOUR_MS;
  device = await connected(deviceOf(server, { getToken: () => tokenOf("alice", expiresMs) }));
  const open: number[] = [];
  const statuses = new Set<string>();
  device.client.store.subscribe(({ wsStatus }) => statuses.add(wsStatus));
  let isBetween = false;
  server.fault = ({ path }) => {
    open.push(server.openSockets.length);
    if (path === "/api/ws/ticket" && server.sockets.length === 1) {
      isBetween = true;
      queueMicrotask(() => server.send({ title: "between", frame: "lost" }));
    }
    return undefined;
  };
  await advance(110 * 60_000);
  expect(isBetween).toBe(true);
  expect(server.sockets.length).toBe(2);
  expect(Math.max(...open)).toBe(1);
  expect(server.openSockets.length).toBe(1);
  expect(device.titles()).toEqual(["between"]);
  expect([...statuses]).toEqual(["connected"]);
});

test("a renewal without a ticket keeps the existing socket", async () => {
  device = await connected(deviceOf(server));
  server.fault = ({ path }) => (path === "/api/ws/ticket" ? refusal(503, "store_unavailable") : undefined);
  await advance(111 * 60_000);
  expect(server.openSockets.length).toBe(1);
  expect(device.state().wsStatus).toBe("connected");
  server.fault = () => undefined;
  await advance(60_000);
  expect(server.sockets.length).toBe(2);
});
