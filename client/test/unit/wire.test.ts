// What the parts of the client that are loaded separately get of it: frames in every tab, a way to send, a place to keep.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeBrowser } from "../harness/browser.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";

let server: FakeServer;
let browser: FakeBrowser;
const tabs: Device[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z"), toFake: ["setTimeout", "clearTimeout", "Date"] });
  server = new FakeServer();
  browser = new FakeBrowser();
});

afterEach(() => {
  for (const tab of tabs.splice(0)) tab.client.close();
  vi.useRealTimers();
});

type Received = Readonly<Record<string, unknown>>[];

async function opens(options: Parameters<typeof deviceOf>[1] = {}): Promise<Device & { received: Received }> {
  const tab = deviceOf(server, { ...options, environment: { ...browser.tab(), indexedDB: null } });
  tabs.push(tab);
  const received: Received = [];
  tab.client.wire.subscribe((frame) => received.push(frame));
  await connected(tab);
  return { ...tab, received };
}

const withoutSyncs = ({ received }: { received: Received }): Received => received.filter(({ type }) => type !== "sync");

const typing = { type: "typing", chatId: "c", userId: "bob", on: true };

test("a frame about chats reaches every tab once, and is no problem", async () => {
  const [leader, follower] = [await opens(), await opens()];
  server.push(typing);
  server.push({ type: "fetch", chatId: "c", seq: 7 });
  await settle();
  for (const tab of [leader, follower]) {
    expect(withoutSyncs(tab)).toEqual([typing, { type: "fetch", chatId: "c", seq: 7 }]);
    expect(tab.problems).toEqual([]);
  }
});

test("a reply reaches only the tab whose socket it came over", async () => {
  const [leader, follower] = [await opens(), await opens()];
  const reply = { type: "error", code: "forbidden", message: "no", ref: "chat-1" };
  server.push(reply);
  await settle();
  expect([leader, follower].map(withoutSyncs)).toEqual([[reply], []]);
  // The connection is well: only a message was refused.
  expect(leader.state().error).toBeNull();
});

test("a sync reaches every tab", async () => {
  const [leader, follower] = [await opens(), await opens()];
  server.send({ frame: "lost" });
  await leader.client.refresh();
  await settle();
  for (const { received } of [leader, follower]) {
    expect(received.at(-1)).toMatchObject({ type: "sync", chats: [], chatsComplete: true, unreadCount: 1 });
  }
});

test("a follower's frame goes over the leader's socket, unless it expects a reply", async () => {
  const [leader, follower] = [await opens(), await opens()];
  const frame = { action: "ack", cursor: "e1.0" };
  expect(follower.client.wire.send(frame)).toBe(false);
  expect(follower.client.wire.send({ action: "ping", ref: "chat-1" })).toBe(false);
  expect(leader.client.wire.send({ action: "ping", ref: "chat-2" })).toBe(true);
  await settle();
  const [socket] = server.sockets;
  expect(server.sockets.length).toBe(1);
  expect(socket?.sent.filter(({ ref }) => String(ref).startsWith("chat-")).map(({ ref }) => ref)).toEqual(["chat-2"]);
  expect(socket?.sent).toContainEqual(frame);
  leader.client.close();
  expect(leader.client.wire.send(frame)).toBe(false);
  await advance(1_000);
});

test("signing out forgets what was kept for this user, and for no other", async () => {
  const tab = await opens();
  const other = await opens({ sub: "alice b" });
  const names = [tab, other].map(({ client }) => client.wire.keptName() ?? "");
  for (const name of [...names, "carillon of the application"]) browser.localStorage.setItem(`${name}draft`, "Hi");
  const done = tab.client.signOut();
  await settle();
  await done;
  expect(Object.keys(browser.localStorage)).toEqual([`${names[1]}draft`, "carillon of the applicationdraft"]);
});

test("nothing may be kept before the user is known, nor without a cache", async () => {
  expect(deviceOf(server).client.wire.keptName()).toBeNull();
  expect((await opens({ cache: false })).client.wire.keptName()).toBeNull();
});
