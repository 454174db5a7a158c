import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import {
  type CarillonEvent,
  type Client,
  type ClientOptions,
  createClient,
  type Problem,
  type State,
  type View,
  type ViewFilter,
} from "../../src/index.js";
import {
  createNotification,
  emitDashboardUpdate,
  emitEvent,
  emitNotification,
  getHistory,
  getMetrics,
  type HistoryItem,
  type Metrics,
  queueNotification,
  type ServerOptions,
  sendNotification,
} from "../../src/server.js";
import { FakeBrowser } from "../harness/browser.js";
import { Gateway } from "./gateway.js";

let gateway: Gateway;
let users = 0;
let user: string;
let clients: Client[];

beforeAll(async () => {
  gateway = await Gateway.start();
});

afterAll(async () => {
  await gateway?.stop();
});

beforeEach(() => {
  user = `user-${++users}`;
  clients = [];
});

afterEach(() => {
  for (const client of clients) client.close();
});

interface Device {
  readonly client: Client;
  readonly events: CarillonEvent[];
  readonly problems: Problem[];
  state(): State;
  titles(): string[];
}

function device(options: Partial<ClientOptions> = {}): Device {
  const events: CarillonEvent[] = [];
  const problems: Problem[] = [];
  const client = createClient({
    baseUrl: gateway.url,
    getToken: () => gateway.token(user),
    onProblem: (problem) => problems.push(problem),
    pollMs: 200,
    ...options,
    environment: { WebSocket: WebSocket as unknown as typeof globalThis.WebSocket, ...options.environment },
  });
  client.onEvent((event) => events.push(event));
  clients.push(client);
  client.connect();
  const state = client.store.getState;
  return { client, events, problems, state, titles: () => state().notifications.map(({ title }) => title) };
}

const until = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 45_000, interval: 20 });
const isConnected = (transport: string, ...devices: Device[]): Promise<void> =>
  until(() => {
    for (const { state } of devices)
      expect(state()).toMatchObject({ wsStatus: "connected", transport, loading: false });
  });

const send = async (title: string, more: object = {}): Promise<string> =>
  sendNotification(
    { type: "like", userIds: [user], title, ...more },
    { baseUrl: gateway.url, getToken: () => gateway.token("shop") },
  );

const titles = (count: number): string[] => Array.from({ length: count }, (_, n) => `t${n}`);

/** Expects each notification exactly once, in the state and among the events. */
function expectEach(seen: Device, expected: readonly string[]): void {
  expect([...seen.titles()].sort()).toEqual([...expected].sort());
  const arrivals = seen.events.filter((event) => event.type === "notification").map((event) => event.notification.id);
  expect(new Set(arrivals).size).toBe(arrivals.length);
}

test("notifications arrive over the socket, and changes show on another device", async () => {
  const [phone, laptop] = [device(), device()];
  await isConnected("websocket", phone, laptop);
  await send("hello", { data: { orderId: 7 } });
  await until(() => expect(phone.titles()).toEqual(["hello"]));
  const id = phone.state().notifications[0]?.id ?? "";
  expect(phone.state().notifications[0]).toMatchObject({ data: { orderId: 7 }, readAt: null });
  await phone.client.markAsRead(id);
  await until(() => expect(laptop.state().unreadCount).toBe(0));
  await laptop.client.markAsUnread(id);
  await until(() => expect(phone.state().unreadCount).toBe(1));
  await laptop.client.markAllAsRead();
  await until(() => expect(phone.state().unreadCount).toBe(0));
  await laptop.client.deleteNotification(id);
  await until(() => expect(phone.titles()).toEqual([]));
  expect([...phone.problems, ...laptop.problems]).toEqual([]);
});

test("several notifications are marked as read at once", async () => {
  const phone = device();
  await isConnected("websocket", phone);
  for (const title of titles(5)) await send(title);
  await until(() => expect(phone.titles().length).toBe(5));
  await phone.client.markAsRead(phone.state().notifications.map(({ id }) => id));
  await until(() => expect(phone.state().cursor?.split(".")[1]).toBe("10"));
  await until(() => expect(phone.state().unreadCount).toBe(0));
});

