import { IDBObjectStore } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { EventCache } from "../../src/index.js";
import { advance, type Device, settle } from "../harness/device.js";
import { begin, browser, end, type Options, opens as opensTab, server, stored } from "../harness/profile.js";
import { refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

beforeEach(begin);
afterEach(end);

const noAnswer = (): never => {
  throw new TypeError("fetch failed");
};

/** A device with one tab only. */
const opens = (options: Options = {}): Promise<Device> =>
  opensTab({ ...options, environment: { BroadcastChannel: null, locks: null, ...options?.environment } });

/** One visit that leaves an inbox in the cache. */
async function visit(options: Options = {}): Promise<void> {
  const device = await opens(options);
  await advance(1_000);
  await stored();
  device.client.close();
  await stored();
}

test("the cached inbox is shown while nothing responds, and confirmed when the server responds", async () => {
  server.send({ title: "cached" });
  await visit();
  server.fault = noAnswer;
  const device = await opens();
  expect(device.titles()).toEqual(["cached"]);
  expect(device.state()).toMatchObject({
    fromCache: true,
    loading: false,
    wsStatus: "offline",
    unreadCount: 1,
    userId: "alice",
  });
  server.send({ title: "new" });
  server.fault = () => undefined;
  device.page.dispatchEvent(new Event("online"));
  await settle();
  expect(device.titles()).toEqual(["new", "cached"]);
  expect(device.state()).toMatchObject({ fromCache: false, wsStatus: "connected", error: null });
  // Only the difference was requested and emitted.
  expect(server.callsTo("/api/notifications?").length).toBe(1);
  expect(device.events.length).toBe(1);
});

test("one user's cache is never shown to another user", async () => {
  server.send({ title: "alice's" });
  await visit();
  server.fault = noAnswer;
  const bob = await opens({ sub: "bob" });
  expect(bob.titles()).toEqual([]);
  const elsewhere = await opens({ baseUrl: "http://other.test" });
  expect(elsewhere.titles()).toEqual([]);
});

test("when another user signs in, nothing of the previous user stays on the page", async () => {
  let sub = "alice";
  server.send({ title: "alice's" });
  const device = await opens({ getToken: () => tokenOf(sub, Date.now() + 60_000) });
  expect(device.titles()).toEqual(["alice's"]);
  const seen: string[] = [];
  device.client.store.subscribe(({ userId, notifications }) => {
    if (userId === "bob") seen.push(...notifications.map(({ title }) => title));
  });
  sub = "bob";
  await advance(120_000);
  await stored();
  expect(device.state()).toMatchObject({ userId: "bob", notifications: [], unreadCount: 0 });
  expect(seen).toEqual([]);
  expect(device.codes()).not.toContain("user_changed");
  expect(server.openSockets.length).toBe(1);
});

test("a response for the previous user is not shown to the next user", async () => {
  let sub = "alice";
  let release = (): void => {};
  const device = await opens({ getToken: () => tokenOf(sub, Date.now() + 20_000) });
  server.send({ title: "alice's", frame: "lost" });
  server.fault = async ({ path }) => {
    if (path.startsWith("/api/sync")) {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    }
    return undefined;
  };
  const refreshed = device.client.refresh().catch(({ code }) => code);
  await settle();
  sub = "bob";
  await device.client.request("GET", "/api/notifications?limit=1").catch(() => {});
  release();
  expect(await refreshed).toBe("closed");
  await stored();
  expect(device.state()).toMatchObject({ userId: "bob", notifications: [] });
});

test("while there is no token, the application can name the user whose cache is shown", async () => {
  server.send({ title: "cached" });
  await visit();
  const getToken = (): never => {
    throw new Error("the sign-in is unavailable");
  };
  const unknown = await opens({ getToken });
  expect(unknown.titles()).toEqual([]);
  const known = await opens({ getToken, userId: "alice" });
  expect(known.titles()).toEqual(["cached"]);
  expect(known.state().error?.code).toBe("token_unavailable");
  const mistaken = await opens({ sub: "bob", userId: "alice" });
  expect(mistaken.state()).toMatchObject({ userId: "bob", notifications: [] });
});

test("the newest part of a long inbox is cached, and the rest is paged from there", async () => {
  for (let n = 0; n < 450; n++) server.send({ title: `t${n}` });
  const first = await opens({ pageSize: 200 });
  await first.client.loadMore();
  expect(first.titles().length).toBe(400);
  await advance(1_000);
  await stored();
  first.client.close();
  await stored();
  const device = await opens({ pageSize: 200 });
  expect(device.titles().length).toBe(200);
  expect(device.state().hasMore).toBe(true);
  await device.client.loadMore();
  await device.client.loadMore();
  expect(device.titles()).toEqual(Array.from({ length: 450 }, (_, n) => `t${449 - n}`));
  expect(device.state().hasMore).toBe(false);
});

test("a cached cursor that has expired reloads the list", async () => {
  server.send({ title: "old" });
  await visit();
  server.startNewEpoch();
  server.send({ title: "new" });
  const device = await opens();
  expect(device.titles()).toEqual(["new"]);
  expect(device.codes()).toContain("cursor_expired");
});

test("events are cached once each, and are available on the next visit", async () => {
  const device = await opens();
  server.send({ title: "first" });
  const emitted = { type: "system", id: "s1", name: null, title: "t", body: null, data: {} } as const;
  await device.client.cacheEvent(emitted);
  await device.client.cacheEvent(emitted);
  await advance(1_000);
  await stored();
  device.client.close();
  await stored();
  const again = await opens();
  const cached = await again.client.loadCachedEvents();
  expect(cached.map(({ type }) => type)).toEqual(["system", "notification"]);
  const bob = await opens({ sub: "bob" });
  expect(await bob.client.loadCachedEvents()).toEqual([]);
});

test("what was emitted before a reload does not ring again", async () => {
  const device = await opens();
  server.emit({ type: "announcement", id: "x1" });
  await advance(1_000);
  await stored();
  device.client.close();
  await stored();
  server.emit({ type: "announcement", id: "x2" }, true);
  const again = await opens();
  await advance(1_000);
  expect(again.rung.map((event) => "id" in event && event.id)).toEqual(["x2"]);
});

test("only the last hundred events are cached", async () => {
  const device = await opens();
  for (let n = 0; n < 130; n++) {
    await device.client.cacheEvent({ type: "system", id: `s${n}`, name: null, title: null, body: null, data: {} });
  }
  const cached = await device.client.loadCachedEvents();
  expect(cached.length).toBe(100);
  expect(cached.at(-1)).toMatchObject({ id: "s129" });
});

test("neither tokens nor tickets are cached", async () => {
  server.send({ title: "cached" });
  const token = tokenOf("alice");
  await visit({ getToken: () => token });
  const names = await new Promise<unknown>((resolve) => {
    const request = browser.indexedDB.open("carillon");
    request.onsuccess = () => {
      const all: unknown[] = [];
      const transaction = request.result.transaction(["inboxes", "events"]);
      for (const name of ["inboxes", "events"]) {
        const read = transaction.objectStore(name).getAll();
        read.onsuccess = () => all.push(read.result);
      }
      transaction.oncomplete = () => resolve(all);
    };
  });
  expect(JSON.stringify(names)).toContain("cached");
  expect(JSON.stringify(names)).not.toContain(token);
});

describe("storage", () => {
  const failing = (name: string): EventCache => {
    const fail = async (): Promise<never> => {
      throw new DOMException("no", name);
    };
    return { loadInbox: fail, saveInbox: fail, loadEvents: fail, addEvents: fail, clear: fail };
  };

  test("that is full is reported once, and does no harm", async () => {
    const full = vi.spyOn(IDBObjectStore.prototype as globalThis.IDBObjectStore, "put").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    const device = await opens();
    for (let n = 0; n < 3; n++) {
      server.send({ title: `t${n}` });
      await advance(1_000);
      await stored();
    }
    expect(device.codes()).toEqual(["cache_full"]);
    expect(device.problems[0]?.source).toBe("cache");
    expect(device.state()).toMatchObject({ wsStatus: "connected", error: null });
    expect(device.titles()).toEqual(["t2", "t1", "t0"]);
    full.mockRestore();
    server.send({ title: "t3" });
    await advance(1_000);
    await stored();
    device.client.close();
    server.fault = noAnswer;
    expect((await opens()).titles()).toEqual(["t3", "t2", "t1", "t0"]);
  });

  test("that is full is recognised even if only the request fails", async () => {
    // As in a browser, the request fails first, and then the transaction aborts with its error.
    const transaction: Record<string, unknown> = { error: null, objectStore: () => ({ put: fails, get: fails }) };
    const fails = (): object => {
      queueMicrotask(() => {
        (transaction["onerror"] as (() => void) | undefined)?.();
        transaction["error"] = new DOMException("full", "QuotaExceededError");
        (transaction["onabort"] as () => void)();
      });
      return {};
    };
    const request: Record<string, unknown> = { result: { transaction: () => transaction } };
    const open = (): object => {
      queueMicrotask(() => (request["onsuccess"] as () => void)());
      return request;
    };
    const device = await opens({ environment: { indexedDB: { open } as unknown as IDBFactory } });
    expect(device.codes()).toEqual(["cache_full"]);
  });

  test("that is forbidden is reported, and does no harm", async () => {
    const indexedDB = {
      open() {
        throw new DOMException("no", "SecurityError");
      },
    } as unknown as IDBFactory;
    server.send({ title: "shown" });
    const device = await opens({ environment: { indexedDB } });
    expect(device.codes()).toEqual(["cache_unavailable"]);
    expect(device.titles()).toEqual(["shown"]);
    expect(await device.client.loadCachedEvents()).toEqual([]);
  });

  test("that hangs is not waited for", async () => {
    const indexedDB = { open: () => ({}) } as unknown as IDBFactory;
    server.send({ title: "shown" });
    const device = await opens({ environment: { indexedDB } });
    await advance(1_000);
    expect(device.titles()).toEqual(["shown"]);
  });

  test("with invalid content is treated as empty", async () => {
    server.send({ title: "shown" });
    const cache = { ...failing("x"), loadInbox: async () => ({ hello: "world" }) as never };
    const device = await opens({ cache });
    expect(device.titles()).toEqual(["shown"]);
  });

  test("of the application's own cache may fail too", async () => {
    const device = await opens({ cache: failing("QuotaExceededError") });
    expect(device.state().wsStatus).toBe("connected");
    await device.client.cacheEvent({ type: "system", id: "s", name: null, title: null, body: null, data: {} });
    expect(device.problems.every(({ source }) => source === "cache")).toBe(true);
    expect(device.problems.length).toBeGreaterThan(0);
  });
});

test("a disabled cache is not opened", async () => {
  const open = vi.spyOn(browser.indexedDB, "open");
  const device = await opens({ cache: false });
  server.fault = () => refusal(500, "internal");
  await advance(2_000);
  expect(device.codes()).toEqual([]);
  expect(open).not.toHaveBeenCalled();
});

describe("a provisional notification", () => {
  test("is not cached, and does not ring again after a reload", async () => {
    const before = await opens();
    server.send({ title: "written" });
    server.sendFast({ title: "fast" });
    await advance(1_500);
    await stored();
    before.client.close();
    await stored();
    const { fault } = server;
    server.fault = noAnswer;
    const offline = await opens();
    expect(offline.titles()).toEqual(["written"]);
    expect(offline.state()).toMatchObject({ fromCache: true, unreadCount: 1 });
    offline.client.close();
    server.fault = fault;
    const after = await opens();
    expect(after.titles()).toEqual(["fast", "written"]);
    expect(after.state().unreadCount).toBe(2);
    expect([...after.events, ...after.rung]).toEqual([]);
  });

  test("that was written while the page was closed is known as written, and rings when it comes back from a snooze", async () => {
    const before = await opens();
    const { id } = server.sendFast({ title: "fast" });
    server.drain();
    await advance(1_500);
    await stored();
    const events = await before.client.loadCachedEvents();
    expect(events).toMatchObject([{ type: "notification", cursor: "e1.1", notification: { id, cursor: "e1.1" } }]);
    before.client.close();
    await stored();
    const after = await opens();
    server.change("deleted", [id]);
    const notification = { ...server.rows.get(id)?.notification, cursor: "e1.3" };
    server.push({ type: "notification", prev: "e1.2", cursor: "e1.3", notification, unreadCount: 1 });
    expect(after.events.map(({ type }) => type)).toEqual(["changed", "notification"]);
  });

  test("that the device was told of keeps its place among the events", async () => {
    const device = await opens();
    server.sendFast({ title: "1" });
    server.emit({ type: "system", id: "s1" });
    await advance(1_500);
    server.drain();
    await advance(1_500);
    await stored();
    const events = await device.client.loadCachedEvents();
    const told = events.map((event) => ("cursor" in event ? event.cursor : event.type));
    expect(told).toEqual(["e1.1", "system"]);
  });
});
