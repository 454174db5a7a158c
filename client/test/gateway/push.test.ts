// Pushes of a real server to a push service of the tests' own.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { type CarillonEvent, type Client, createClient } from "../../src/index.js";
import { Gateway } from "./gateway.js";
import { type PushedBrowser, PushService, type Received } from "./pushService.js";

let service: PushService;
let gateway: Gateway;
let key: string;
let users = 0;
const clients: Client[] = [];

beforeAll(async () => {
  service = await PushService.start();
  gateway = await Gateway.start({ WEB_PUSH_HOSTS: service.host });
  ({ key } = (await gateway.call("anyone", "GET", "/api/push/key")) as { key: string });
});

afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  expect(service.errors).toEqual([]);
});

afterAll(async () => {
  await gateway?.stop();
  await service?.stop();
});

const until = (check: () => void | Promise<void>, timeout = 60_000): Promise<void> =>
  vi.waitFor(check, { timeout, interval: 20 });
/** Long enough for a push that should not come. */
const quiet = (ms = 3_000): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A user with a browser that is subscribed, and with no page open. */
class Absent {
  readonly user: string;
  readonly browser: PushedBrowser = service.browser(key);

  private constructor(user: string) {
    this.user = user;
  }

  static async create(): Promise<Absent> {
    const absent = new Absent(`absent-${++users}`);
    await absent.call("POST", "/api/push/subscriptions", absent.browser.subscription);
    return absent;
  }

  call(method: string, path: string, body?: unknown): Promise<unknown> {
    return gateway.call(this.user, method, path, body);
  }

  /** Returns the notification's id. */
  async isSent(more: object = {}, path = "/api/notifications/send"): Promise<string> {
    const body = { type: "like", userIds: [this.user], title: "Hello", ...more };
    const { notifications } = (await gateway.call("shop", "POST", path, body)) as { notifications: { id: string }[] };
    return notifications[0]?.id ?? "";
  }

  prefers(more: object): Promise<unknown> {
    return this.call("PUT", "/api/preferences", { types: {}, quietHours: null, mutedChats: {}, ...more });
  }

  /** Opens a page, which is connected and acknowledges what it shows. */
  async returns(): Promise<{ client: Client; events: CarillonEvent[] }> {
    const events: CarillonEvent[] = [];
    const client = createClient({
      baseUrl: gateway.url,
      getToken: () => gateway.token(this.user, ""),
      environment: { WebSocket: WebSocket as unknown as typeof globalThis.WebSocket },
    });
    client.onEvent((event) => events.push(event));
    clients.push(client);
    client.connect();
    await until(() => expect(client.store.getState()).toMatchObject({ wsStatus: "connected", loading: false }));
    return { client, events };
  }

  /** The steps of a notification's trace, with their status. */
  async steps(id: string): Promise<[string, unknown][]> {
    const { steps } = (await this.call("GET", `/api/notifications/${id}/trace`)) as {
      steps: { step: string; status?: unknown }[];
    };
    return steps.map(({ step, status }) => [step, status]);
  }
}

let bob: Absent;
beforeEach(async () => {
  bob = await Absent.create();
});