test("a notification that is too large for a frame still arrives", async () => {
  const phone = device();
  await isConnected("websocket", phone);
  await send("large", { body: "❄".repeat(4_000), data: { text: "x".repeat(15_000), more: "é".repeat(400) } });
  await until(() => expect(phone.titles()).toEqual(["large"]));
  expect(phone.state().notifications[0]?.body?.length).toBe(4_000);
  await send("large too", { body: "\n".repeat(4_000), data: { text: '"'.repeat(8_000) } });
  await until(() => expect(phone.titles()).toEqual(["large too", "large"]));
  expectEach(phone, ["large", "large too"]);
});

test("a refused change rejects and shows as an error", async () => {
  const phone = device();
  await isConnected("websocket", phone);
  await send("one");
  await until(() => expect(phone.titles()).toEqual(["one"]));
  // No type is this long.
  const refused = { code: "validation_failed", status: 422 };
  await expect(phone.client.markAllAsRead("x".repeat(1_000))).rejects.toMatchObject(refused);
  expect(phone.state().error).toMatchObject({ code: "validation_failed", source: "change", action: "readAll" });
});

test("a change of a notification that is gone is done", async () => {
  const phone = device();
  await isConnected("websocket", phone);
  await phone.client.markAsRead("8214134b-5784-8ca4-baf3-8de40ae24211");
  expect(phone.state().error).toBeNull();
});

test("a hundred sends before the gateway is killed all show once when the client reconnects", async () => {
  const phone = device();
  await isConnected("websocket", phone);
  await send("before");
  await until(() => expect(phone.titles()).toEqual(["before"]));
  phone.client.close();
  for (const title of titles(100)) await send(title);
  await gateway.kill();
  phone.client.connect();
  await until(() => expect(phone.state().wsStatus).toBe("offline"));
  await gateway.restart();
  await isConnected("websocket", phone);
  await until(() => expect(phone.titles().length).toBe(101));
  expectEach(phone, ["before", ...titles(100)]);
  // A sync may succeed while the token for the next socket is still on its way.
  await until(() => expect(phone.state().error).toBeNull());
});

test("a gateway that is killed during a stream of sends loses and doubles nothing", async () => {
  const [phone, polling] = [device(), device({ transports: ["polling"] })];
  await isConnected("websocket", phone);
  await isConnected("polling", polling);
  const sending = Promise.all(titles(40).map((title) => send(title)));
  await until(() => expect(phone.titles().length).toBeGreaterThan(0));
  await gateway.kill();
  await gateway.restart();
  await sending;
  await until(() => {
    for (const seen of [phone, polling]) expect(seen.titles().length).toBe(40);
  });
  for (const seen of [phone, polling]) expectEach(seen, titles(40));
});

test("switching between transports loses nothing", async () => {
  const phone = device();
  const kinds = ["websocket", "polling", "sse", "websocket", "sse", "polling"] as const;
  for (const [n, transport] of kinds.entries()) {
    phone.client.setTransports([transport]);
    await isConnected(transport, phone);
    await send(`t${n}`);
    await until(() => expect(phone.titles().length).toBe(n + 1));
  }
  expectEach(phone, titles(kinds.length));
  await until(() => expect(phone.events.length).toBe(kinds.length));
});

/** Where a proxy refuses sockets. */
const withoutSockets = {
  WebSocket: class extends WebSocket {
    constructor(url: string | URL) {
      super(String(url).replace("/live", "/nowhere"));
    }
  } as unknown as typeof globalThis.WebSocket,
};

test("a refused socket is replaced by an event stream, or by polling", async () => {
  const [streaming, polling] = [
    device({ environment: withoutSockets }),
    device({ environment: withoutSockets, transports: ["websocket", "polling"] }),
  ];
  await isConnected("sse", streaming);
  await isConnected("polling", polling);
  for (const { problems } of [streaming, polling]) expect(problems.map(({ code }) => code)).toContain("socket_refused");
  await send("heard");
  await until(() => expect([streaming.titles(), polling.titles()]).toEqual([["heard"], ["heard"]]));
});

