// Presence: who is online, as far as it is known.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { type PresenceMap, presenceOf } from "../../src/chat.js";
import type { Store } from "../../src/index.js";
import { FakeBrowser } from "../harness/browser.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer, refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

const REFRESH_MS = 300_000;

let server: FakeServer;
const devices: Device[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z"), toFake: ["setTimeout", "clearTimeout", "Date"] });
  server = new FakeServer();
  server.chats.between("alice", "bob");
  server.chats.between("carol", "alice");
});

afterEach(() => {
  for (const { client } of devices.splice(0)) client.close();
  vi.useRealTimers();
});

async function opens(options: Parameters<typeof deviceOf>[1] = {}): Promise<Device> {
  const device = deviceOf(server, options);
  devices.push(device);
  await connected(device);
  // The socket is open, and the first ping is sent.
  await advance(3_000);
  return device;
}

interface Shown {
  online(userId: string): boolean | null | undefined;
  readonly states: PresenceMap[];
  hide(): void;
}

function shows({ client }: Device, ...userIds: string[]): Shown {
  const store: Store<PresenceMap> = presenceOf(client).of(userIds);
  const states: PresenceMap[] = [];
  const hide = store.subscribe((state) => states.push(state));
  return { online: (userId) => store.getState().get(userId)?.online, states, hide };
}

test("tells who is online, offline, and unknown, which is not offline", async () => {
  server.presence.set("bob", true);
  server.presence.set("carol", false);
  const alice = await opens();
  const { online, states } = shows(alice, "bob", "carol", "stranger");
  expect([online("bob"), states]).toEqual([undefined, []]);
  await advance(100);
  expect(["bob", "carol", "stranger"].map(online)).toEqual([true, false, undefined]);
  expect(states[0]?.get("carol")).toEqual({ userId: "carol", online: false, lastSeenAt: "2026-11-21T12:00:00.000Z" });

  // The store of presence is away.
  server.presence.set("bob", null);
  await settle();
  expect(online("bob")).toBe(null);
});

test("asks once, over the socket, for all components together", async () => {
  const alice = await opens();
  const calls = server.calls.length;
  const [one, other] = [shows(alice, "bob", "carol"), shows(alice, "carol", "stranger", "carol")];
  shows(alice, "bob");
  await advance(100);
  expect(server.presence.asked).toEqual([["bob", "carol", "stranger"]]);
  expect(server.calls.length).toBe(calls);
  expect([one.online("carol"), other.online("carol")]).toEqual([false, false]);
  // What is known already is not asked for again.
  expect(shows(alice, "carol").online("carol")).toBe(false);
  await advance(1_000);
  expect(server.presence.asked.length).toBe(1);
});

test("follows the events about those who are shown, and only them", async () => {
  const alice = await opens();
  const { online, states } = shows(alice, "bob");
  await advance(100);
  server.presence.set("bob", true);
  server.presence.set("carol", true);
  await settle();
  expect(online("bob")).toBe(true);
  expect(states.map((state) => [...state.keys()])).toEqual([["bob"], ["bob"]]);
  // The next event about carol may have been lost.
  expect(shows(alice, "carol").online("carol")).toBe(undefined);
  server.push({ type: "presence", users: [{ userId: "bob", online: "yes" }, null, { online: true }] });
  server.push({ type: "presence", users: 5 });
  await settle();
  expect([states.length, online("bob")]).toEqual([2, true]);
});

test("asks about more than 200 users, and about long ids, in several questions", async () => {
  const alice = await opens();
  shows(alice, ...Array.from({ length: 450 }, (_, n) => `user-${n}`));
  await advance(100);
  expect(server.presence.asked.map(({ length }) => length)).toEqual([200, 200, 50]);
  const long = Array.from({ length: 60 }, (_, n) => `${n}-`.padEnd(250, "x"));
  shows(alice, ...long);
  await advance(100);
  const asked = server.presence.asked.slice(3);
  expect(asked.flat()).toEqual(long);
  for (const ids of asked) expect(ids.join(",").length).toBeLessThanOrEqual(6_000);
});

test("asks again after a reconnect, and does not know meanwhile", async () => {
  server.presence.set("bob", true);
  const alice = await opens();
  const { online } = shows(alice, "bob");
  await advance(100);
  expect(online("bob")).toBe(true);
  server.fault = () => Promise.reject(new TypeError("network"));
  server.areSocketsRefused = true;
  server.openSockets[0]?.end();
  await advance(10_000);
  expect(alice.state().wsStatus).toBe("offline");
  expect(online("bob")).toBe(null);

  server.presence.set("bob", false, "lost");
  server.fault = () => undefined;
  server.areSocketsRefused = false;
  await advance(60_000);
  expect(alice.state().wsStatus).toBe("connected");
  expect(online("bob")).toBe(false);
});

test("asks again after a while, because an event may be lost", async () => {
  const alice = await opens();
  const { online, hide } = shows(alice, "bob");
  await advance(100);
  server.presence.set("bob", true, "lost");
  await advance(REFRESH_MS - 200);
  expect(online("bob")).toBe(false);
  await advance(300);
  expect(online("bob")).toBe(true);
  hide();
  const { length } = server.presence.asked;
  await advance(3 * REFRESH_MS);
  expect(server.presence.asked.length).toBe(length);
});

