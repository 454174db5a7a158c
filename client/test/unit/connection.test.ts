import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { connected, type Device, deviceOf, pass, settle } from "../harness/device.js";
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

test("it connects with a ticket, shows the inbox, and rings", async () => {
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

test("closing ends everything, and connecting goes on where it was", async () => {
  device = await connected(deviceOf(server));
  device.client.close();
  expect(device.state()).toMatchObject({ wsStatus: "closed", transport: null });
  expect(server.openSockets).toEqual([]);
  const calls = server.calls.length;
  await pass(HOUR_MS);
  expect(server.calls.length).toBe(calls);
  server.send({ title: "meanwhile" });
  await connected(device);
  expect(device.titles()).toEqual(["meanwhile"]);
  expect(server.calledTo("/api/notifications?").length).toBe(1);
});

test("connecting, closing and connecting within one turn is one connection", async () => {
  device = deviceOf(server);
  device.client.connect();
  device.client.close();
  device.client.connect();
  await settle();
  expect(server.calledTo("/api/ws/ticket").length).toBe(1);
});

test("an append that was held over the connect is found by the ping after two seconds", async () => {
  device = await connected(deviceOf(server));
  // Committed when the connection was not yet written down: it is pushed to nobody.
  server.send({ title: "held", frame: "lost" });
  await pass(1_999);
  expect(device.titles()).toEqual([]);
  await pass(1);
  expect(device.titles()).toEqual(["held"]);
});

test("a pong of another etag is a reason to ask, though the cursor is the same", async () => {
  const { id } = server.send();
  device = await connected(deviceOf(server));
  await pass(3_000);
  const row = server.rows.get(id);
  if (row) server.rows.set(id, { ...row, notification: { ...row.notification, readAt: "2026-11-21T12:00:00.000Z" } });
  await pass(60_000);
  expect(device.state()).toMatchObject({ cursor: server.cursor, unreadCount: 0 });
});

test("it pings each minute while visible and every four minutes while hidden", async () => {
  device = await connected(deviceOf(server));
  const socket = server.openSockets[0];
  const pings = (): number => socket?.said.filter(({ action }) => action === "ping").length ?? 0;
  await pass(2_000);
  expect(pings()).toBe(1);
  await pass(60_000);
  expect(pings()).toBe(2);
  device.page.hide();
  await pass(60_000);
  expect(pings()).toBe(3);
  await pass(239_999);
  expect(pings()).toBe(3);
  await pass(1);
  expect(pings()).toBe(4);
  device.page.show();
  expect(pings()).toBe(5);
  await pass(60_000);
  expect(pings()).toBe(6);
});

test("a socket that is silent after a ping is replaced", async () => {
  device = await connected(deviceOf(server));
  const [dead] = server.openSockets;
  if (dead) dead.isDead = true;
  await pass(2_000 + 10_000 + 1_000);
  expect(dead?.readyState).toBe(3);
  expect(server.openSockets.length).toBe(1);
  expect(device.codes()).toContain("socket_closed");
});

test("a hint that the network is gone makes it find out at once", async () => {
  device = await connected(deviceOf(server));
  await pass(5_000);
  const [dead] = server.openSockets;
  if (dead) dead.isDead = true;
  device.page.dispatchEvent(new Event("offline"));
  await pass(10_000);
  expect(dead?.readyState).toBe(3);
});

test("it renews before two hours, never with two sockets, and loses nothing between them", async () => {
  const endsMs = Date.now() + 10 * HOUR_MS;
  device = await connected(deviceOf(server, { getToken: () => tokenOf("alice", endsMs) }));
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
  await pass(110 * 60_000);
  expect(isBetween).toBe(true);
  expect(server.sockets.length).toBe(2);
  expect(Math.max(...open)).toBe(1);
  expect(server.openSockets.length).toBe(1);
  expect(device.titles()).toEqual(["between"]);
  expect([...statuses]).toEqual(["connected"]);
});

test("a renewal that gets no ticket keeps the socket that there is", async () => {
  device = await connected(deviceOf(server));
  server.fault = ({ path }) => (path === "/api/ws/ticket" ? refusal(503, "store_unavailable") : undefined);
  await pass(111 * 60_000);
  expect(server.openSockets.length).toBe(1);
  expect(device.state().wsStatus).toBe("connected");
  server.fault = () => undefined;
  await pass(60_000);
  expect(server.sockets.length).toBe(2);
});

test("before its token ends the socket is given a new one", async () => {
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + 600_000) });
  await connected(device);
  const said = (): string[] => server.sockets.flatMap((socket) => socket.said.map(({ action }) => action));
  await pass(539_000);
  expect(said()).not.toContain("auth");
  await pass(2_000);
  expect(said().filter((action) => action === "auth").length).toBe(1);
  await pass(540_000);
  expect(said().filter((action) => action === "auth").length).toBe(2);
  expect(server.sockets.length).toBe(1);
});