test("an event stream goes through a restart of the gateway without a loss or a double", async () => {
  const phone = device({ environment: withoutSockets, transports: ["websocket", "sse"] });
  await isConnected("sse", phone);
  await send("t0");
  await until(() => expect(phone.titles()).toEqual(["t0"]));
  await gateway.kill();
  await until(() => expect(phone.state().transport).toBe(null));
  await gateway.restart();
  for (const title of titles(5).slice(1)) await send(title);
  await isConnected("sse", phone);
  await until(() => expect(phone.titles().length).toBe(5));
  expectEach(phone, titles(5));
  await phone.client.markAllAsRead();
  await until(() => expect(phone.state().unreadCount).toBe(0));
});

test("emitted events reach every device once, whatever its transport, and make none sync", async () => {
  const calls: string[] = [];
  const counting: typeof fetch = (input, init) => {
    calls.push(String(input));
    return fetch(input, init);
  };
  const environment = { fetch: counting };
  const pushed = [device({ environment }), device({ environment: { ...withoutSockets, ...environment } })];
  const polling = device({ transports: ["polling"] });
  await isConnected("websocket", pushed[0] as Device);
  await isConnected("sse", pushed[1] as Device);
  await isConnected("polling", polling);
  // Both have a socket's first ping and a stream's first pong behind them.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  const before = calls.filter((url) => url.includes("/api/sync")).length;
  const options = { baseUrl: gateway.url, token: await gateway.token("shop") };
  const to = { userIds: [user] };
  const ids = [
    await emitNotification("New Message", "You have one", { ...to, type: "info" }, options),
    await emitDashboardUpdate("orders", { open: 3 }, to, options),
    await emitEvent({ type: "system", name: "deployed", ...to }, options),
  ];
  const emitted = ({ events }: Device): unknown[] => events.map((event) => "id" in event && event.id);
  await until(() => {
    for (const one of [...pushed, polling]) expect(emitted(one).sort()).toEqual([...ids].sort());
  });
  expect(polling.events.find(({ type }) => type === "announcement")).toMatchObject({
    name: "info",
    title: "New Message",
    body: "You have one",
  });
  expect(pushed[0]?.events.find(({ type }) => type === "dashboard")).toMatchObject({ data: { open: 3 } });
  expect(calls.filter((url) => url.includes("/api/sync")).length).toBe(before);
});

test("two tabs share a socket and show the same, and one takes over from the other", async () => {
  const browser = new FakeBrowser();
  const tab = (): Device => {
    const { BroadcastChannel, locks } = browser.tab();
    return device({
      environment: { WebSocket: WebSocket as unknown as typeof globalThis.WebSocket, BroadcastChannel, locks },
    });
  };
  // Those of the tests before end a moment later than their clients.
  await until(async () => expect(await gateway.connections()).toBe(0));
  const [first, second] = [tab(), tab()];
  await isConnected("websocket", first, second);
  await until(() => expect([first, second].filter(({ state }) => state().leader).length).toBe(1));
  await send("both");
  await until(() => expect([first.titles(), second.titles()]).toEqual([["both"], ["both"]]));
  await until(async () => expect(await gateway.connections()).toBe(1));
  const [leader, follower] = first.state().leader ? [first, second] : [second, first];
  const sending = Promise.all(titles(20).map((title) => send(title)));
  leader.client.close();
  await sending;
  await until(() => expect(follower.titles().length).toBe(21));
  await until(() => expect(follower.state()).toMatchObject({ leader: true, wsStatus: "connected" }));
  expectEach(follower, ["both", ...titles(20)]);
});

test("a long inbox is paged", async () => {
  for (const title of titles(25)) await send(title);
  const phone = device({ pageSize: 10 });
  await isConnected("websocket", phone);
  expect(phone.titles().length).toBe(10);
  while (phone.state().hasMore) await phone.client.loadMore();
  expect(phone.titles()).toEqual(titles(25).reverse());
});

