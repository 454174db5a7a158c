// Push as a page turns it on and off, keeps it on, and deals with what the worker shows.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { PushState } from "../../src/index.js";
import { createDevice } from "../../src/push/device.js";
import type { Device } from "../harness/device.js";
import { FakeOrigin, FakeSubscription, ORIGIN } from "../harness/origin.js";
import { begin, end, goesDown, opens as opensTab, passes, server, stored } from "../harness/profile.js";
import { keyOf } from "../harness/pushes.js";
import { refusal } from "../harness/server.js";
import { subOf, tokenOf } from "../harness/token.js";

const DAY_MS = 24 * 3_600_000;
let origin: FakeOrigin;
const badges: number[] = [];

beforeEach(() => {
  begin();
  origin = new FakeOrigin();
  badges.length = 0;
  vi.stubGlobal("location", new URL(`${ORIGIN}/inbox?tab=all#top`));
  vi.stubGlobal("PushManager", class {});
  vi.stubGlobal("navigator", { setAppBadge: async (count: number) => void badges.push(count) });
});
afterEach(end);

const opens = (options: Parameters<typeof opensTab>[0] = {}): Promise<Device> =>
  opensTab({ ...options, environment: { ...origin.page(), ...options?.environment } });
const state = ({ client }: Device): PushState => client.push.store.getState();
const kept = (): ReturnType<ReturnType<typeof createDevice>["all"]> => createDevice(origin.indexedDB).all();

/** Runs something to its end, although storage needs real time. */
async function ends<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  await stored();
  return promise;
}

async function subscribed(): Promise<Device> {
  const tab = await opens();
  expect(await ends(tab.client.push.enable())).toBe("on");
  return tab;
}

describe("turning on", () => {
  test("asks, registers the worker, subscribes with the server's key, and tells the server", async () => {
    const tab = await opens();
    const states: (string | boolean)[][] = [];
    tab.client.push.store.subscribe(({ status, busy }) => states.push([status, busy]));
    await stored();
    expect(await ends(tab.client.push.enable({ icon: "/icon.png" }))).toBe("on");
    expect(states).toEqual([
      ["off", false],
      ["off", true],
      ["on", true],
      ["on", false],
    ]);
    expect(origin.scripts).toEqual([`${ORIGIN}/push-worker.js`]);
    expect(origin.subscription?.key).toBe(keyOf(1));
    expect(server.callsTo("/api/push/subscriptions").map(({ body }) => body)).toEqual([origin.subscription?.toJSON()]);
    expect(server.pushes.owners).toEqual({ "https://push.example/1": "alice" });
    expect(await kept()).toMatchObject([
      {
        scope: `${ORIGIN}/`,
        root: "http://carillon.test/",
        userId: "alice",
        id: "s1",
        home: `${ORIGIN}/inbox?tab=all`,
        icon: `${ORIGIN}/icon.png`,
      },
    ]);
  });

  test("asks within the gesture, before anything is loaded", async () => {
    const tab = await opens();
    const enabled = tab.client.push.enable();
    expect(origin.asked).toBe(1);
    await ends(enabled);
  });

  test("takes a worker of the application, by its registration or its address", async () => {
    const tab = await opens();
    origin.scope = origin.registration.scope;
    await ends(tab.client.push.enable({ serviceWorker: origin.registration }));
    expect(origin.scripts).toEqual([]);
    await ends(tab.client.push.enable({ serviceWorker: new URL("https://app.example/sw.js") }));
    expect(origin.scripts).toEqual(["https://app.example/sw.js"]);
  });

  test.each([
    ["denied", "denied"],
    ["default", "off"],
  ] as const)("leaves it as it is when the user answers %s", async (answer, status) => {
    origin.answer = answer;
    const tab = await opens();
    expect(await ends(tab.client.push.enable())).toBe(status);
    expect(state(tab)).toEqual({ status, reason: null, busy: false, error: null });
    expect(origin.subscription).toBeNull();
  });

  test("is unavailable where the server has no key", async () => {
    server.pushes.key = null;
    const tab = await opens();
    expect(await ends(tab.client.push.enable())).toBe("unavailable");
    expect(origin.subscription).toBeNull();
  });

  test("shows why the browser refused, and rejects", async () => {
    const tab = await opens();
    origin.refusal = new DOMException("no push service", "AbortError");
    await expect(ends(tab.client.push.enable())).rejects.toMatchObject({ code: "push_refused" });
    expect(state(tab)).toMatchObject({ busy: false, error: { code: "push_refused", source: "push" } });
    expect(tab.codes()).toContain("push_refused");
    origin.refusal = null;
    await ends(tab.client.push.enable());
    expect(state(tab)).toMatchObject({ status: "on", error: null });
  });

  test("leaves nothing behind if the server refuses it", async () => {
    const tab = await opens();
    server.fault = ({ path }) => (path === "/api/push/subscriptions" ? refusal(422, "validation_failed") : undefined);
    await expect(ends(tab.client.push.enable())).rejects.toMatchObject({ code: "validation_failed" });
    expect(origin.subscription).toBeNull();
    expect(await kept()).toEqual([]);
    expect(state(tab).status).not.toBe("on");
  });

  test("subscribes anew where the server knows the endpoint with other keys", async () => {
    const tab = await opens();
    origin.permission = "granted";
    server.pushes.subscriptions.set("s9", { userId: "bob", endpoint: "https://push.example/1", keys: { p256dh: "x" } });
    await ends(tab.client.push.enable());
    expect(origin.subscription?.endpoint).toBe("https://push.example/2");
    expect(server.pushes.owners).toMatchObject({ "https://push.example/2": "alice" });
  });

  test("keeps the worker's token before the server can push", async () => {
    const tab = await opens();
    let present: unknown;
    server.fault = ({ path }) => {
      if (path !== "/api/push/subscriptions") return undefined;
      return kept().then((all) => {
        present = all;
        return undefined;
      });
    };
    await ends(tab.client.push.enable());
    expect(present).toMatchObject([{ userId: "alice", token: expect.any(String) }]);
  });
});

