import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, html, refusal } from "../harness/server.js";
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

const noAnswer = (): never => {
  throw new TypeError("fetch failed");
};

test("it connects with a ticket, shows the inbox, and receives notifications", async () => {
  server.send({ title: "before" });
  device = deviceOf(server);
  expect(device.state().wsStatus).toBe("closed");
  device.client.connect();
  device.client.connect();
  await settle();
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

test("it pings every minute while visible and every four minutes while hidden", async () => {
  device = await connected(deviceOf(server));
  const socket = server.openSockets[0];
  const pings = (): number => socket?.sent.filter(({ action }) => action === "ping").length ?? 0;
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

test("the socket gets a new token before the old one expires", async () => {
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + 600_000) });
  await connected(device);
  const actions = (): string[] => server.sockets.flatMap((socket) => socket.sent.map(({ action }) => action));
  await advance(539_000);
  expect(actions()).not.toContain("auth");
  await advance(2_000);
  expect(actions().filter((action) => action === "auth").length).toBe(1);
  await advance(540_000);
  expect(actions().filter((action) => action === "auth").length).toBe(2);
  expect(server.sockets.length).toBe(1);
});

test("the expiry of a token is measured by the server's clock", async () => {
  // The device's clock is an hour fast, so every token seems to have expired.
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + 600_000) });
  server.fault = ({ path }) =>
    path === "/api/ws/ticket"
      ? new Response(
          JSON.stringify({
            ticket: "t",
            expiresAt: new Date(Date.now() - HOUR_MS).toISOString(),
            url: "ws://carillon.test/live",
          }),
          { status: 201 },
        )
      : undefined;
  server.connected = (socket) => server.sockets.push(socket) > 0;
  await connected(device);
  const authCount = (): number =>
    server.sockets.flatMap(({ sent }) => sent).filter(({ action }) => action === "auth").length;
  await advance(HOUR_MS);
  expect(authCount()).toBe(0);
});

test("an expired token is replaced, and the client continues", async () => {
  let validMinutes = -1;
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + validMinutes * 60_000) });
  await connected(device);
  expect(device.codes()).toContain("token_expired");
  expect(device.state().error).toMatchObject({ code: "token_expired", status: 401, source: "connection" });
  expect(device.state().wsStatus).not.toBe("connected");
  validMinutes = 60;
  await advance(60_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});

test("a refused token is requested once more before the call fails", async () => {
  let calls = 0;
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + (++calls === 1 ? 3_600_000 : 7_200_000)) });
  let refused = 0;
  server.fault = () => (refused++ === 0 ? refusal(401, "invalid_token") : undefined);
  await connected(device);
  expect(device.state().wsStatus).toBe("connected");
  expect(calls).toBe(2);
});

test("a failing getToken is reported, and called again", async () => {
  let isSignedIn = false;
  device = deviceOf(server, {
    getToken: () => {
      if (!isSignedIn) throw new Error("signed out");
      return tokenOf("alice");
    },
  });
  await connected(device);
  expect(device.state().error).toMatchObject({
    code: "token_unavailable",
    message: "getToken failed: Error: signed out",
  });
  isSignedIn = true;
  await advance(30_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});

describe("a socket that never opened", () => {
  beforeEach(() => {
    server.areSocketsRefused = true;
  });

  test("is replaced by polling, and retried", async () => {
    device = await connected(deviceOf(server));
    expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling", error: null });
    expect(device.codes()).toContain("socket_refused");
    server.send({ title: "polled" });
    await advance(5_000);
    expect(device.titles()).toEqual(["polled"]);
    expect(device.events.map(({ type }) => type)).toEqual(["notification"]);
    server.areSocketsRefused = false;
    await advance(30_000);
    expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "websocket" });
    const polls = server.callsTo("/api/sync").length;
    await advance(50_000);
    expect(server.callsTo("/api/sync").length).toBe(polls);
  });

  test("leads to polls that cost a 304 each, and are rarer while hidden", async () => {
    device = await connected(deviceOf(server));
    await advance(6_000);
    const seen = server.callsTo("/api/sync").at(-1);
    expect(seen?.headers.get("if-none-match")).toBe(`"e1.0/0"`);
    device.page.hide();
    await advance(5_000);
    const before = server.callsTo("/api/sync").length;
    await advance(49_000);
    expect(server.callsTo("/api/sync").length - before).toBeLessThanOrEqual(1);
  });

  test("does not lead to polling if polling is not allowed", async () => {
    device = await connected(deviceOf(server, { transports: ["websocket"] }));
    await advance(60_000);
    expect(device.state()).toMatchObject({ wsStatus: "reconnecting", transport: null });
    expect(device.state().error?.code).toBe("socket_refused");
  });

  test("is replaced by polling if the browser forbids sockets", async () => {
    const forbidden = class {
      constructor(url: string) {
        throw new Error(`forbidden: ${url}`);
      }
    } as unknown as typeof WebSocket;
    device = await connected(deviceOf(server, { environment: { WebSocket: forbidden } }));
    expect(device.state().transport).toBe("polling");
    expect(JSON.stringify(device.problems)).not.toContain("ticket=");
  });

  test("is replaced by polling if it hangs", async () => {
    server.areSocketsRefused = false;
    server.connected = (socket) => {
      socket.isDead = true;
      return true;
    };
    device = await connected(deviceOf(server));
    expect(device.state().wsStatus).toBe("connecting");
    await advance(10_000);
    expect(device.state().transport).toBe("polling");
  });
});