test("a socket gets a new token before the first one expires", async () => {
  const frames: string[] = [];
  const recording = class extends WebSocket {
    constructor(url: string | URL) {
      super(url);
      this.addEventListener("message", ({ data }) => frames.push(String(data)));
    }
  };
  const phone = device({
    getToken: () => gateway.token(user, "", 8),
    environment: { WebSocket: recording as unknown as typeof globalThis.WebSocket },
  });
  await isConnected("websocket", phone);
  const statuses = new Set<string>();
  phone.client.store.subscribe(({ wsStatus }) => statuses.add(wsStatus));
  await until(() =>
    expect(frames.filter((text) => text.includes('"expiresAt"') && text.includes('"ok"')).length).toBe(2),
  );
  await send("beyond");
  await until(() => expect(phone.titles()).toEqual(["beyond"]));
  expect([...statuses]).toEqual(["connected"]);
  expect(phone.problems).toEqual([]);
});

describe("a back end", () => {
  test("sends with a key, and a repeat rings once", async () => {
    const phone = device();
    await isConnected("websocket", phone);
    const [first, second] = [await send("once", { idempotencyKey: "k" }), await send("once", { idempotencyKey: "k" })];
    expect(second).toBe(first);
    await send("after");
    await until(() => expect(phone.titles()).toEqual(["after", "once"]));
  });

  test("creates a notification with the documented aliases", async () => {
    const phone = device();
    await isConnected("websocket", phone);
    const id = await createNotification(
      { userId: user, type: "like", title: "New Like", message: "Someone liked your story", content: { storyId: "7" } },
      { baseUrl: gateway.url, token: await gateway.token("shop") },
    );
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    await until(() =>
      expect(phone.state().notifications[0]).toMatchObject({
        body: "Someone liked your story",
        data: { storyId: "7" },
      }),
    );
  });

  test("queues a notification, which arrives no earlier than its delay", async () => {
    const phone = device();
    await isConnected("websocket", phone);
    const queuedMs = Date.now();
    const options = { baseUrl: gateway.url, token: await gateway.token("shop") };
    await queueNotification({ userId: user, type: "reminder", title: "later" }, 1_500, options);
    await send("now");
    await until(() => expect(phone.titles()).toEqual(["later", "now"]));
    expect(Date.now() - queuedMs).toBeGreaterThanOrEqual(1_500);
  });

  test("reads the metrics, and the history of its sends", async () => {
    const ops: ServerOptions = {
      baseUrl: gateway.url,
      token: await gateway.token("ops", "notify:send notify:admin"),
    };
    const { accepted: before } = await getMetrics(ops);
    const sendId = await sendNotification({ type: "like", userIds: [user, "ops"], title: "counted" }, ops);
    await sendNotification({ type: "like", userIds: [user], title: "counted too" }, ops);
    const metrics = await getMetrics(ops);
    expect(metrics.accepted).toBe(before + 3);
    const count = expect.any(Number);
    expect(metrics).toEqual({
      queue: { waiting: count, processing: count, delayed: count, deadLetters: count, oldestMs: count },
      accepted: count,
      delivered: count,
      retried: count,
      rateLimited: count,
      errors: count,
      connections: count,
      onlineUsers: count,
      persistLagMs: count,
      backlog: { entries: count, bytes: count },
      degraded: false,
      redis: {
        mode: "memory",
        instances: [
          {
            name: "memory",
            healthy: true,
            version: null,
            role: null,
            usedMemoryBytes: null,
            maxMemoryBytes: null,
            fragmentation: null,
            evictionPolicy: null,
            clients: null,
            maxClients: null,
            persistence: null,
            replicationLagMs: null,
            share: 1,
            operations: count,
            errors: count,
            p50Ms: count,
            p99Ms: count,
            breaker: "closed",
            lastError: null,
          },
        ],
      },
      database: { healthy: true, kind: "sqlite" },
      latency: { acceptMs: { p50: count, p99: count }, deliverMs: { p50: count, p99: count } },
    } satisfies Metrics);

    const newest = await getHistory({ type: "like", limit: 1 }, ops);
    expect(newest.items.map(({ title }) => title)).toEqual(["counted too"]);
    const { items } = await getHistory({ limit: 1, cursor: newest.nextCursor ?? "" }, ops);
    expect(items).toEqual([
      {
        sendId,
        type: "like",
        title: "counted",
        createdAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/),
        recipients: 2,
        states: { waiting: count, offered: count, settled: count, expired: count, dead: count },
      },
    ] satisfies HistoryItem[]);
    const { waiting, offered, settled, expired, dead } = items[0]?.states ?? ({} as HistoryItem["states"]);
    expect(waiting + offered + settled + expired + dead).toBe(2);
    expect((await getHistory({ userId: user }, ops)).items.length).toBe(2);
    expect((await getHistory({}, { ...ops, token: await gateway.token("other") })).items).toEqual([]);
    await expect(getMetrics({ ...ops, token: await gateway.token("other") })).rejects.toMatchObject({
      code: "forbidden",
      status: 403,
    });
  });

  test("gets the names of invalid fields", async () => {
    await expect(send("")).rejects.toMatchObject({ code: "validation_failed", status: 422, fields: expect.any(Array) });
  });
});