test("the end of a token is told by the server's clock", async () => {
  // The device believes that it is an hour later, so each token seems over.
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
  const said = (): number =>
    server.sockets.flatMap(({ said }) => said).filter(({ action }) => action === "auth").length;
  await pass(HOUR_MS);
  expect(said()).toBe(0);
});

test("a token that has ended is asked for anew, and the client goes on", async () => {
  let lasts = -1;
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + lasts * 60_000) });
  await connected(device);
  expect(device.codes()).toContain("token_expired");
  expect(device.state().error).toMatchObject({ code: "token_expired", status: 401, source: "connection" });
  expect(device.state().wsStatus).not.toBe("connected");
  lasts = 60;
  await pass(60_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});

test("a token that the server refuses is asked for once more before it counts as refused", async () => {
  let asked = 0;
  device = deviceOf(server, { getToken: () => tokenOf("alice", Date.now() + (++asked === 1 ? 3_600_000 : 7_200_000)) });
  let refused = 0;
  server.fault = () => (refused++ === 0 ? refusal(401, "invalid_token") : undefined);
  await connected(device);
  expect(device.state().wsStatus).toBe("connected");
  expect(asked).toBe(2);
});

test("a getToken that fails is told, and asked again", async () => {
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
  await pass(30_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});

describe("a socket that never opened", () => {
  beforeEach(() => {
    server.areSocketsRefused = true;
  });

  test("is replaced by polling, and tried again", async () => {
    device = await connected(deviceOf(server));
    expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling", error: null });
    expect(device.codes()).toContain("socket_refused");
    server.send({ title: "polled" });
    await pass(5_000);
    expect(device.titles()).toEqual(["polled"]);
    expect(device.events.map(({ type }) => type)).toEqual(["notification"]);
    server.areSocketsRefused = false;
    await pass(30_000);
    expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "websocket" });
    const polls = server.calledTo("/api/sync").length;
    await pass(50_000);
    expect(server.calledTo("/api/sync").length).toBe(polls);
  });

  test("costs a 304 for each poll, and fewer while hidden", async () => {
    device = await connected(deviceOf(server));
    await pass(6_000);
    const seen = server.calledTo("/api/sync").at(-1);
    expect(seen?.headers.get("if-none-match")).toBe(`"e1.0/0"`);
    device.page.hide();
    await pass(5_000);
    const before = server.calledTo("/api/sync").length;
    await pass(49_000);
    expect(server.calledTo("/api/sync").length - before).toBeLessThanOrEqual(1);
  });

  test("is no reason to poll where that is not allowed", async () => {
    device = await connected(deviceOf(server, { transports: ["websocket"] }));
    await pass(60_000);
    expect(device.state()).toMatchObject({ wsStatus: "reconnecting", transport: null });
    expect(device.state().error?.code).toBe("socket_refused");
  });

  test("may also be forbidden by the page", async () => {
    const forbidden = class {
      constructor(url: string) {
        throw new Error(`not to ${url}`);
      }
    } as unknown as typeof WebSocket;
    device = await connected(deviceOf(server, { environment: { WebSocket: forbidden } }));
    expect(device.state().transport).toBe("polling");
    expect(JSON.stringify(device.problems)).not.toContain("ticket=");
  });

  test("may also hang", async () => {
    server.areSocketsRefused = false;
    server.connected = (socket) => {
      socket.isDead = true;
      return true;
    };
    device = await connected(deviceOf(server));
    expect(device.state().wsStatus).toBe("connecting");
    await pass(10_000);
    expect(device.state().transport).toBe("polling");
  });
});

