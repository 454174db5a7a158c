// The event stream as a transport: where no socket opens, and before polling.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FakeBrowser } from "../harness/browser.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, html, refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

let server: FakeServer;
let device: Device;
const closing: Device[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
  server.eventsUrl = "http://carillon.test/api/events";
  server.areSocketsRefused = true;
});

afterEach(() => {
  device.client.close();
  for (const { client } of closing.splice(0)) client.close();
  vi.useRealTimers();
});

const opens = async (options: Parameters<typeof deviceOf>[1] = {}): Promise<Device> => {
  device = await connected(deviceOf(server, options));
  await settle();
  return device;
};
const viaStream = { wsStatus: "connected", transport: "sse", error: null };
/** Lets time pass, with the server's heartbeats. */
async function lives(ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 15_000) {
    await advance(Math.min(15_000, ms - passed));
    for (const stream of server.openStreams) stream.write(":\n\n");
    await settle();
  }
}
const streamHead = { headers: { "content-type": "text/event-stream" } };
const syncs = (): number => server.callsTo("/api/sync").length;

test("it takes the place of a socket that never opened, and rings without polling", async () => {
  await opens();
  expect(device.state()).toMatchObject(viaStream);
  expect(device.codes()).toEqual(["socket_refused"]);
  await settle();
  const before = syncs();
  server.send({ title: "streamed" });
  await settle();
  expect(device.titles()).toEqual(["streamed"]);
  server.emit({ type: "system", id: "x1" });
  await settle();
  expect(device.rung.map(({ type }) => type)).toEqual(["notification", "system"]);
  await lives(60_000);
  expect(syncs()).toBe(before);
  expect(server.streams.length).toBe(1);
});

test("it takes the place of a socket that hangs after 3 s, and polling takes its place after 3 s more", async () => {
  server.areSocketsRefused = false;
  server.connected = (socket) => {
    socket.isDead = true;
    return true;
  };
  await opens();
  await advance(2_999);
  expect(device.state()).toMatchObject({ wsStatus: "connecting", transport: null });
  await advance(1);
  await settle();
  expect(device.state()).toMatchObject(viaStream);
  device.client.close();

  server.fault = ({ path }) =>
    path.startsWith("/api/events") ? new Response(new ReadableStream(), streamHead) : undefined;
  await opens();
  await advance(5_999);
  expect(device.state().transport).toBe(null);
  await advance(1);
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
});

test("a socket is tried now and then, and takes over without a gap or a double", async () => {
  await opens();
  await lives(30_000);
  expect(device.state()).toMatchObject(viaStream);
  expect(server.sockets.length).toBeGreaterThan(3);
  server.send({ title: "streamed" });
  server.areSocketsRefused = false;
  await lives(30_000);
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "websocket" });
  expect(server.openStreams).toEqual([]);
  server.send({ title: "pushed" });
  await settle();
  expect(device.titles()).toEqual(["pushed", "streamed"]);
  expect(device.rung.length).toBe(2);
  await advance(60_000);
  expect(server.streams.length).toBe(1);
});

test("a socket that opened before is polled for at first, and replaced by a stream if sockets stay refused", async () => {
  server.areSocketsRefused = false;
  await opens();
  await advance(10_000);
  server.areSocketsRefused = true;
  server.openSockets[0]?.end();
  await settle();
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
  await lives(15_000);
  expect(device.state()).toMatchObject(viaStream);
});

test("after an end it continues from its own position, with a new ticket", async () => {
  server.send({ title: "one" });
  await opens();
  server.send({ title: "two" });
  await lives(15_000);
  const tickets = server.callsTo("/api/ws/ticket").length;
  server.streams[0]?.end();
  await settle();
  server.send({ title: "between", frame: "lost" });
  // The sync is slow, so the stream brings it.
  server.fault = ({ path }) => (path.startsWith("/api/sync") ? refusal(503, "overloaded", 60_000) : undefined);
  await advance(1_000);
  expect(server.streams.map(({ since }) => since)).toEqual(["e1.1", "e1.2"]);
  expect(server.callsTo("/api/ws/ticket").length).toBeGreaterThan(tickets);
  expect(device.titles()).toEqual(["between", "two", "one"]);
  expect(device.rung.length).toBe(2);
});

