import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { FakeBrowser } from "../harness/browser.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";
import type { FakeSocket } from "../harness/socket.js";

let server: FakeServer;
let browser: FakeBrowser;
let tabs: Device[];

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
  browser = new FakeBrowser();
  tabs = [];
});

afterEach(() => {
  for (const tab of tabs) tab.client.close();
  vi.useRealTimers();
});

async function opens(options: Parameters<typeof deviceOf>[1] = {}): Promise<Device> {
  const environment = { ...browser.tab(), indexedDB: null, ...options.environment };
  const tab = deviceOf(server, { ...options, environment });
  tabs.push(tab);
  return connected(tab);
}

const leaders = (): number => tabs.filter((tab) => tab.state().leader).length;

test("one of three tabs holds the socket, and all show the same", async () => {
  server.send({ title: "before" });
  const [first, second, third] = [await opens(), await opens(), await opens()];
  expect(server.openSockets.length).toBe(1);
  expect(leaders()).toBe(1);
  for (const tab of [first, second, third]) {
    expect(tab.state()).toMatchObject({ wsStatus: "connected", transport: "websocket" });
  }
  await advance(3_000);
  const calls = server.calls.length;
  server.send({ title: "after" });
  await settle();
  for (const tab of tabs) {
    expect(tab.titles()).toEqual(["after", "before"]);
    expect(tab.events.length).toBe(1);
  }
  expect(server.calls.length).toBe(calls);
});

test("the leader relays sync responses to the other tabs", async () => {
  await opens();
  await opens();
  server.areSocketsRefused = true;
  server.openSockets[0]?.end();
  await advance(10_000);
  expect(tabs.map((tab) => tab.state().transport)).toEqual(["polling", "polling"]);
  const syncs = server.callsTo("/api/sync").length;
  server.send({ title: "polled" });
  await advance(5_000);
  expect(tabs.map((tab) => tab.titles())).toEqual([["polled"], ["polled"]]);
  expect(tabs.map((tab) => tab.events.length)).toEqual([1, 1]);
  expect(server.callsTo("/api/sync").length - syncs).toBeLessThanOrEqual(2);
});

test("a change in one tab shows in all tabs", async () => {
  const { id } = server.send();
  const [first, second] = [await opens(), await opens()];
  await second.client.markAsRead(id);
  await advance(1_000);
  expect(first.state().unreadCount).toBe(0);
  expect(second.state().unreadCount).toBe(0);
  await first.client.deleteNotification(id);
  await advance(1_000);
  expect(second.titles()).toEqual([]);
});

test("when the leader closes, another tab continues from its own cursor, and nothing is lost or emitted twice", async () => {
  const [first, second, third] = [await opens(), await opens(), await opens()];
  await advance(3_000);
  server.send({ title: "one" });
  await settle();
  first.client.close();
  // Sent while no tab holds a socket.
  server.send({ title: "two" });
  await settle();
  expect(server.openSockets.length).toBe(1);
  expect(second.state()).toMatchObject({ leader: true, wsStatus: "connected" });
  expect(third.state()).toMatchObject({ leader: false, wsStatus: "connected" });
  server.send({ title: "three" });
  await settle();
  for (const tab of [second, third]) {
    expect(tab.titles()).toEqual(["three", "two", "one"]);
    expect(tab.events.length).toBe(3);
  }
});