test("a socket that drops is opened again, and what came meanwhile is there once", async () => {
  device = await connected(deviceOf(server));
  server.openSockets[0]?.end();
  expect(device.state()).toMatchObject({ wsStatus: "reconnecting", transport: null });
  server.send({ title: "meanwhile" });
  await pass(500);
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "websocket" });
  expect(device.titles()).toEqual(["meanwhile"]);
  expect(device.events.length).toBe(1);
});

test("a socket that drops and does not open again leads to polling after the third failure", async () => {
  device = await connected(deviceOf(server));
  await pass(10_000);
  server.areSocketsRefused = true;
  server.openSockets[0]?.end();
  await settle();
  expect(device.state().transport).toBe(null);
  await pass(5_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
  server.areSocketsRefused = false;
  await pass(30_000);
  expect(device.state().transport).toBe("websocket");
});

test("attempts grow rarer with full jitter, and never stop", async () => {
  const waits: number[] = [];
  device = await connected(deviceOf(server, { transports: ["websocket"], environment: { random: () => 0.999 } }));
  await pass(10_000);
  server.fault = ({ path }) => (path === "/api/ws/ticket" ? noAnswer() : undefined);
  let last = Date.now();
  const before = server.calledTo("/api/ws/ticket").length;
  server.openSockets[0]?.end();
  let count = before;
  for (let ms = 0; ms < 300_000; ms += 50) {
    await pass(50);
    const now = server.calledTo("/api/ws/ticket").length;
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

test("it waits as long as the server asks", async () => {
  device = deviceOf(server, { transports: ["websocket"] });
  server.fault = ({ path }) => (path === "/api/ws/ticket" ? refusal(503, "overloaded", 20_000) : undefined);
  await connected(device);
  await pass(19_000);
  expect(server.calledTo("/api/ws/ticket").length).toBe(1);
  await pass(1_500);
  expect(server.calledTo("/api/ws/ticket").length).toBe(2);
});

test("where nothing answers it is offline, and back as soon as something does", async () => {
  device = await connected(deviceOf(server));
  server.fault = noAnswer;
  server.openSockets[0]?.end();
  await pass(5_000);
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

test("a call that hangs is no answer", async () => {
  const fetch: typeof server.fetch = (_, init) =>
    new Promise((_, reject) => init?.signal?.addEventListener("abort", () => reject(new Error("aborted"))));
  device = await connected(deviceOf(server, { environment: { fetch } }));
  await pass(20_000);
  expect(device.codes()).toContain("no_answer");
});

test("a server that answers HTML is told apart, and tried again", async () => {
  device = deviceOf(server);
  server.fault = () => html(200);
  await connected(device);
  expect(device.state().error).toMatchObject({ code: "invalid_answer", status: 200 });
  expect(device.state().wsStatus).not.toBe("connected");
  server.fault = () => html(502);
  await pass(10_000);
  expect(device.state().error).toMatchObject({ code: "invalid_answer", status: 502 });
  server.fault = () => undefined;
  await pass(60_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
});

test("answers of API Gateway have a code of their own", async () => {
  device = deviceOf(server);
  server.fault = () =>
    new Response('{"message":"Too Many Requests"}', { status: 429, headers: { "retry-after": "2" } });
  await connected(device);
  expect(device.state().error).toMatchObject({ code: "http_429", retryAfterMs: 2_000 });
});

test("an answer that is JSON but not what was asked for shows nothing", async () => {
  device = deviceOf(server);
  server.fault = ({ path }) =>
    path.startsWith("/api/notifications") ? new Response('{"items":[{"id":7}]}', { status: 200 }) : undefined;
  await connected(device);
  expect(device.codes()).toContain("invalid_answer");
  expect(device.titles()).toEqual([]);
});

test("each transport can be forced, and taken back", async () => {
  device = await connected(deviceOf(server));
  device.client.setTransports(["polling"]);
  await settle();
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
  expect(server.openSockets).toEqual([]);
  server.send({ title: "polled" });
  await pass(5_000);
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

test("neither token nor ticket is told to anyone", async () => {
  const token = tokenOf("alice");
  device = deviceOf(server, { getToken: () => token });
  server.fault = ({ path }) => (path.startsWith("/api/sync") ? noAnswer() : undefined);
  server.areSocketsRefused = true;
  await connected(device);
  await pass(60_000);
  const told = JSON.stringify([device.problems, device.state(), device.events]);
  expect(device.problems.length).toBeGreaterThan(3);
  expect(told).not.toContain(token);
  expect(told).not.toMatch(/ticket=|Bearer/);
});