describe("a notification for a user who is away", () => {
  test("is pushed at once, encrypted for the browser and signed with the server's key", async () => {
    const id = await bob.isSent({ body: "A text ❄", actionUrl: "/orders/7", priority: "high" });
    await until(() => expect(bob.browser.received.length).toBe(1));
    const [{ payload, headers, size }] = bob.browser.received as [Received];
    expect(payload).toMatchObject({
      kind: "notification",
      tag: expect.stringMatching(/^[\w-]{32}$/),
      id,
      type: "like",
      title: "Hello",
      body: "A text ❄",
      actionUrl: "/orders/7",
      priority: "high",
      cursor: expect.stringMatching(/^\w+\.\d+$/),
      unreadCount: 1,
      acknowledge: true,
    });
    expect(headers).toMatchObject({ topic: payload.tag, urgency: "high", ttl: expect.stringMatching(/^[1-9]\d*$/) });
    expect(size.body).toBeLessThanOrEqual(4_096);
    await until(async () => expect((await bob.steps(id)).map(([step]) => step)).toContain("pushed"));
  });

  test("is kept by the push service no longer than it is valid", async () => {
    await bob.isSent({ expiresAt: new Date(Date.now() + 120_000).toISOString(), priority: "low" });
    await until(() => expect(bob.browser.received.length).toBe(1));
    const { ttl, urgency } = bob.browser.received[0]?.headers ?? {};
    expect(Number(ttl)).toBeGreaterThan(60);
    expect(Number(ttl)).toBeLessThanOrEqual(120);
    expect(urgency).toBe("low");
  });

  test("replaces under its topic the one of the same collapse key, and no other", async () => {
    await bob.isSent({ collapseKey: "score", title: "1:0" });
    await until(() => expect(bob.browser.pushes.length).toBe(1));
    await bob.isSent({ collapseKey: "score", title: "2:0" });
    await bob.isSent({ title: "Other" });
    await until(() => expect(bob.browser.pushes.length).toBe(3));
    const tags = new Map(bob.browser.pushes.map(({ title, tag }) => [title, tag]));
    expect(tags.get("1:0")).toBe(tags.get("2:0"));
    expect(tags.get("Other")).not.toBe(tags.get("1:0"));
  });

  test("is pushed to each of the user's browsers", async () => {
    const second = service.browser(key);
    await bob.call("POST", "/api/push/subscriptions", second.subscription);
    await bob.isSent();
    await until(() => expect([bob.browser.pushes.length, second.pushes.length]).toEqual([1, 1]));
    expect(second.pushes[0]).toEqual(bob.browser.pushes[0]);
  });

  test("of another user is not pushed, and nothing is after the subscription was deleted", async () => {
    const { id } = (await bob.call("POST", "/api/push/subscriptions", bob.browser.subscription)) as { id: string };
    await gateway.call("carol", "DELETE", `/api/push/subscriptions/${id}`).catch(() => {});
    await bob.isSent({ title: "still" });
    await until(() => expect(bob.browser.pushes.length).toBe(1));
    await bob.call("DELETE", `/api/push/subscriptions/${id}`);
    await bob.isSent({ title: "no more" });
    await quiet();
    expect(bob.browser.received.length).toBe(1);
  });

  test("moves with its browser to the user who subscribes there next", async () => {
    const carol = `carol-${users}`;
    await gateway.call(carol, "POST", "/api/push/subscriptions", bob.browser.subscription);
    await bob.isSent({ title: "for bob" });
    await bob.isSent({ title: "for carol", userIds: [carol] });
    await until(() => expect(bob.browser.pushes.length).toBe(1));
    await quiet();
    expect(bob.browser.pushes.map(({ title }) => title)).toEqual(["for carol"]);
  });
});

describe("a push service", () => {
  test("that is busy or fails gets the same push again until it takes it, and then no more", async () => {
    bob.browser.answers.push({ status: 500 }, { status: 429, headers: { "Retry-After": "2" } });
    const id = await bob.isSent();
    await until(() => expect(bob.browser.pushes.length).toBe(1), 80_000);
    await quiet();
    const { received } = bob.browser;
    expect(received.map(({ status }) => status)).toEqual([500, 429, 201]);
    for (const { payload, headers } of received) {
      expect([payload["id"], headers["topic"]]).toEqual([id, received[0]?.payload.tag]);
    }
    const [, refused, accepted] = received as [Received, Received, Received];
    expect(accepted.atMs - refused.atMs).toBeGreaterThanOrEqual(2_000);
  });

  test.each([404, 410])("that answers %i is not asked again for this browser", async (status) => {
    bob.browser.answers.push({ status });
    const second = service.browser(key);
    await bob.call("POST", "/api/push/subscriptions", second.subscription);
    await bob.isSent({ title: "first" });
    await until(() => expect([bob.browser.received.length, second.pushes.length]).toEqual([1, 1]));
    await bob.isSent({ title: "second" });
    await until(() => expect(second.pushes.length).toBe(2));
    await quiet();
    expect(bob.browser.received.length).toBe(1);
  });

  test("that finds a push too large gets one that says where the rest is", async () => {
    bob.browser.answers.push({ status: 413 });
    const id = await bob.isSent({ body: "Long enough" });
    await until(() => expect(bob.browser.pushes.length).toBe(1));
    const { tag } = bob.browser.received[0]?.payload ?? {};
    expect(bob.browser.pushes).toEqual([
      { kind: "notification", tag, id, title: "Hello", fetch: true, acknowledge: true },
    ]);
  });

  test("never gets more than it must take", async () => {
    const id = await bob.isSent({ body: "❄".repeat(4_000) });
    await until(() => expect(bob.browser.received.length).toBe(1));
    const [{ payload, size }] = bob.browser.received as [Received];
    expect(payload).toMatchObject({ id, title: "Hello", fetch: true });
    expect(size.payload).toBeLessThanOrEqual(3 * 1_024);
    expect(await bob.call("GET", `/api/notifications/${id}`)).toMatchObject({ body: "❄".repeat(4_000) });
  });

  test("that refuses a push is not asked again, and the trace says so", async () => {
    bob.browser.answers.push({ status: 400 });
    const id = await bob.isSent();
    await until(async () => expect((await bob.steps(id)).map(([step]) => step)).toContain("push_failed"));
    await quiet();
    expect(bob.browser.received.length).toBe(1);
  });
});