describe("what a browser cannot", () => {
  const shows = async (environment: object): Promise<PushState> => {
    const tab = await opens({ environment });
    tab.client.push.store.subscribe(() => {});
    await stored();
    expect(await ends(tab.client.push.enable())).toBe("unsupported");
    return state(tab);
  };

  test("is told with its reason", async () => {
    expect(await shows({ serviceWorker: null })).toMatchObject({ status: "unsupported", reason: "browser" });
    vi.stubGlobal("isSecureContext", false);
    expect(await shows({ serviceWorker: null })).toMatchObject({ reason: "insecure" });
    vi.stubGlobal("isSecureContext", true);
    vi.stubGlobal("navigator", { standalone: false });
    expect(await shows({ notifications: null })).toMatchObject({ reason: "install" });
    expect(server.callsTo("/api/push/key")).toEqual([]);
  });
});

describe("the next visit", () => {
  test("finds it on, and asks nothing of the server", async () => {
    await subscribed();
    const calls = server.callsTo("/api/push").length;
    const next = await opens();
    expect(state(next).status).toBe("on");
    expect(server.callsTo("/api/push").length).toBe(calls);
  });

  test("without the permission loads and asks nothing, until its state shows", async () => {
    const tab = await opens();
    expect([state(tab).status, server.callsTo("/api/push").length]).toEqual(["unknown", 0]);
    tab.client.push.store.subscribe(() => {});
    await stored();
    expect(state(tab).status).toBe("off");
    tab.page.show();
    await stored();
    expect(server.callsTo("/api/push").length).toBe(1);
  });

  test("renews a subscription that the browser has changed", async () => {
    await subscribed();
    origin.subscription = new FakeSubscription(origin, "https://push.example/new", Buffer.from(keyOf(1), "base64url"));
    const next = await opens();
    expect(state(next).status).toBe("on");
    expect(server.pushes.owners).toMatchObject({ "https://push.example/new": "alice" });
    expect(await kept()).toMatchObject([{ endpoint: "https://push.example/new" }]);
  });

  test("subscribes again if the browser has dropped it", async () => {
    await subscribed();
    origin.subscription = null;
    await opens();
    expect(server.pushes.owners).toMatchObject({ "https://push.example/2": "alice" });
  });

  test("makes sure once a day that the server still has it, with its present key", async () => {
    await subscribed();
    server.pushes.subscriptions.clear();
    server.pushes.key = keyOf(2);
    vi.setSystemTime(Date.now() + DAY_MS);
    const next = await opens();
    expect(state(next).status).toBe("on");
    expect(server.pushes.owners).toEqual({ "https://push.example/2": "alice" });
    expect(origin.subscription?.key).toBe(keyOf(2));
  });

  test("keeps what is on while the server cannot be reached", async () => {
    await subscribed();
    vi.setSystemTime(Date.now() + DAY_MS);
    server.fault = ({ path }) => (path.startsWith("/api/push") ? refusal(503, "overloaded") : undefined);
    const next = await opens();
    expect(state(next).status).toBe("on");
    expect(next.codes()).toContain("overloaded");
    server.fault = () => undefined;
    await opens();
    expect(await kept()).toMatchObject([{ checkedMs: Date.now() }]);
  });

  test("ends it if the user has taken the permission back", async () => {
    await subscribed();
    origin.permission = "denied";
    const next = await opens();
    next.client.push.store.subscribe(() => {});
    await stored();
    expect(state(next).status).toBe("denied");
    expect([await kept(), server.pushes.owners]).toEqual([[], {}]);
  });

  test("leaves the worker a new token, and one that is renewed later", async () => {
    await subscribed();
    const soon = Date.now() + 60_000;
    let text = tokenOf("alice", soon);
    const tab = await opens({ getToken: () => text });
    expect(await kept()).toMatchObject([{ token: text }]);
    text = tokenOf("alice", soon + DAY_MS);
    await passes(50_000);
    await ends(tab.client.refresh());
    expect(await kept()).toMatchObject([{ token: text, expiresMs: Math.floor((soon + DAY_MS) / 1_000) * 1_000 }]);
  });

  test("a tab that is looked at again leaves its token, if the device has none that is valid", async () => {
    const tab = await subscribed();
    await createDevice(origin.indexedDB).change(`${ORIGIN}/`, () => ({ token: null, expiresMs: 0 }));
    tab.page.hide();
    tab.page.show();
    await stored();
    expect(await kept()).toMatchObject([{ token: expect.any(String) }]);
  });

  test("another tab sees that it was turned off, once it is looked at", async () => {
    const [first, second] = [await subscribed(), await opens()];
    expect(state(second).status).toBe("on");
    await ends(first.client.push.disable());
    second.page.hide();
    second.page.show();
    await stored();
    expect(state(second).status).toBe("off");
  });
});

