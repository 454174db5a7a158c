// After `close` nothing continues: no timer, no call and no write, and no unconfirmed change stays visible.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, refusal } from "../harness/server.js";

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

const saved: string[] = [];
const cache = {
  loadInbox: async () => null,
  saveInbox: async (key: string) => {
    saved.push(key);
  },
  loadEvents: async () => [],
  addEvents: async (key: string) => {
    saved.push(key);
  },
  clear: async () => {},
};

const hang = (): Promise<undefined> => new Promise(() => {});

test("closing in a store listener leaves no timer and writes nothing later", async () => {
  device = await connected(deviceOf(server, { cache }));
  await advance(3_000);
  const stop = device.client.store.subscribe(() => {
    stop();
    device.client.close();
  });
  server.send({ title: "last", expiresAt: "2026-11-21T13:00:00.000Z" });
  saved.length = 0;
  expect(vi.getTimerCount()).toBe(0);
  await advance(5_000);
  expect(saved).toEqual([]);
});

test.each([
  ["a token is requested", { getToken: () => new Promise<string>(() => {}) }, () => {}],
  ["the cache is read", { cache: { ...cache, loadInbox: () => new Promise<never>(() => {}) } }, () => {}],
  ["every call hangs", {}, () => (server.fault = hang)],
  ["every call is refused", {}, () => (server.fault = () => refusal(503, "overloaded", 5_000))],
  ["a socket opens", {}, () => (server.connected = (socket) => (socket.isDead = true))],
] as const)("closing while %s leaves no timer", async (_, options, prepare) => {
  prepare();
  device = await connected(deviceOf(server, options));
  device.client.close();
  await settle();
  expect(vi.getTimerCount()).toBe(0);
});

test("closing while changes and pages are in flight leaves no timer", async () => {
  for (let n = 0; n < 30; n++) server.send();
  device = await connected(deviceOf(server, { pageSize: 10 }));
  await advance(3_000);
  const { head } = server;
  server.fault = ({ path, method }) => {
    if (method === "POST") return refusal(503, "overloaded", 5_000);
    if (!path.includes("&cursor=")) return undefined;
    // It lags behind the inbox, so it is requested again after a pause.
    return new Response(JSON.stringify({ items: [], nextCursor: "1", unreadCount: 0, cursor: `e1.${head - 1}` }));
  };
  const calls = [device.client.markAsRead("n1"), device.client.markAllAsRead(), device.client.loadMore()];
  const ended = Promise.all(calls.map((call) => expect(call).rejects.toMatchObject({ code: "closed" })));
  await advance(1_000);
  device.client.close();
  await ended;
  await settle();
  expect(vi.getTimerCount()).toBe(0);
});

test("a change without an answer outlives closing, and is sent when the user is back", async () => {
  const { id } = server.send();
  device = await connected(deviceOf(server));
  await advance(3_000);
  server.fault = ({ method }) => (method === "POST" ? refusal(503, "overloaded") : undefined);
  const ended = expect(device.client.markAsRead(id)).rejects.toMatchObject({ code: "closed" });
  expect(device.state().unreadCount).toBe(0);
  await settle();
  device.client.close();
  await ended;
  expect(device.state().unreadCount).toBe(0);
  server.fault = () => undefined;
  await connected(device);
  await advance(3_000);
  expect(server.unreadCount).toBe(0);
  expect(device.state().unreadCount).toBe(0);
});

test("a change in flight while the client closes still arrives, and shows after reconnecting", async () => {
  const { id } = server.send();
  device = await connected(deviceOf(server));
  await advance(3_000);
  let release = (): void => {};
  server.fault = ({ method }) =>
    method === "POST"
      ? new Promise((resolve) => {
          release = () => resolve(undefined);
        })
      : undefined;
  const ended = expect(device.client.markAsRead(id)).rejects.toMatchObject({ code: "closed" });
  await settle();
  device.client.close();
  await ended;
  release();
  server.fault = () => undefined;
  await settle();
  expect(server.unreadCount).toBe(0);
  await connected(device);
  expect(device.state().unreadCount).toBe(0);
});

test("a listener that closes on every update closes once", async () => {
  const { id } = server.send();
  device = await connected(deviceOf(server));
  await advance(3_000);
  // Done, but not confirmed by an event, so that the overlay still contains it.
  server.push = () => {};
  await device.client.markAsRead(id);
  let updates = 0;
  device.client.store.subscribe(() => {
    updates++;
    device.client.close();
  });
  device.client.close();
  expect(updates).toBeLessThan(4);
  expect(device.state().wsStatus).toBe("closed");
});
