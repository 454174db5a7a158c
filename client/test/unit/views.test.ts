// What a view shows: the notifications that fit its filter, page by page, as they change.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ViewFilter } from "../../src/index.js";
import { advance, settle } from "../harness/device.js";
import { refusal } from "../harness/server.js";
import { begin, end, fill, lists, matching, opened, opens, server, state, titles } from "../harness/views.js";

beforeEach(begin);
afterEach(end);

describe.each<[string, ViewFilter, string]>([
  ["one type", { type: "news" }, "limit=5&type=news"],
  ["everything unread", { unread: true }, "limit=5&unread=true"],
  ["what is unread of one type", { type: "like", unread: true }, "limit=5&type=like&unread=true"],
])("a view of %s", (_, filter, query) => {
  beforeEach(fill);

  test("shows what the server has, page by page, with the true count", async () => {
    const device = await opens();
    const view = await opened(device, filter);
    expect(titles(view)).toEqual(matching(filter, 5));
    expect(state(view)).toMatchObject({ hasMore: true, loading: false, loadingMore: false, error: null });
    expect(state(view).unreadCount).toBe(server.unreadOf(filter.type ?? null));
    expect(lists()).toEqual(["limit=5", query]);
    for (let pages = 0; state(view).hasMore && pages < 10; pages++) {
      const loading = view.loadMore();
      await settle();
      await loading;
    }
    expect(titles(view)).toEqual(matching(filter));
    expect(state(view).unreadCount).toBe(server.unreadOf(filter.type ?? null));
    // The whole inbox has not grown by it.
    expect(device.titles().length).toBe(5);
  });

  test("follows arrivals, reads, deletions and expiry without another request", async () => {
    const device = await opens();
    const view = await opened(device, filter);
    for (let pages = 0; pages < 4; pages++) await Promise.all([view.loadMore(), settle()]);
    await advance(3_000);
    const calls = server.calls.length;
    const expect_ = (): void => {
      expect(titles(view)).toEqual(matching(filter));
      expect(state(view).unreadCount).toBe(server.unreadOf(filter.type ?? null));
    };
    const news = server.send({ title: "more news", type: "news" });
    const like = server.send({ title: "more likes", type: "like" });
    expect_();
    server.change("read", [news.id, like.id]);
    expect_();
    server.change("unread", [like.id]);
    expect_();
    server.change("deleted", [news.id]);
    expect_();
    server.send({ title: "instead", type: "like", replaces: [like.id] });
    expect_();
    server.change("read", ["n2", "n28", "n8"]);
    expect_();
    server.change("unread", ["n28"]);
    expect_();
    const expiresAt = new Date(Date.now() + 500).toISOString();
    server.send({ title: "soon gone", type: filter.type ?? "like", expiresAt });
    expect_();
    await advance(500);
    expect(titles(view)).not.toContain("soon gone");
    expect(server.calls.length).toBe(calls);
  });

  test("follows syncs, a resync and a new epoch", async () => {
    const device = await opens();
    const view = await opened(device, filter);
    for (let pages = 0; pages < 4; pages++) await Promise.all([view.loadMore(), settle()]);
    const { id } = server.send({ title: "lost", type: "news", frame: "lost" });
    server.send({ title: "lost too", type: "like", frame: "lost" });
    server.change("read", ["n28", "n2"], false);
    server.change("deleted", ["n5"], false);
    server.push({ type: "resync" });
    await settle();
    expect(titles(view)).toEqual(matching(filter));
    server.change("unread", [id, "n1", "n3", "n28"], false);
    server.push({ type: "resync" });
    await advance(3_000);
    expect(titles(view)).toEqual(matching(filter));
    expect(state(view).unreadCount).toBe(server.unreadOf(filter.type ?? null));

    server.startNewEpoch();
    for (let n = 0; n < 12; n++) server.send({ title: `new ${n}`, type: "news", frame: "lost" });
    for (let n = 0; n < 12; n++) server.send({ title: `newer ${n}`, type: "like", frame: "lost" });
    server.push({ type: "resync" });
    await advance(3_000);
    expect(titles(view)).toEqual(matching(filter, 5));
    expect(state(view).hasMore).toBe(true);
    expect(state(view).unreadCount).toBe(server.unreadOf(filter.type ?? null));
    server.send({ title: "newest", type: filter.type ?? "like" });
    expect(titles(view)[0]).toBe("newest");
  });

  test("shows the user's own changes at once, and undoes refused ones", async () => {
    const device = await opens();
    const view = await opened(device, filter);
    const before = titles(view);
    const item = state(view).notifications.find(({ readAt }) => readAt === null);
    const { unreadCount } = state(view);
    server.fault = ({ method }) => (method === "GET" ? undefined : refusal(403, "forbidden"));
    const refused = device.client.markAsRead(item?.id ?? "");
    expect(state(view).unreadCount).toBe(unreadCount - 1);
    expect(titles(view).includes(item?.title ?? "")).toBe(!filter.unread);
    await settle();
    await expect(refused).rejects.toMatchObject({ code: "forbidden" });
    expect(titles(view)).toEqual(before);
    expect(state(view).unreadCount).toBe(unreadCount);

    server.fault = () => undefined;
    const deleted = device.client.deleteNotification(item?.id ?? "");
    expect(titles(view)).toEqual(before.filter((title) => title !== item?.title));
    await settle();
    await deleted;
    await advance(3_000);
    expect(titles(view)).not.toContain(item?.title);
    expect(state(view).unreadCount).toBe(server.unreadOf(filter.type ?? null));
  });

  test("shows a read of everything at once, and keeps what arrives meanwhile", async () => {
    const device = await opens();
    const view = await opened(device, filter);
    const all = device.client.markAllAsRead(filter.type);
    expect(state(view).unreadCount).toBe(0);
    if (filter.unread) expect(titles(view)).toEqual([]);
    server.send({ title: "meanwhile", type: filter.type ?? "like" });
    expect(state(view).unreadCount).toBe(1);
    await settle();
    await all;
    await advance(5_000);
    expect(state(view).unreadCount).toBe(1);
    expect(titles(view)[0]).toBe("meanwhile");
    if (filter.unread) expect(titles(view)).toEqual(["meanwhile"]);
  });
});