describe("a listener", () => {
  const rings = (): number => tabs.reduce((sum, tab) => sum + tab.rung.length, 0);

  test("receives each event in one tab, or in every tab if it asks for that", async () => {
    await opens();
    await opens();
    await advance(3_000);
    server.send();
    await settle();
    expect(tabs.map((tab) => tab.events.length)).toEqual([1, 1]);
    expect(rings()).toBe(1);
    tabs[0]?.client.close();
    server.send();
    await advance(1_000);
    expect(tabs[1]?.events.length).toBe(2);
    expect(rings()).toBe(2);
    await connected(tabs[0] as Device);
    server.send();
    await advance(1_000);
    expect(rings()).toBe(3);
  });

  test("receives what was missed, although that is known before it is decided which tab leads", async () => {
    server.send();
    const cached = {
      loadInbox: async () => ({ items: [], unreadCount: 0, cursor: "e1.0", hasMore: false, nextCursor: null }),
      saveInbox: async () => {},
      loadEvents: async () => [],
      addEvents: async () => {},
      clear: async () => {},
    };
    const tab = browser.tab();
    const request = tab.locks?.request as LockManager["request"];
    const slow = async (...args: Parameters<LockManager["request"]>): Promise<unknown> => {
      await new Promise((resolve) => setTimeout(resolve, 500));
      return request(...args);
    };
    const environment = { ...tab, locks: { request: slow } as unknown as LockManager };
    const [first, second] = [await opens({ environment, cache: cached }), await opens({ cache: cached })];
    expect(first.state().leader).toBe(false);
    await advance(3_000);
    expect([first, second].map(({ events }) => events.length)).toEqual([1, 1]);
    expect(rings()).toBe(1);
  });
});

test("a frozen leader is replaced, and closes its socket when it resumes", async () => {
  const [first, second] = [await opens(), await opens()];
  await advance(6_000);
  // A frozen tab receives and sends nothing, but still holds the lock.
  const [channel] = browser.channels;
  const onmessage = channel?.onmessage ?? null;
  if (channel) channel.onmessage = null;
  await advance(66_000);
  expect(second.state().leader).toBe(true);
  if (channel) channel.onmessage = onmessage;
  await settle();
  expect(first.state().leader).toBe(false);
  expect(server.openSockets.length).toBe(1);
  server.send({ title: "after" });
  await settle();
  expect(tabs.map((tab) => tab.titles())).toEqual([["after"], ["after"]]);
});

test("a hidden tab does not replace the leader", async () => {
  const [, second] = [await opens(), await opens()];
  await advance(6_000);
  const [channel] = browser.channels;
  if (channel) channel.onmessage = null;
  second.page.hide();
  await advance(200_000);
  expect(second.state().leader).toBe(false);
});

test("a follower that missed a message catches up", async () => {
  const [, second] = [await opens(), await opens()];
  await advance(6_000);
  const channel = [...browser.channels][1];
  const onmessage = channel?.onmessage ?? null;
  if (channel) channel.onmessage = null;
  server.send({ title: "missed" });
  await settle();
  if (channel) channel.onmessage = onmessage;
  server.send({ title: "heard" });
  await advance(250);
  expect(second.titles()).toEqual(["heard", "missed"]);
  if (channel) channel.onmessage = null;
  server.send({ title: "last" });
  await settle();
  if (channel) channel.onmessage = onmessage;
  await advance(66_000);
  expect(second.titles()).toEqual(["last", "heard", "missed"]);
});