describe("what is shown", () => {
  test("is closed when it is read, under its tag", async () => {
    const id = await bob.isSent();
    await until(() => expect(bob.browser.pushes.length).toBe(1));
    await bob.call("POST", `/api/notifications/${id}/read`);
    await until(() => expect(bob.browser.pushes.length).toBe(2));
    const [shown, closing] = bob.browser.received as [Received, Received];
    expect(closing.payload).toEqual({ kind: "close", tag: shown.payload.tag });
    expect(closing.headers["topic"]).toBe(shown.payload.tag);
  });
});

describe("a user who is there", () => {
  test("gets no push for what the page has acknowledged", async () => {
    const { events } = await bob.returns();
    await bob.isSent({ title: "seen" });
    await until(() => expect(events.some(({ type }) => type === "notification")).toBe(true));
    // Longer than a page has for it.
    await quiet(12_000);
    expect(bob.browser.received).toEqual([]);
  });

  test("gets a push and a silent arrival of what is sent by push alone", async () => {
    const { client, events } = await bob.returns();
    const id = await bob.isSent({ title: "pushed" }, "/api/push/send");
    await until(() => expect(bob.browser.pushes.length).toBe(1));
    expect(bob.browser.pushes[0]).toMatchObject({ id, title: "pushed" });
    await until(() => expect(events.map(({ type }) => type)).toContain("notification"));
    expect(events.find(({ type }) => type === "notification")).toMatchObject({ silent: true, notification: { id } });
    expect(client.store.getState().notifications.map(({ title }) => title)).toEqual(["pushed"]);
    const second = await bob.isSent({ title: "pushed too", channels: ["push"] });
    await until(() => expect(bob.browser.pushes.map((push) => push["id"])).toEqual([id, second]));
  });

  test("who is away gets no push of what rings on open pages alone", async () => {
    await bob.isSent({ channels: ["realtime"] });
    await quiet();
    expect(bob.browser.received).toEqual([]);
  });
});

