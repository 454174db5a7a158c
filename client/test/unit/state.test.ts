// What the state says about itself: whether the inbox is known, whether a page is on its way, and which act failed.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createClient, type State } from "../../src/index.js";
import { FakeBrowser } from "../harness/browser.js";
import { advance, connected, type Device, deviceOf, settle } from "../harness/device.js";
import { BASE_URL, FakeServer, html, refusal } from "../harness/server.js";

let server: FakeServer;
const devices: Device[] = [];

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
});

afterEach(() => {
  for (const device of devices.splice(0)) device.client.close();
  vi.useRealTimers();
});

function device(options: Parameters<typeof deviceOf>[1] = {}): Device {
  const made = deviceOf(server, options);
  devices.push(made);
  return made;
}

/** Every state in which the inbox looks empty although nothing is known about it. */
function falselyEmpty({ client }: Device): State[] {
  const states: State[] = [];
  const check = (state: State): void => {
    if (!state.loading && state.notifications.length === 0) states.push(state);
  };
  check(client.store.getInitialState());
  check(client.store.getState());
  client.store.subscribe(check);
  return states;
}

const noAnswer = (): never => {
  throw new TypeError("fetch failed");
};

const cacheOf = (titles: readonly string[]): object => ({
  loadInbox: async () => ({
    items: titles.map((title, n) => ({
      id: `n${n}`,
      type: "like",
      title,
      createdAt: "",
      cursor: "e1.1",
      readAt: null,
    })),
    unreadCount: titles.length,
    cursor: "e1.1",
    hasMore: false,
    nextCursor: null,
  }),
  saveInbox: async () => {},
  loadEvents: async () => [],
  addEvents: async () => {},
  clear: async () => {},
});

describe("loading", () => {
  test("is the initial state, on a server too, and lasts until the first answer", async () => {
    server.send({ title: "one" });
    const page = device();
    const states = falselyEmpty(page);
    expect(createClient({ baseUrl: BASE_URL, getToken: () => "" }).store.getInitialState().loading).toBe(true);
    await connected(page);
    expect(page.state().loading).toBe(false);
    expect(states).toEqual([]);
  });

  test("ends with an empty answer", async () => {
    const page = await connected(device());
    expect(page.state()).toMatchObject({ loading: false, notifications: [] });
  });

  test.each([
    ["nothing responds", noAnswer],
    ["the server is too busy", () => refusal(503, "overloaded")],
    ["a proxy answers with a page", () => html(200)],
  ])("lasts while %s, with the error beside it", async (_, fault) => {
    server.fault = fault;
    const page = device();
    const states = falselyEmpty(page);
    await connected(page);
    await advance(20_000);
    expect(page.state()).toMatchObject({ loading: true, error: { source: "connection" } });
    expect(states).toEqual([]);
    server.fault = () => undefined;
    await advance(60_000);
    expect(page.state()).toMatchObject({ loading: false, error: null });
  });

  test.each([
    ["throws", () => Promise.reject(new Error("the sign-in is away"))],
    ["hangs", () => new Promise<string>(() => {})],
  ])("lasts while getToken %s", async (_, getToken) => {
    const page = device({ getToken });
    const states = falselyEmpty(page);
    await connected(page);
    await advance(25_000);
    expect(page.state()).toMatchObject({ loading: true, error: { code: "token_unavailable" } });
    expect(states).toEqual([]);
  });

  test("ends with a cached inbox, unless that one is empty", async () => {
    server.fault = noAnswer;
    const full = device({ cache: cacheOf(["cached"]) as never });
    await connected(full);
    expect(full.state()).toMatchObject({ loading: false, fromCache: true });
    const empty = device({ cache: cacheOf([]) as never });
    const states = falselyEmpty(empty);
    await connected(empty);
    expect(empty.state()).toMatchObject({ loading: true, fromCache: true });
    expect(states).toEqual([]);
  });

  test("does not come back when a client that knows its inbox is closed and connected again", async () => {
    const page = await connected(device());
    const states: boolean[] = [];
    page.client.store.subscribe(({ loading }) => states.push(loading));
    page.client.close();
    await connected(page);
    expect(states).not.toContain(true);
  });

  test("does not end with a close before the first answer", () => {
    const page = device();
    const states = falselyEmpty(page);
    page.client.connect();
    page.client.close();
    expect(page.state()).toMatchObject({ loading: true, wsStatus: "closed" });
    expect(states).toEqual([]);
  });
});