describe("turning off", () => {
  test("unsubscribes, tells the server and closes what is shown", async () => {
    const tab = await subscribed();
    await origin.registration.showNotification("Hello", { tag: "t1", data: { carillon: 1, id: "n1" } });
    await origin.registration.showNotification("Of the application", { tag: "x" });
    await ends(tab.client.push.disable());
    expect(state(tab)).toMatchObject({ status: "off", busy: false });
    expect([origin.subscription, await kept(), server.pushes.owners]).toEqual([null, [], {}]);
    expect(origin.titles).toEqual(["Of the application"]);
    expect(badges.at(-1)).toBe(0);
  });

  test("unsubscribes without a network, and the server learns it from the push service", async () => {
    const tab = await subscribed();
    goesDown();
    await ends(tab.client.push.disable());
    expect([origin.subscription, await kept(), state(tab).status]).toEqual([null, [], "off"]);
  });
});

describe("signing out", () => {
  test("turns it off with the token of the user who leaves", async () => {
    const tab = await subscribed();
    await ends(tab.client.signOut());
    expect([origin.subscription, await kept(), server.pushes.owners]).toEqual([null, [], {}]);
    const [call] = server.calls.filter(({ method }) => method === "DELETE");
    expect(subOf(call?.headers.get("authorization")?.slice(7) ?? "")).toBe("alice");
    expect(state(tab).status).toBe("unknown");
  });

  test("turns it off in a visit that has not looked yet", async () => {
    await subscribed();
    const tab = await opens();
    tab.client.close();
    await ends(tab.client.signOut());
    expect([origin.subscription, await kept()]).toEqual([null, []]);
  });

  test("by a token of another user turns off what the one before had", async () => {
    let sub = "alice";
    const tab = await opens({ getToken: () => tokenOf(sub) });
    await ends(tab.client.push.enable());
    sub = "bob";
    tab.client.close();
    tab.client.connect();
    await passes(1_000);
    expect(tab.state().userId).toBe("bob");
    expect([origin.subscription, await kept(), server.pushes.owners]).toEqual([null, [], {}]);
    await ends(tab.client.push.enable());
    expect(Object.values(server.pushes.owners)).toEqual(["bob"]);
  });

  test.each(["the push service", "the server"])("before %s has answered leaves nothing behind", async (who) => {
    const tab = await opens();
    let answer = (): void => {};
    const held = new Promise<undefined>((resolve) => {
      answer = () => resolve(undefined);
    });
    if (who === "the push service") origin.hold = held;
    else server.fault = ({ path, method }) => (path.startsWith("/api/push/s") && method === "POST" ? held : undefined);
    const enabled = tab.client.push.enable();
    enabled.catch(() => {});
    await stored();
    const left = tab.client.signOut();
    await stored();
    answer();
    await stored();
    await left;
    await expect(enabled).rejects.toBeDefined();
    expect([origin.subscription, await kept()]).toEqual([null, []]);
    expect(state(tab)).toMatchObject({ status: "unknown", busy: false });
  });
});