test("a view of an inbox that is known as a whole asks the server nothing", async () => {
  fill();
  const device = await opens({ pageSize: 50 });
  await advance(3_000);
  const calls = server.calls.length;
  const view = await opened(device, { type: "news", unread: true });
  expect(titles(view)).toEqual(matching({ type: "news", unread: true }));
  expect(state(view)).toMatchObject({ hasMore: false, loading: false, unreadCount: server.unreadOf("news") });
  server.send({ title: "fresh", type: "news" });
  expect(titles(view)[0]).toBe("fresh");
  expect(server.calls.length).toBe(calls);
});

test("a notification that becomes unread enters the unread view, known or not", async () => {
  fill();
  const device = await opens();
  const view = await opened(device, { unread: true });
  for (let pages = 0; pages < 4; pages++) await Promise.all([view.loadMore(), settle()]);
  // In the first page of the whole inbox, and not there.
  server.change("unread", ["n29", "n1"]);
  await settle();
  expect(titles(view)).toEqual(matching({ unread: true }));
  const unread = device.client.markAsUnread("n27");
  expect(titles(view)).toContain("t26");
  expect(titles(view)).toEqual([...titles(view)].sort((a, b) => Number(b.slice(1)) - Number(a.slice(1))));
  await settle();
  await unread;
  expect(titles(view)).toEqual(matching({ unread: true }));
});

test("a change to a notification that only a view has counts for the whole inbox at once", async () => {
  fill();
  const device = await opens();
  const view = await opened(device, { type: "news" });
  const other = await opened(device, { unread: true });
  const counts: number[] = [];
  device.client.store.subscribe(({ unreadCount }) => counts.push(unreadCount));
  const [item] = state(view).notifications.filter(
    ({ id }) => !device.state().notifications.some((one) => one.id === id),
  );
  expect(item?.readAt).not.toBe(undefined);
  const was = device.state().unreadCount;
  const now = was + (item?.readAt === null ? -1 : 1);
  const changing =
    item?.readAt === null ? device.client.markAsRead(item.id) : device.client.markAsUnread(item?.id ?? "");
  expect(device.state().unreadCount).toBe(now);
  expect(state(other).unreadCount).toBe(now);
  await settle();
  await changing;
  await advance(3_000);
  expect(new Set(counts)).toEqual(new Set([now]));
  expect(now).toBe(server.unreadCount);
});

test("an unread view whose whole page was read loads the next page by itself", async () => {
  fill();
  const device = await opens();
  const view = await opened(device, { unread: true });
  server.change(
    "read",
    state(view).notifications.map(({ id }) => id),
  );
  await settle();
  expect(titles(view)).toEqual(matching({ unread: true }, 5));
  expect(titles(view).length).toBe(5);
});

test("a page that fails to load is no endless loop", async () => {
  fill();
  const device = await opens();
  const view = await opened(device, { unread: true });
  server.fault = ({ path }) => (path.includes("cursor=") ? refusal(500, "internal") : undefined);
  server.change(
    "read",
    state(view).notifications.map(({ id }) => id),
  );
  await advance(10_000);
  expect(lists().filter((query) => query.includes("cursor=")).length).toBeLessThan(10);
});