test("a reconnect is followed at once, and shows nothing", async () => {
  await opens();
  await lives(60_000);
  const statuses = new Set<string>();
  device.client.store.subscribe(({ wsStatus, transport }) => statuses.add(`${wsStatus} ${transport}`));
  const before = syncs();
  server.push({ type: "reconnect" });
  server.streams[0]?.end();
  await settle();
  expect(server.streams.length).toBe(2);
  server.send({ title: "after" });
  await settle();
  expect(device.titles()).toEqual(["after"]);
  expect([...statuses]).toEqual(["connected sse"]);
  expect(device.codes().filter((code) => code !== "socket_refused")).toEqual([]);
  // One for what was emitted meanwhile.
  expect(syncs() - before).toBe(1);
});

test("a stream that is ended as soon as it opens is not opened again without a pause", async () => {
  server.pingEveryMs = 20_000;
  await opens({ transports: ["sse"] });
  for (let n = 0; n < 20; n++) {
    server.push({ type: "reconnect" });
    await advance(1_000);
  }
  expect(server.streams.length).toBeLessThan(10);
});

test("one that is silent for 30 s is replaced, but not while there are heartbeats", async () => {
  await opens();
  await lives(120_000);
  expect(server.streams.length).toBe(1);
  const [dead] = server.streams;
  if (dead) dead.isDead = true;
  server.send({ title: "lost" });
  await advance(29_000);
  expect(server.streams.length).toBe(1);
  await advance(3_000);
  expect(server.streams.length).toBe(2);
  expect(dead?.isOpen).toBe(false);
  expect(device.titles()).toEqual(["lost"]);
});

test("a page that shows again syncs at once, and notices a stream that died while it slept", async () => {
  await opens();
  server.send({ title: "lost", frame: "lost" });
  device.page.hide();
  device.page.show();
  await settle();
  expect(device.titles()).toEqual(["lost"]);
  vi.setSystemTime(Date.now() + 3_600_000);
  device.page.show();
  await advance(1_000);
  expect(server.streams.length).toBe(2);
});

test("changes and acknowledgements are calls", async () => {
  const { id } = server.send();
  await opens();
  const read = device.client.markAsRead(id);
  await settle();
  await read;
  expect(server.unreadCount).toBe(0);
  server.send({ title: "new" });
  await advance(500);
  expect(server.acked.at(-1)).toBe(server.cursor);
  const acks = server.acked.length;
  await lives(60_000);
  expect(server.acked.length).toBe(acks);
});

test("an acknowledgement that fails is made up for by the next", async () => {
  await opens();
  server.fault = ({ path }) => (path === "/api/ack" ? refusal(503, "overloaded") : undefined);
  server.send();
  await advance(1_000);
  server.fault = () => undefined;
  server.send();
  await advance(1_000);
  expect(server.acked.at(-1)).toBe(server.cursor);
});

test("it is opened again with a new token before the old one expires", async () => {
  const minute = 60_000;
  await opens({ getToken: () => tokenOf("alice", Date.now() + 5 * minute) });
  await lives(4 * minute + 1_000);
  expect(server.openStreams.length).toBe(1);
  expect(server.streams.length).toBe(2);
  expect(device.state()).toMatchObject(viaStream);
});

test.each<[string, () => Response]>([
  ["a proxy's page", () => html(200)],
  ["a refusal", () => refusal(503, "overloaded", 20_000)],
  ["an answer without a body", () => new Response(null, { status: 200, ...streamHead })],
])("%s instead of a stream leads to polling", async (_, answer) => {
  server.fault = ({ path }) => (path.startsWith("/api/events") ? answer() : undefined);
  await opens();
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
  server.fault = () => undefined;
  await lives(60_000);
  expect(device.state()).toMatchObject(viaStream);
});

test("while nothing responds it is offline, and as soon as the network is back it streams", async () => {
  await opens();
  server.fault = () => {
    throw new TypeError("fetch failed");
  };
  server.streams[0]?.end();
  await advance(5_000);
  expect(device.state()).toMatchObject({ wsStatus: "offline", transport: null });
  server.send({ title: "meanwhile" });
  server.fault = () => undefined;
  device.page.dispatchEvent(new Event("online"));
  await advance(1_000);
  expect(device.state()).toMatchObject(viaStream);
  expect(device.titles()).toEqual(["meanwhile"]);
});