describe("a user's preferences", () => {
  test("keep pushes of a type away, and critical ones come through", async () => {
    await bob.prefers({ types: { like: { push: false } } });
    const id = await bob.isSent({ title: "unwanted" });
    await bob.isSent({ title: "wanted", type: "news" });
    await bob.isSent({ title: "alarm", priority: "critical" });
    await until(() => expect(bob.browser.pushes.length).toBe(2));
    await quiet();
    expect(bob.browser.pushes.map(({ title }) => title).sort()).toEqual(["alarm", "wanted"]);
    // It stands in the inbox all the same.
    expect(await bob.call("GET", `/api/notifications/${id}`)).toMatchObject({ title: "unwanted", readAt: null });
  });

  test("hold pushes in quiet hours, and critical ones come through", async () => {
    const at = (ms: number): string => new Date(Date.now() + ms).toISOString().slice(11, 16);
    await bob.prefers({ quietHours: { from: at(-3_600_000), to: at(3_600_000), timeZone: "UTC" } });
    await bob.isSent({ title: "later" });
    await bob.isSent({ title: "alarm", priority: "critical" });
    await until(() => expect(bob.browser.pushes.length).toBe(1));
    await quiet();
    expect(bob.browser.pushes.map(({ title }) => title)).toEqual(["alarm"]);
  });

  test("make arrivals silent on open pages", async () => {
    await bob.prefers({ types: { "*": { realtime: false }, news: { realtime: true } } });
    const { events } = await bob.returns();
    await bob.isSent({ title: "quiet" });
    await bob.isSent({ title: "loud", type: "news" });
    const arrivals = (): unknown =>
      events.flatMap((event) => (event.type === "notification" ? [[event.notification.title, event.silent]] : []));
    await until(() =>
      expect(arrivals()).toEqual([
        ["quiet", true],
        ["loud", undefined],
      ]),
    );
  });
});

describe("a snoozed notification", () => {
  test("is pushed again when it comes back to a user who is away", async () => {
    const id = await bob.isSent();
    await until(() => expect(bob.browser.pushes.length).toBe(1));
    await bob.call("POST", `/api/notifications/${id}/snooze`, { until: new Date(Date.now() + 2_000).toISOString() });
    const notifications = (): unknown[] => bob.browser.pushes.filter(({ kind }) => kind === "notification");
    await until(() => expect(notifications().length).toBe(2));
    const [first, second] = notifications() as [Record<string, unknown>, Record<string, unknown>];
    expect(second["id"]).toBe(id);
    expect(second["cursor"]).not.toBe(first["cursor"]);
  });
});

// Each of these waits for a window of the server, so they wait together.
describe.concurrent("a digest", () => {
  test("of a type tells at the end of its window what is still unread", { timeout: 120_000 }, async () => {
    const carol = await Absent.create();
    const digest = { windowMs: 60_000 };
    const beganMs = Date.now();
    const ids: string[] = [];
    for (const title of ["one", "two", "three"]) ids.push(await carol.isSent({ title, digest }));
    await carol.call("POST", `/api/notifications/${ids[0]}/read`);
    await until(() => expect(carol.browser.pushes.length).toBe(1), 100_000);
    expect(Date.now() - beganMs).toBeGreaterThanOrEqual(60_000);
    expect(carol.browser.pushes).toMatchObject([{ kind: "digest", count: 2, type: "like", chatId: null }]);
    await quiet();
    expect(carol.browser.received.length).toBe(1);
  });

  test("of a chat tells of its messages, is closed by reading, and is none for a mute", {
    timeout: 120_000,
  }, async () => {
    const [carol, muting] = [await Absent.create(), await Absent.create()];
    const ana = `ana-${users}`;
    const chats: string[] = [];
    for (const { user } of [carol, muting]) {
      const chat = { kind: "direct", participantIds: [user] };
      const { id } = (await gateway.call(ana, "POST", "/api/chats", chat)) as { id: string };
      await gateway.call(user, "POST", `/api/chats/${id}/accept`, {});
      chats.push(id);
    }
    const [chatId = "", muted = ""] = chats;
    await muting.prefers({ mutedChats: { [muted]: null } });
    const say = (chat: string, n: number): Promise<unknown> =>
      gateway.call(ana, "POST", `/api/chats/${chat}/messages`, { clientId: `m${n}`, body: `Message ${n}` });
    for (const n of [1, 2]) for (const chat of chats) await say(chat, n);
    await until(() => expect(carol.browser.pushes.length).toBe(1), 80_000);
    expect(carol.browser.pushes).toMatchObject([{ kind: "digest", count: 2, chatId, type: null }]);
    expect(carol.browser.pushes[0]?.["title"]).toContain(ana);
    await carol.call("POST", `/api/chats/${chatId}/read`, { seq: 2 });
    await until(() => expect(carol.browser.pushes.length).toBe(2));
    expect(carol.browser.pushes[1]).toEqual({ kind: "close", tag: carol.browser.pushes[0]?.tag });
    expect(muting.browser.received).toEqual([]);
  });
});