test("asks more often without a socket, over HTTP", async () => {
  const alice = await opens({ transports: ["polling"] });
  const { online } = shows(alice, "bob");
  await advance(100);
  expect(server.callsTo("/api/presence").map(({ path }) => path)).toEqual(["/api/presence?userIds=bob"]);
  server.presence.set("bob", true, "lost");
  await advance(31_000);
  expect(online("bob")).toBe(true);
});

test("asks over HTTP for ids with commas, one by one", async () => {
  server.chats.between("alice", "a,b");
  server.presence.set("a,b", true, "lost");
  const alice = await opens({ transports: ["polling"] });
  const { online } = shows(alice, "bob", "a,b");
  await advance(100);
  expect(server.callsTo("/api/presence").map(({ path }) => path)).toEqual(["/api/presence?userId=bob&userId=a%2Cb"]);
  expect(online("a,b")).toBe(true);
});

test("tries again without an answer, and not after a refusal", async () => {
  const alice = await opens({ transports: ["polling"] });
  let failures = 0;
  server.fault = ({ path }) => {
    if (!path.startsWith("/api/presence") || failures++ > 1) return undefined;
    return refusal(503, "store_unavailable");
  };
  const { online } = shows(alice, "bob");
  await advance(20_000);
  expect([failures, online("bob")]).toEqual([3, false]);
  server.fault = ({ path }) => (path.startsWith("/api/presence") ? refusal(422, "validation_failed") : undefined);
  shows(alice, "carol");
  const calls = server.callsTo("/api/presence").length;
  await advance(8_000);
  expect(server.callsTo("/api/presence").length).toBe(calls + 1);
});

test("never asks about ids that the server cannot read", async () => {
  const alice = await opens();
  shows(alice, "", "a\n", "\ud800", "x".repeat(257));
  await advance(100);
  expect(server.presence.asked).toEqual([]);
});

test("asks about a user who becomes known by accepting", async () => {
  const [alice] = [await opens(), await opens({ sub: "dave" })];
  server.presence.set("dave", true);
  const { online } = shows(alice, "dave");
  await advance(100);
  expect(online("dave")).toBe(undefined);
  const { id } = await alice.client.request<{ id: string }>("POST", "/api/chats", {
    body: { kind: "direct", participantIds: ["dave"] },
  });
  await advance(2_000);
  expect(online("dave")).toBe(undefined);
  await devices[1]?.client.request("POST", `/api/chats/${id}/accept`, { body: {} });
  await advance(2_000);
  expect(online("dave")).toBe(true);
});

test("the events of a busy group ask at most once a second", async () => {
  const alice = await opens();
  const { length } = server.presence.asked;
  const group = server.chats.between("alice", "erin", "group");
  const row = server.chats.rows.get(group);
  if (row) row.status = "PENDING";
  shows(alice, "erin");
  await advance(100);
  for (let n = 0; n < 30; n++) {
    server.push({ type: "typing", chatId: group, userId: "erin", on: true });
    await advance(100);
  }
  expect(server.presence.asked.length - length).toBeLessThanOrEqual(5);
});

test("forgets the user on sign-out, and when another one signs in", async () => {
  let sub = "alice";
  server.presence.set("bob", true);
  const alice = await opens({ getToken: () => tokenOf(sub) });
  const { online, states } = shows(alice, "bob");
  await advance(100);
  expect(online("bob")).toBe(true);
  await alice.client.signOut();
  expect(online("bob")).toBe(undefined);
  sub = "erin";
  alice.client.connect();
  await advance(5_000);
  // Erin shares no chat.
  expect(alice.state()).toMatchObject({ userId: "erin", wsStatus: "connected" });
  expect(online("bob")).toBe(undefined);
  expect(states.at(-1)?.size).toBe(0);
});

test("an answer for a user who has left is not shown to the next one", async () => {
  let sub = "alice";
  server.presence.set("bob", true);
  const alice = await opens({ getToken: () => tokenOf(sub), transports: ["polling"] });
  let answer: ((response: Response | undefined) => void) | null = null;
  server.fault = ({ path }) => {
    if (!path.startsWith("/api/presence") || answer) return undefined;
    return new Promise((resolve) => {
      answer = resolve;
    });
  };
  const { online } = shows(alice, "bob");
  await advance(100);
  sub = "erin";
  alice.client.close();
  alice.client.connect();
  await settle();
  (answer as ((response: undefined) => void) | null)?.(undefined);
  await advance(1_000);
  expect([alice.state().userId, online("bob")]).toEqual(["erin", undefined]);
});

test("a list that changes asks only about those who are new to it", async () => {
  const alice = await opens();
  const { hide } = shows(alice, "bob");
  await advance(100);
  hide();
  const { online } = shows(alice, "bob", "carol");
  expect(online("bob")).toBe(false);
  await advance(100);
  expect(server.presence.asked).toEqual([["bob"], ["carol"]]);
});

test("a tab without the connection receives the events that another tab receives", async () => {
  const browser = new FakeBrowser();
  const [, second] = [await opens({ environment: browser.tab() }), await opens({ environment: browser.tab() })];
  expect(second.state().leader).toBe(false);
  const { online } = shows(second, "bob");
  await advance(100);
  expect(online("bob")).toBe(false);
  server.presence.set("bob", true);
  await advance(100);
  expect(online("bob")).toBe(true);
});
