// What does not open, breaks or gives no proper answer: polling, retries and other transports.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, html, refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

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
    expect(seen?.headers.get("if-none-match")).toBe(`"e1-0/0.0"`);
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

  test("is replaced by polling after 3 s if it hangs", async () => {
    server.areSocketsRefused = false;
    server.connected = (socket) => {
      socket.isDead = true;
      return true;
    };
    device = await connected(deviceOf(server));
    expect(device.state().wsStatus).toBe("connecting");
    server.send({ title: "meanwhile" });
    await advance(3_000);
    expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
    expect(device.titles()).toEqual(["meanwhile"]);
    await advance(60_000);
    expect(device.events.length).toBe(1);
    expect(device.codes()).toContain("socket_refused");
  });
});

test("a socket that opens syncs at once, even if polling is not allowed", async () => {
  device = await connected(deviceOf(server, { transports: ["websocket"] }));
  await advance(5_000);
  server.fault = ({ path }) => (path.startsWith("/api/sync") ? refusal(503, "overloaded", 600_000) : undefined);
  server.push({ type: "resync" });
  await settle();
  server.send({ title: "meanwhile", frame: "lost" });
  server.fault = () => undefined;
  server.openSockets[0]?.end();
  await advance(1_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
  expect(device.titles()).toEqual(["meanwhile"]);
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

test("a closed socket leads to a sync at once, and to polling until a socket opens again", async () => {
  device = await connected(deviceOf(server));
  await advance(10_000);
  server.areSocketsRefused = true;
  server.send({ title: "lost with the socket", frame: "lost" });
  server.openSockets[0]?.end();
  await settle();
  expect(device.titles()).toEqual(["lost with the socket"]);
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
  server.send({ title: "polled" });
  await advance(5_000);
  expect(device.titles()).toEqual(["polled", "lost with the socket"]);
  server.areSocketsRefused = false;
  await advance(30_000);
  expect(device.state().transport).toBe("websocket");
  const syncs = server.callsTo("/api/sync").length;
  await advance(50_000);
  expect(server.callsTo("/api/sync").length).toBe(syncs);
});

test("a closed socket does not lead to polling if polling is not allowed", async () => {
  device = await connected(deviceOf(server, { transports: ["websocket"] }));
  await advance(10_000);
  server.areSocketsRefused = true;
  server.openSockets[0]?.end();
  const syncs = server.callsTo("/api/sync").length;
  await advance(60_000);
  expect(device.state()).toMatchObject({ wsStatus: "reconnecting", transport: null });
  expect(server.callsTo("/api/sync").length).toBe(syncs);
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
  device.client.setTransports([]);
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
