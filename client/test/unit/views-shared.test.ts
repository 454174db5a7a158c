// A view among others: shared by equal filters, by tabs and over sessions, and what it shows when calls fail.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeBrowser } from "../harness/browser.js";
import { advance, connected, deviceOf, settle } from "../harness/device.js";
import { refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";
import { begin, devices, end, fill, lists, matching, opened, opens, server, state, titles } from "../harness/views.js";

beforeEach(begin);
afterEach(end);

test("equal filters share one view, which ends some time after its last release", async () => {
  fill();
  const device = await opens();
  const first = await opened(device, { type: "news" });
  const second = await opened(device, { type: "news", unread: false });
  expect(lists()).toEqual(["limit=5", "limit=5&type=news"]);
  expect(state(second).notifications).toBe(state(first).notifications);
  await Promise.all([first.loadMore(), settle()]);
  expect(titles(second)).toEqual(matching({ type: "news" }, 10));
  first.release();
  first.release();
  await advance(60_000);
  server.send({ title: "arrived", type: "news" });
  expect(titles(second)[0]).toBe("arrived");
  expect(titles(first)[0]).not.toBe("arrived");

  second.release();
  await advance(10_000);
  const soon = await opened(device, { type: "news" });
  expect(titles(soon)).toEqual(matching({ type: "news" }, 11));
  soon.release();
  await advance(31_000);
  const later = await opened(device, { type: "news" });
  expect(titles(later)).toEqual(matching({ type: "news" }, 5));
  expect(server.sockets.length).toBe(1);
});

test("a view opened before the connection waits for it", async () => {
  fill();
  const device = deviceOf(server, { pageSize: 5 });
  devices.push(device);
  const view = await opened(device, { type: "news" });
  expect(state(view)).toMatchObject({ notifications: [], loading: true });
  await expect(view.loadMore()).rejects.toMatchObject({ code: "closed" });
  await connected(device);
  expect(titles(view)).toEqual(matching({ type: "news" }, 5));
  device.client.close();
  expect(titles(view)).toEqual(matching({ type: "news" }, 5));
  server.send({ title: "meanwhile", type: "news" });
  await connected(device);
  await settle();
  expect(titles(view)).toEqual(["meanwhile", ...matching({ type: "news" }, 6).slice(1)]);
});

test("nothing of one user is in a view of the next", async () => {
  fill();
  let sub = "alice";
  const device = await opens({ getToken: () => tokenOf(sub) });
  const view = await opened(device, { type: "news" });
  const seen: string[] = [];
  sub = "bob";
  device.client.close();
  server.fault = ({ path }) => (path.includes("/api/notifications") ? refusal(503, "overloaded") : undefined);
  device.client.connect();
  await settle();
  view.store.subscribe(({ notifications }) => seen.push(...notifications.map(({ title }) => title)));
  expect(device.state().userId).toBe("bob");
  expect(titles(view)).toEqual([]);
  await advance(5_000);
  expect(titles(view)).toEqual([]);
  server.fault = () => undefined;
  await advance(30_000);
  expect(state(view)).toMatchObject({ notifications: [], loading: false, unreadCount: 0, hasMore: false });
  expect(seen).toEqual([]);
});

test("a sign-out empties the views of all tabs at once", async () => {
  fill();
  const browser = new FakeBrowser();
  const environment = (): object => ({ environment: { ...browser.tab(), indexedDB: null } });
  const [first, second] = [await opens(environment()), await opens(environment())];
  const views = [await opened(first, { type: "news" }), await opened(second, { unread: true })];
  expect(views.map((view) => titles(view).length)).toEqual([5, 5]);
  const signingOut = first.client.signOut();
  expect(views.map((view) => titles(view).length)).toEqual([0, 5]);
  await settle();
  expect(views.map((view) => titles(view).length)).toEqual([0, 0]);
  await signingOut;
  await advance(60_000);
  expect(views.map((view) => titles(view).length)).toEqual([0, 0]);
});

test("a failing list is shown as an error, retried, and cleared", async () => {
  fill();
  const device = await opens();
  server.fault = ({ path }) => (path.includes("type=news") ? refusal(500, "internal") : undefined);
  const view = await opened(device, { type: "news" });
  expect(state(view)).toMatchObject({ loading: false, error: { code: "internal", status: 500 } });
  // What the whole inbox has is better than nothing.
  expect(titles(view)).toEqual(["t27"]);
  server.fault = () => undefined;
  await advance(30_000);
  expect(state(view)).toMatchObject({ loading: false, error: null });
  expect(titles(view)).toEqual(matching({ type: "news" }, 5));
});

test("a page that fails is refused, and the next attempt succeeds", async () => {
  fill();
  const device = await opens();
  const view = await opened(device, { type: "news" });
  server.fault = ({ path }) => (path.includes("cursor=") ? refusal(503, "overloaded") : undefined);
  const loadings: boolean[] = [];
  view.store.subscribe(({ loadingMore }) => loadings.push(loadingMore));
  const failing = view.loadMore();
  await settle();
  expect(loadings[0]).toBe(true);
  await expect(failing).rejects.toMatchObject({ code: "overloaded" });
  expect(state(view)).toMatchObject({ loadingMore: false, error: { code: "overloaded", action: "loadMore" } });
  view.dismissError();
  await settle();
  expect(state(view).error).toBe(null);
  server.fault = () => undefined;
  await Promise.all([view.loadMore(), settle()]);
  expect(titles(view)).toEqual(matching({ type: "news" }, 10));
});

test("a refresh that fails shows until the inbox is in sync again, or until it is dismissed", async () => {
  fill();
  const device = await opens();
  const view = await opened(device, { type: "news" });
  await advance(3_000);
  server.fault = ({ path }) => (path.startsWith("/api/sync") ? refusal(500, "internal") : undefined);
  await Promise.all([expect(view.refresh()).rejects.toMatchObject({ code: "internal" }), settle()]);
  expect(state(view).error).toMatchObject({ code: "internal", status: 500 });
  view.dismissError();
  await settle();
  expect(state(view).error).toBe(null);
  await Promise.all([expect(view.refresh()).rejects.toMatchObject({ code: "internal" }), settle()]);
  server.fault = () => undefined;
  await advance(60_000);
  expect(state(view).error).toBe(null);
});

test("events that come while the first page is on its way are neither lost nor shown twice", async () => {
  fill();
  const device = await opens();
  let respond = (): void => {};
  server.fault = ({ path }) => {
    if (!path.includes("type=news") || path.includes("count")) return undefined;
    server.fault = () => undefined;
    return new Promise((resolve) => {
      respond = () => resolve(undefined);
    });
  };
  const view = await opened(device, { type: "news" });
  server.send({ title: "on the way", type: "news" });
  server.send({ title: "lost on the way", type: "news", frame: "lost" });
  server.change("read", ["n28"]);
  await advance(1_000);
  respond();
  await advance(1_000);
  expect(titles(view)).toEqual(matching({ type: "news" }, 5));
  expect(state(view).unreadCount).toBe(server.unreadOf("news"));
});

test("a first page that is behind the inbox is brought up to date at once", async () => {
  fill();
  const device = await opens();
  let respond = (): void => {};
  server.fault = ({ path, headers }) => {
    if (!path.includes("type=news") || path.includes("count")) return undefined;
    server.fault = () => undefined;
    const authorization = headers.get("authorization") ?? "";
    const early = server.fetch(`http://carillon.test${path}`, { headers: { authorization } });
    return new Promise((resolve) => {
      respond = () => resolve(early);
    });
  };
  const view = await opened(device, { type: "news" });
  server.send({ title: "after the page was made", type: "news", frame: "lost" });
  server.push({ type: "resync" });
  await settle();
  respond();
  await settle();
  expect(titles(view)).toEqual(matching({ type: "news" }, 6));
});

test("a view retries as soon as the inbox is in sync again", async () => {
  fill();
  const device = await opens();
  server.fault = ({ path }) => (path.includes("type=news") ? refusal(503, "overloaded", 600_000) : undefined);
  const view = await opened(device, { type: "news" });
  expect(state(view).error?.code).toBe("overloaded");
  server.fault = () => undefined;
  await Promise.all([device.client.refresh(), settle()]);
  await settle();
  expect(state(view).error).toBe(null);
  expect(titles(view)).toEqual(matching({ type: "news" }, 5));
});

test("a device that is offline shows what its cache has of a view, and catches up", async () => {
  fill();
  const { indexedDB } = new FakeBrowser();
  const first = await opens({ environment: { indexedDB } });
  await advance(2_000);
  first.client.close();
  await settle();
  server.fault = () => {
    throw new TypeError("fetch failed");
  };
  const device = deviceOf(server, { pageSize: 5, userId: "alice", environment: { indexedDB } });
  devices.push(device);
  await connected(device);
  await vi.waitFor(async () => {
    await settle();
    expect(device.titles().length).toBe(5);
  });
  const view = await opened(device, { type: "news" });
  expect(titles(view)).toEqual(["t27"]);
  const empty = await opened(device, { type: "weather" });
  expect(state(empty)).toMatchObject({ notifications: [], loading: false, error: { code: "no_answer" } });
  server.fault = () => undefined;
  device.page.dispatchEvent(new Event("online"));
  await advance(1_000);
  expect(titles(view)).toEqual(matching({ type: "news" }, 5));
  expect(state(empty)).toMatchObject({ loading: false, error: null });
});

test("a follower's view loads its own pages, and follows what the leader receives", async () => {
  fill();
  const browser = new FakeBrowser();
  const environment = (): object => ({ environment: { ...browser.tab(), indexedDB: null } });
  const leader = await opens(environment());
  const follower = await opens(environment());
  expect([leader.state().leader, follower.state().leader]).toEqual([true, false]);
  const view = await opened(follower, { unread: true });
  expect(titles(view)).toEqual(matching({ unread: true }, 5));
  server.send({ title: "arrived" });
  await settle();
  expect(titles(view)[0]).toBe("arrived");
  const read = leader.client.markAsRead(state(view).notifications[1]?.id ?? "");
  await settle();
  await read;
  expect(titles(view)).toEqual(matching({ unread: true }, 5));
  leader.client.close();
  await settle();
  server.send({ title: "arrived too" });
  await settle();
  expect(titles(view)[0]).toBe("arrived too");
  expect(server.openSockets.length).toBe(1);
});

test("the state changes only if what is shown changes, and keeps the identity of the rest", async () => {
  fill();
  const device = await opens();
  const view = await opened(device, { type: "news" });
  await advance(3_000);
  const before = state(view);
  let changes = 0;
  view.store.subscribe(() => changes++);
  server.send({ title: "other", type: "like" });
  await advance(5_000);
  expect(changes).toBe(0);
  server.send({ title: "news", type: "news" });
  expect(changes).toBe(1);
  expect(state(view).notifications.slice(1)).toEqual(before.notifications);
  expect(state(view).notifications[1]).toBe(before.notifications[0]);
});