test("a dropped socket is reopened, and arrivals in between show once", async () => {
  device = await connected(deviceOf(server));
  server.openSockets[0]?.end();
  expect(device.state()).toMatchObject({ wsStatus: "reconnecting", transport: null });
  server.send({ title: "meanwhile" });
  await advance(500);
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "websocket" });
  expect(device.titles()).toEqual(["meanwhile"]);
  expect(device.events.length).toBe(1);
});

test("a dropped socket that does not reopen leads to polling after the third failure", async () => {
  device = await connected(deviceOf(server));
  await advance(10_000);
  server.areSocketsRefused = true;
  server.openSockets[0]?.end();
  await settle();
  expect(device.state().transport).toBe(null);
  await advance(5_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
  server.areSocketsRefused = false;
  await advance(30_000);
  expect(device.state().transport).toBe("websocket");
});

test("retries back off with full jitter, and never stop", async () => {
  const waits: number[] = [];
  device = await connected(deviceOf(server, { transports: ["websocket"], environment: { random: () => 0.999 } }));
  await advance(10_000);
  server.fault = ({ path }) => (path === "/api/ws/ticket" ? noAnswer() : undefined);
  let last = Date.now();
  const before = server.callsTo("/api/ws/ticket").length;
  server.openSockets[0]?.end();
  let count = before;
  for (let ms = 0; ms < 300_000; ms += 50) {
    await advance(50);
    const now = server.callsTo("/api/ws/ticket").length;
    if (now > count) {
      waits.push(Date.now() - last);
      last = Date.now();
      count = now;
    }
  }
  expect(waits.slice(0, 8).map((wait) => Math.round(wait / 500) * 500)).toEqual([
    500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000,
  ]);
  expect(waits.length).toBeGreaterThan(10);
});

test("a retry waits as long as the server asks", async () => {
  device = deviceOf(server, { transports: ["websocket"] });
  server.fault = ({ path }) => (path === "/api/ws/ticket" ? refusal(503, "overloaded", 20_000) : undefined);
  await connected(device);
  await advance(19_000);
  expect(server.callsTo("/api/ws/ticket").length).toBe(1);
  await advance(1_500);
  expect(server.callsTo("/api/ws/ticket").length).toBe(2);
});

test("it is offline while nothing responds, and reconnects as soon as the network is back", async () => {
  device = await connected(deviceOf(server));
  server.fault = noAnswer;
  server.openSockets[0]?.end();
  await advance(5_000);
  expect(device.state()).toMatchObject({ wsStatus: "offline", transport: null });
  expect(device.state().error?.code).toBe("no_answer");
  for (let n = 0; n < 100; n++) server.send({ title: `t${n}` });
  server.fault = () => undefined;
  device.page.dispatchEvent(new Event("online"));
  await settle();
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
  expect(device.titles().length).toBe(100);
  expect(new Set(device.titles()).size).toBe(100);
  expect(device.events.length).toBe(100);
});

test("a call that hangs counts as no response", async () => {
  const fetch: typeof server.fetch = (_, init) =>
    new Promise((_, reject) => init?.signal?.addEventListener("abort", () => reject(new Error("aborted"))));
  device = await connected(deviceOf(server, { environment: { fetch } }));
  await advance(20_000);
  expect(device.codes()).toContain("no_answer");
});

test("an HTML response is recognised, and the call is retried", async () => {
  device = deviceOf(server);
  server.fault = () => html(200);
  await connected(device);
  expect(device.state().error).toMatchObject({ code: "invalid_answer", status: 200 });
  expect(device.state().wsStatus).not.toBe("connected");
  server.fault = () => html(502);
  await advance(10_000);
  expect(device.state().error).toMatchObject({ code: "invalid_answer", status: 502 });
  server.fault = () => undefined;
  await advance(60_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});

test("responses made by API Gateway have their own code", async () => {
  device = deviceOf(server);
  server.fault = () =>
    new Response('{"message":"Too Many Requests"}', { status: 429, headers: { "retry-after": "2" } });
  await connected(device);
  expect(device.state().error).toMatchObject({ code: "http_429", retryAfterMs: 2_000 });
});

test("a JSON response of an unexpected shape shows nothing", async () => {
  device = deviceOf(server);
  server.fault = ({ path }) =>
    path.startsWith("/api/notifications") ? new Response('{"items":[{"id":7}]}', { status: 200 }) : undefined;
  await connected(device);
  expect(device.codes()).toContain("invalid_answer");
  expect(device.titles()).toEqual([]);
});

test("each transport can be chosen, and changed again", async () => {
  device = await connected(deviceOf(server));
  device.client.setTransports(["polling"]);
  await settle();
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
  expect(server.openSockets).toEqual([]);
  server.send({ title: "polled" });
  await advance(5_000);
  expect(device.titles()).toEqual(["polled"]);
  device.client.setTransports(["sse"]);
  await settle();
  expect(device.state()).toMatchObject({ wsStatus: "offline", transport: null });
  expect(device.codes()).toContain("no_transport");
  device.client.setTransports(["websocket"]);
  await settle();
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "websocket" });
  expect(server.openSockets.length).toBe(1);
});

test("neither token nor ticket appears in problems, state or events", async () => {
  const token = tokenOf("alice");
  device = deviceOf(server, { getToken: () => token });
  server.fault = ({ path }) => (path.startsWith("/api/sync") ? noAnswer() : undefined);
  server.areSocketsRefused = true;
  await connected(device);
  await advance(60_000);
  const visible = JSON.stringify([device.problems, device.state(), device.events]);
  expect(device.problems.length).toBeGreaterThan(3);
  expect(visible).not.toContain(token);
  expect(visible).not.toMatch(/ticket=|Bearer/);
});