describe("with a hidden leader", () => {
  let socket: FakeSocket | undefined;
  const pings = (): number => socket?.sent.filter(({ action }) => action === "ping").length ?? 0;

  async function opensTwo(): Promise<[Device, Device]> {
    const two: [Device, Device] = [await opens(), await opens()];
    await advance(6_000);
    two[0].page.hide();
    [socket] = server.openSockets;
    return two;
  }

  test("pings stay frequent while any other tab is visible", async () => {
    const [, second] = await opensTwo();
    const third = await opens({ environment: { ...browser.tab(), indexedDB: null, random: () => 0.7 } });
    third.page.hide();
    const before = pings();
    await advance(300_000);
    expect(pings() - before).toBe(5);
    second.page.hide();
    await advance(60_000);
    const hidden = pings();
    await advance(480_000);
    expect(pings() - hidden).toBe(2);
  });

  test("polls stay frequent while another tab is visible, and become rare when it closes", async () => {
    const [, second] = await opensTwo();
    const polls = async (ms: number): Promise<number> => {
      const before = server.callsTo("/api/sync").length;
      await advance(ms);
      return server.callsTo("/api/sync").length - before;
    };
    server.areSocketsRefused = true;
    socket?.end();
    await advance(10_000);
    expect(await polls(100_000)).toBeGreaterThanOrEqual(19);
    second.client.close();
    await advance(50_000);
    expect(await polls(100_000)).toBeLessThanOrEqual(4);
  });

  test("a tab that is gone without a word counts as visible for a few minutes at most", async () => {
    const [, second] = await opensTwo();
    second.page.hide();
    const [name = ""] = [...browser.channels].map((channel) => channel.name);
    const killed = new (browser.tab().BroadcastChannel as typeof BroadcastChannel)(name);
    killed.postMessage({ kind: "hello", tab: "killed", isVisible: true });
    killed.close();
    await settle();
    const before = pings();
    await advance(120_000);
    expect(pings() - before).toBe(2);
    await advance(240_000);
    const hidden = pings();
    await advance(480_000);
    expect(pings() - hidden).toBe(2);
  });

  test("another tab that becomes visible, or changes something, makes a half-open socket noticed", async () => {
    for (const act of [
      (tab: Device) => tab.page.show(),
      (tab: Device) => void tab.client.markAsRead("n1"),
      (tab: Device) => void tab.client.refresh(),
    ]) {
      for (const tab of tabs) tab.client.close();
      tabs = [];
      const [, second] = await opensTwo();
      second.page.hide();
      await advance(1_000);
      if (socket) socket.isDead = true;
      server.send({ title: "lost" });
      act(second);
      await advance(15_000);
      expect(socket?.readyState).toBe(3);
      expect(server.openSockets.length).toBe(1);
      expect(tabs.map((tab) => tab.titles().includes("lost"))).toEqual([true, true]);
    }
  });
});

test("tabs of two users do not interact", async () => {
  await opens();
  await opens({ sub: "bob" });
  expect(leaders()).toBe(2);
  server.send({ title: "for alice" });
  await settle();
  expect(tabs[1]?.titles()).toEqual([]);
});

const forbidden = (): never => {
  throw new DOMException("no", "SecurityError");
};

test.each([
  ["without channels", { BroadcastChannel: null }],
  ["without locks", { locks: null }],
  ["with forbidden channels", { BroadcastChannel: forbidden as unknown as typeof BroadcastChannel }],
  ["with forbidden locks", { locks: { request: forbidden } as unknown as LockManager }],
  ["with refused locks", { locks: { request: async () => forbidden() } as unknown as LockManager }],
])("%s, each tab works on its own", async (_, environment) => {
  await opens({ environment });
  await opens({ environment });
  await settle();
  expect(leaders()).toBe(2);
  server.send({ title: "both" });
  await settle();
  expect(tabs.map((tab) => tab.titles())).toEqual([["both"], ["both"]]);
});

test("with the tabs option off, each tab has its own connection", async () => {
  await opens({ tabs: false });
  await opens({ tabs: false });
  expect(leaders()).toBe(2);
  expect(browser.channels.size).toBe(0);
});

test("unknown and malformed messages do no harm", async () => {
  const tabs = [await opens(), await opens()];
  await advance(3_000);
  const [name = ""] = [...browser.channels].map((channel) => channel.name);
  const stranger = new (browser.tab().BroadcastChannel as typeof BroadcastChannel)(name);
  const event = { type: "notification", cursor: "e1.1", prev: "e1.0", unreadCount: 1, notification: { title: 7 } };
  for (const message of [
    null,
    7,
    "hello",
    {},
    { kind: "frame" },
    { kind: "frame", frame: event },
    { kind: "frame", frame: { ...event, notification: null } },
    { kind: "sync", since: "e1.0" },
    { kind: "sync", since: "e1.0", answer: { notifications: [null], deleted: [], cursor: "e1.5", complete: true } },
    { kind: "weather" },
    { kind: "hello", tab: 7, isVisible: "yes" },
    { kind: "acted" },
  ]) {
    stranger.postMessage(message);
    await settle();
  }
  stranger.close();
  server.send({ title: "arrived" });
  await advance(1_000);
  for (const tab of tabs) {
    expect(tab.titles()).toEqual(["arrived"]);
    expect(tab.events.length).toBe(1);
  }
});