test("closing aborts the stream", async () => {
  await opens();
  device.client.close();
  expect(server.openStreams).toEqual([]);
  const calls = server.calls.length;
  await advance(600_000);
  expect(server.calls.length).toBe(calls);
});

test("an unreadable event leads to a sync", async () => {
  await opens();
  server.send({ title: "lost", frame: "lost" });
  server.push("no JSON");
  await settle();
  expect(device.titles()).toEqual(["lost"]);
});

test("the order of transports is the application's", async () => {
  server.areSocketsRefused = false;
  await opens({ transports: ["sse", "websocket", "polling"] });
  expect(device.state()).toMatchObject(viaStream);
  await lives(60_000);
  expect(server.sockets).toEqual([]);
  server.fault = ({ path }) => (path.startsWith("/api/events") ? refusal(503, "overloaded") : undefined);
  device.client.setTransports(["sse", "websocket"]);
  await settle();
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "websocket" });
});

test("a server without event streams is polled", async () => {
  server.eventsUrl = null;
  await opens();
  expect(device.state()).toMatchObject({ wsStatus: "connected", transport: "polling" });
  expect(server.streams).toEqual([]);
});

test("neither the ticket nor the address appears in problems", async () => {
  server.fault = ({ path }) => {
    if (path.startsWith("/api/events")) throw new Error(`could not load ${path}`);
    return undefined;
  };
  await opens();
  await advance(10_000);
  expect(device.codes().length).toBeGreaterThan(2);
  expect(JSON.stringify(device.problems)).not.toContain("ticket=");
});

describe("tabs", () => {
  test("share the stream of the leader", async () => {
    const browser = new FakeBrowser();
    for (let n = 0; n < 3; n++) closing.push(await connected(deviceOf(server, { environment: browser.tab() })));
    device = closing[0] as Device;
    await advance(1_000);
    expect(closing.map(({ state }) => state().transport)).toEqual(["sse", "sse", "sse"]);
    expect(server.streams.length).toBe(1);
    server.send({ title: "streamed" });
    server.emit({ type: "dashboard", id: "x1" });
    await settle();
    expect(closing.map(({ titles }) => titles())).toEqual([["streamed"], ["streamed"], ["streamed"]]);
    expect(closing.map(({ events }) => events.length)).toEqual([2, 2, 2]);
    expect(closing.flatMap(({ rung }) => rung).length).toBe(2);
  });
});

describe("an emitted event makes no client sync", () => {
  test.each(["websocket", "sse"] as const)("over %s", async (transport) => {
    server.areSocketsRefused = false;
    server.send();
    await opens({ transports: [transport] });
    await lives(3_000);
    const before = syncs();
    server.emit({ type: "announcement", id: "x1" });
    await lives(60_000);
    if (transport === "sse") server.push(server.pong);
    await settle();
    expect(device.rung.length).toBe(1);
    expect(syncs()).toBe(before);
    // A pong that tells of a change still leads to one.
    server.send({ title: "lost", frame: "lost" });
    await lives(60_000);
    if (transport === "sse") server.push(server.pong);
    await settle();
    expect(device.titles()[0]).toBe("lost");
  });
});

test("each emitted event rings once, over every transport and from one to the next", async () => {
  server.areSocketsRefused = false;
  await opens();
  const ids = (): unknown[] => device.rung.map((event) => "id" in event && event.id);
  for (const [n, transport] of (["sse", "polling", "websocket"] as const).entries()) {
    // Lost between two transports, and then told by the sync of the opening.
    server.emit({ type: "system", id: `lost ${n}` }, true);
    device.client.setTransports([transport]);
    await advance(100);
    expect(device.state().transport).toBe(transport);
    server.emit({ type: "dashboard", id: `told ${n}` });
    await lives(15_000);
    expect(ids()).toEqual(Array.from({ length: n + 1 }, (_, m) => [`lost ${m}`, `told ${m}`]).flat());
  }
});