describe("what the system shows", () => {
  const data = (id: string): object => ({ carillon: 1, id });
  const show = (title: string, more: object): Promise<void> =>
    origin.registration.showNotification(title, { tag: title, ...more });

  test("is closed when it was read, deleted, snoozed or replaced on another device", async () => {
    await subscribed();
    for (const n of [1, 2, 3, 4, 5]) {
      server.send();
      await show(`n${n}`, { data: data(`n${n}`) });
    }
    server.change("read", ["n1"]);
    server.change("deleted", ["n2"]);
    server.change("snoozed", ["n3"]);
    server.send({ replaces: ["n4"] });
    await stored();
    expect(origin.titles).toEqual(["n5"]);
  });

  test("is closed at the next visit, if it was read meanwhile", async () => {
    const tab = await subscribed();
    server.send();
    server.send();
    tab.client.close();
    for (const id of ["n1", "n2"]) await show(id, { data: data(id) });
    server.change("read", ["n1"]);
    await opens();
    await passes(1_000);
    expect(origin.titles).toEqual(["n2"]);
  });

  test("of a chat is closed when the user has read it anywhere, and of a type when nothing of it is left", async () => {
    await subscribed();
    server.send({ type: "like" });
    await show("messages", { data: { carillon: 1, chatId: "c1", type: null } });
    await show("likes", { data: { carillon: 1, chatId: null, type: "like" } });
    await show("the night", { data: { carillon: 1, chatId: null, type: null } });
    server.push({ type: "receipt", chatId: "c1", userId: "bob", seq: 1 });
    await stored();
    expect(origin.titles).toEqual(["messages", "likes", "the night"]);
    server.push({ type: "receipt", chatId: "c1", userId: "alice", seq: 1 });
    server.send({ type: "news" });
    server.change("read", ["n1"]);
    await stored();
    expect(origin.titles).toEqual(["the night"]);
    server.change("read", ["n2"]);
    await stored();
    expect(origin.titles).toEqual([]);
  });

  test("has the number of unread ones on the icon", async () => {
    await subscribed();
    server.send();
    server.send();
    server.change("read", ["n1"]);
    await stored();
    expect(badges).toEqual([0, 1, 2, 1]);
  });
});

describe("asked by the worker", () => {
  const ask = { carillon: 1, kind: "ask", root: "http://carillon.test/", userId: "alice" };
  const take = (id: string): object => ({ carillon: 1, kind: "take", payload: { kind: "notification", id, tag: "t" } });
  const rung = ({ events, rung: once }: Device): unknown[] =>
    [...events, ...once].flatMap((event) => (event.type === "pushed" ? [event.notification.title] : []));

  test("a page shows what arrives if it is connected as that user", async () => {
    const tab = await subscribed();
    expect(await origin.tell(ask)).toBe(true);
    expect(await origin.tell({ ...ask, userId: "bob" })).toBe(false);
    expect(await origin.tell({ ...ask, root: "https://other.example/" })).toBe(false);
    expect(await origin.tell({ kind: "ask" })).toBeUndefined();
    tab.client.close();
    expect(await origin.tell(ask)).toBe(false);
  });

  test("rings for what arrived silently, once, and not for what has rung", async () => {
    const tab = await subscribed();
    server.send({ title: "pushed only", silent: true });
    server.send({ title: "rang" });
    for (const id of ["n1", "n1", "n2"]) expect(await origin.tell(take(id))).toBe(true);
    await stored();
    expect(rung(tab)).toEqual(["pushed only", "pushed only"]);
    expect(tab.events.filter(({ type }) => type === "pushed").length).toBe(1);
  });

  test("asks the server for one whose frame is late, and does not ring twice for it", async () => {
    const tab = await subscribed();
    server.send({ title: "late", frame: "lost" });
    server.send({ title: "late and silent", frame: "lost", silent: true });
    await origin.tell(take("n1"));
    await stored();
    await origin.tell(take("n2"));
    await stored();
    expect(tab.titles()).toEqual(["late and silent", "late"]);
    expect(rung(tab)).toEqual(["late and silent", "late and silent"]);
  });

  test("does not ring for what was read meanwhile", async () => {
    const tab = await subscribed();
    server.send({ silent: true });
    server.change("read", ["n1"]);
    await origin.tell(take("n1"));
    await stored();
    expect(rung(tab)).toEqual([]);
  });

  test("goes where a click leads, within its origin", async () => {
    await subscribed();
    const assign = vi.fn();
    vi.stubGlobal("location", { origin: ORIGIN, assign });
    for (const url of ["javascript:alert(1)", "https://evil.example/"]) {
      expect(await origin.tell({ carillon: 1, kind: "open", url })).toBeUndefined();
    }
    expect(assign).not.toHaveBeenCalled();
    expect(await origin.tell({ carillon: 1, kind: "open", url: `${ORIGIN}/orders/7` })).toBe(true);
    expect(assign).toHaveBeenCalledWith(`${ORIGIN}/orders/7`);
  });
});