describe("loadingMore", () => {
  test("is true while a page is on its way, and loading is not", async () => {
    for (let n = 0; n < 30; n++) server.send();
    const page = await connected(device({ pageSize: 10 }));
    const states: [boolean, boolean][] = [];
    page.client.store.subscribe(({ loading, loadingMore }) => states.push([loading, loadingMore]));
    await page.client.loadMore();
    expect(states[0]).toEqual([false, true]);
    expect(page.state()).toMatchObject({ loading: false, loadingMore: false });
    expect(states.some(([loading]) => loading)).toBe(false);
  });

  test("ends when the client closes", async () => {
    for (let n = 0; n < 30; n++) server.send();
    const page = await connected(device({ pageSize: 10 }));
    server.fault = () => new Promise(() => {});
    void page.client.loadMore();
    expect(page.state().loadingMore).toBe(true);
    page.client.close();
    await settle();
    expect(page.state().loadingMore).toBe(false);
  });
});

describe("error", () => {
  test("tells which act failed, and on what", async () => {
    const { id } = server.send();
    for (let n = 0; n < 20; n++) server.send();
    const page = await connected(device({ pageSize: 10 }));
    await advance(3_000);
    server.fault = ({ method, path }) =>
      method !== "GET" || path.includes("&cursor=") ? refusal(403, "forbidden") : undefined;
    const { client } = page;
    for (const [action, act] of [
      ["read", () => client.markAsRead(id)],
      ["unread", () => client.markAsUnread(id)],
      ["delete", () => client.deleteNotification(id)],
    ] as const) {
      await act().catch(() => {});
      expect(page.state().error).toMatchObject({ code: "forbidden", source: "change", action, ids: [id] });
    }
    await client.markAllAsRead().catch(() => {});
    expect(page.state().error).toMatchObject({ source: "change", action: "readAll" });
    expect(page.state().error).not.toHaveProperty("ids");
    await client.loadMore().catch(() => {});
    expect(page.state().error).toMatchObject({ code: "forbidden", action: "loadMore" });
  });

  test("of one act is not cleared by a sync, but by the user", async () => {
    const { id } = server.send();
    const page = await connected(device());
    await advance(3_000);
    server.fault = ({ method }) => (method === "DELETE" ? refusal(403, "forbidden") : undefined);
    await page.client.deleteNotification(id).catch(() => {});
    await advance(5_000);
    expect(page.state().error?.action).toBe("delete");
    page.client.dismissError();
    expect(page.state().error).toBeNull();
    await advance(5_000);
    expect(page.state().error).toBeNull();
  });

  test("of the connection stays dismissed until the connection has recovered or fails differently", async () => {
    server.fault = () => refusal(503, "overloaded");
    const page = await connected(device());
    expect(page.state().error?.code).toBe("overloaded");
    page.client.dismissError();
    const shown: (string | undefined)[] = [];
    page.client.store.subscribe(({ error }) => shown.push(error?.code));
    await advance(20_000);
    expect(shown.filter(Boolean)).toEqual([]);
    server.fault = () => refusal(500, "internal");
    await advance(60_000);
    expect(page.state().error?.code).toBe("internal");
    page.client.dismissError();
    server.fault = () => undefined;
    await advance(60_000);
    server.fault = () => refusal(500, "internal");
    await page.client.refresh().catch(() => {});
    expect(page.state().error?.code).toBe("internal");
  });

  test("before there is a user can be dismissed too", async () => {
    const page = await connected(device({ getToken: () => Promise.reject(new Error("no")) }));
    expect(page.state().error?.code).toBe("token_unavailable");
    page.client.dismissError();
    expect(page.state().error).toBeNull();
  });

  test("of the leader shows in every tab, and goes in every tab", async () => {
    const browser = new FakeBrowser();
    const opens = (): Promise<Device> => connected(device({ environment: { ...browser.tab(), indexedDB: null } }));
    const [leader, follower] = [await opens(), await opens()];
    await advance(6_000);
    expect(leader.state().leader).toBe(true);
    server.fault = ({ path }) => (path.endsWith("/ticket") ? refusal(403, "origin_not_allowed") : undefined);
    leader.client.setTransports(["websocket"]);
    server.openSockets[0]?.end();
    await advance(1_000);
    expect(leader.state().error?.code).toBe("origin_not_allowed");
    expect(follower.state().error).toEqual(leader.state().error);
    server.fault = () => undefined;
    await advance(60_000);
    expect(leader.state().error).toBeNull();
    expect(follower.state().error).toBeNull();
  });
});