describe("a view", () => {
  const view = async (seen: Device, filter: ViewFilter): Promise<View> => {
    const opened = seen.client.view(filter);
    await until(() => expect(opened.store.getState().loading).toBe(false));
    return opened;
  };
  const shown = (opened: View): string[] => opened.store.getState().notifications.map(({ title }) => title);

  test("has the server's pages and counts, and follows what happens on any device", async () => {
    for (let n = 0; n < 24; n++) await send(`t${n}`, { type: n % 4 === 0 ? "news" : "like" });
    const [phone, laptop] = [device({ pageSize: 4 }), device({ pageSize: 4 })];
    await isConnected("websocket", phone, laptop);
    const news = await view(phone, { type: "news" });
    const unread = await view(phone, { type: "news", unread: true });
    await until(() => expect(shown(news)).toEqual(["t20", "t16", "t12", "t8"]));
    await until(() => expect(news.store.getState()).toMatchObject({ unreadCount: 6, hasMore: true }));
    await news.loadMore();
    expect(shown(news)).toEqual(["t20", "t16", "t12", "t8", "t4", "t0"]);

    // An old one that only the view has, and one that it does not have.
    const [oldest] = news.store.getState().notifications.slice(-1);
    await phone.client.markAsRead(oldest?.id ?? "");
    await laptop.client.markAsRead(laptop.state().notifications[0]?.id ?? "");
    await send("fresh", { type: "news" });
    await until(() => expect(shown(unread)).toEqual(["fresh", "t20", "t16", "t12", "t8"]));
    await until(() => expect(news.store.getState().unreadCount).toBe(6));
    await until(() => expect(unread.store.getState().unreadCount).toBe(6));
    await until(() => expect(phone.state().unreadCount).toBe(23));

    await laptop.client.markAllAsRead("news");
    await until(() => expect(shown(unread)).toEqual([]));
    await until(() => expect(news.store.getState().unreadCount).toBe(0));
    await laptop.client.markAsUnread(oldest?.id ?? "");
    await until(() => expect(shown(unread)).toEqual(["t0"]));
    await laptop.client.deleteNotification(oldest?.id ?? "");
    await until(() => expect(shown(unread)).toEqual([]));
    await until(() => expect(shown(news)).toEqual(["fresh", "t20", "t16", "t12", "t8", "t4"]));
    expect([...phone.problems, ...laptop.problems]).toEqual([]);
  });

  test("loses nothing when the gateway is killed", async () => {
    const phone = device({ pageSize: 2 });
    await isConnected("websocket", phone);
    for (const title of titles(6)) await send(title);
    const likes = await view(phone, { type: "like", unread: true });
    await gateway.kill();
    await until(() => expect(phone.state().wsStatus).not.toBe("connected"));
    await gateway.restart();
    await send("after", { type: "like" });
    await until(() => expect(shown(likes)[0]).toBe("after"));
    await likes.loadMore();
    await until(() => expect(shown(likes).slice(0, 3)).toEqual(["after", "t5", "t4"]));
    expect(new Set(shown(likes)).size).toBe(shown(likes).length);
  });
});
