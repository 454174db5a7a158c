// What the worker does with pushes and clicks.

import { beforeEach, describe, expect, test } from "vitest";
import { createDevice, type KeptPush } from "../../src/push/device.js";
import { payloadOf } from "../../src/push/messages.js";
import { FakeOrigin, FakeSubscription, ORIGIN } from "../harness/origin.js";
import { keyOf } from "../harness/pushes.js";
import { BASE_URL, FakeServer } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";
import { FakeWorker } from "../harness/worker.js";

let origin: FakeOrigin;
let server: FakeServer;
let worker: FakeWorker;

beforeEach(async () => {
  origin = new FakeOrigin();
  server = new FakeServer();
  worker = new FakeWorker(origin, server.fetch);
  origin.permission = "granted";
  origin.subscription = new FakeSubscription(origin, "https://push.example/1", Buffer.from(keyOf(1), "base64url"));
  await keeps();
});

const device = (): ReturnType<typeof createDevice> => createDevice(origin.indexedDB);

/** What the page has left for the worker. */
async function keeps(more: Partial<KeptPush> = {}): Promise<void> {
  await device().put({
    scope: origin.registration.scope,
    root: `${BASE_URL}/`,
    userId: "alice",
    id: "s1",
    endpoint: "https://push.example/1",
    key: keyOf(1),
    checkedMs: Date.now(),
    script: `${ORIGIN}/push-worker.js`,
    home: `${ORIGIN}/inbox`,
    token: tokenOf("alice"),
    expiresMs: Date.now() + 3_600_000,
    rung: [],
    ...more,
  });
}

const notification = (more: object = {}): object => ({
  kind: "notification",
  tag: "t1",
  id: "n1",
  type: "LIKE",
  title: "Hello",
  body: "A text",
  actionUrl: "/orders/7",
  priority: "normal",
  cursor: "e1.1",
  unreadCount: 3,
  acknowledge: true,
  ...more,
});
const digest = (more: object = {}): object => ({
  kind: "digest",
  tag: "t2",
  title: "2 new messages from bob",
  body: null,
  count: 2,
  chatId: "c1",
  type: null,
  ...more,
});

describe("a push", () => {
  test("is shown with its text under its tag, and acknowledged", async () => {
    await worker.push(notification());
    expect(origin.rang).toMatchObject([
      { title: "Hello", body: "A text", tag: "t1", renotify: true, silent: false, requireInteraction: false },
    ]);
    expect(server.acked).toEqual(["e1.1"]);
    expect(worker.badges).toEqual([3]);
  });

  test("is not acknowledged while something before it is not", async () => {
    await worker.push(notification({ acknowledge: false }));
    expect(origin.titles).toEqual(["Hello"]);
    expect(server.acked).toEqual([]);
  });

  test("has the pictures of the application, and stays if it is critical", async () => {
    await keeps({ icon: `${ORIGIN}/icon.png`, badge: `${ORIGIN}/badge.png` });
    await worker.push(notification({ body: null, priority: "critical" }));
    const [shown] = origin.rang;
    expect(shown).toMatchObject({ icon: `${ORIGIN}/icon.png`, badge: `${ORIGIN}/badge.png`, requireInteraction: true });
    expect(shown).not.toHaveProperty("body");
  });

  test("replaces the one of its tag, and rings for it", async () => {
    await worker.push(notification());
    await worker.push(notification({ id: "n2", title: "Newer", cursor: "e1.2" }));
    expect(origin.titles).toEqual(["Newer"]);
    expect(origin.rang.map(({ renotify, silent }) => [renotify, silent])).toEqual([
      [true, false],
      [true, false],
    ]);
  });

  test("that is repeated does not ring again, whether it is still shown or not", async () => {
    await worker.push(notification());
    await worker.push(notification());
    expect(origin.titles).toEqual(["Hello"]);
    origin.shown[0]?.close();
    await worker.push(notification());
    // Browsers see that something was shown, and the user does not.
    expect(origin.titles).toEqual([]);
    expect(origin.rang.map(({ renotify, silent }) => [renotify, silent])).toEqual([
      [true, false],
      [false, true],
      [false, true],
    ]);
  });

  test("of one that comes back from a snooze rings again", async () => {
    await worker.push(notification());
    origin.shown[0]?.close();
    await worker.push(notification({ cursor: "e1.9" }));
    expect(origin.titles).toEqual(["Hello"]);
    expect(origin.rang.at(-1)).toMatchObject({ renotify: true, silent: false });
  });

  test("at the same moment as its repeat rings once", async () => {
    await Promise.all([worker.push(notification()), worker.push(notification())]);
    expect(origin.rang.map(({ silent }) => silent)).toEqual([false, true]);
  });

  test("of a digest replaces the one before, and acknowledges nothing", async () => {
    await worker.push(digest());
    await worker.push(digest());
    await worker.push(digest({ title: "3 new messages from bob", count: 3 }));
    expect(origin.titles).toEqual(["3 new messages from bob"]);
    expect(origin.rang.map(({ silent }) => silent)).toEqual([false, true, false]);
    origin.shown[0]?.close();
    // The next messages may be as many.
    await worker.push(digest({ title: "3 new messages from bob", count: 3 }));
    expect(origin.rang.at(-1)?.silent).toBe(false);
    expect(server.acked).toEqual([]);
  });

  test("that closes, closes what is under its tag alone, and shows nothing", async () => {
    await worker.push(notification());
    await worker.push(digest());
    await worker.push({ kind: "close", tag: "t1" });
    expect(origin.titles).toEqual(["2 new messages from bob"]);
    expect(origin.rang.length).toBe(2);
  });

  test.each([
    ["no JSON", "hello"],
    ["another kind", { kind: "ring", tag: "t1", title: "x" }],
    ["no tag", { kind: "notification", id: "n1", title: "x" }],
    ["no id", { kind: "notification", tag: "t1", title: "x" }],
    ["a title that is no text", { kind: "digest", tag: "t1", title: 7 }],
    ["nothing", null],
  ])("with %s is left to other listeners", async (_, payload) => {
    expect(await worker.push(payload)).toBe(false);
    expect(payloadOf(undefined)).toBeNull();
    expect(origin.rang).toEqual([]);
  });
});

describe("one that was too large", () => {
  const large = { kind: "notification", tag: "t1", id: "n1", title: "Hello", fetch: true, acknowledge: true };

  test("is fetched, shown whole, and acknowledged", async () => {
    server.send({ title: "Hello", body: "All of it", actionUrl: "/orders/7" });
    await worker.push(large);
    expect(origin.rang).toMatchObject([{ title: "Hello", body: "All of it", tag: "t1" }]);
    expect(server.acked).toEqual(["e1.1"]);
    expect(origin.shown[0]?.data).toMatchObject({ id: "n1", actionUrl: "/orders/7" });
  });

  test.each([
    ["without a token", { token: null }],
    ["with an expired token", { expiresMs: 0 }],
  ])("shows its title %s, and does not call the server", async (_, more) => {
    await keeps(more);
    server.send({ title: "Hello", body: "All of it" });
    await worker.push(large);
    expect(origin.rang).toMatchObject([{ title: "Hello" }]);
    expect(origin.rang[0]).not.toHaveProperty("body");
    expect(server.calls).toEqual([]);
  });

  test("shows its title if the server fails or knows it no more", async () => {
    await worker.push(large);
    server.fault = () => {
      throw new TypeError("fetch failed");
    };
    await worker.push({ ...large, id: "n2" });
    server.fault = () => new Response("<!doctype html>", { status: 200 });
    await worker.push({ ...large, id: "n3" });
    expect(origin.rang.map(({ title, body }) => [title, body])).toEqual(Array(3).fill(["Hello", undefined]));
  });
});

describe("with tabs open", () => {
  test("the one in use takes it, and the worker shows and acknowledges nothing", async () => {
    const tab = worker.tab();
    await worker.push(notification());
    expect(origin.rang).toEqual([]);
    expect(tab.messages).toMatchObject([
      { carillon: 1, kind: "ask", root: `${BASE_URL}/`, userId: "alice" },
      { carillon: 1, kind: "take", payload: { id: "n1", title: "Hello" } },
    ]);
    expect(server.acked).toEqual([]);
  });

  test("only one of several takes it: the one in use", async () => {
    const [beside, used] = [worker.tab({ focused: false }), worker.tab()];
    await worker.push(notification());
    expect([beside.kinds, used.kinds]).toEqual([["ask"], ["ask", "take"]]);
  });

  test("that are hidden, not connected, of another user or busy, it is shown", async () => {
    const hidden = worker.tab({ visibilityState: "hidden", focused: false });
    worker.tab({ answer: false });
    worker.tab({ answer: null });
    await worker.push(notification());
    expect(origin.titles).toEqual(["Hello"]);
    expect(origin.rang[0]?.silent).toBe(false);
    expect(hidden.messages).toEqual([]);
  });

  test("of which one closes before it has taken it, it is shown", async () => {
    const tab = worker.tab({ closes: true });
    await worker.push(notification());
    expect([tab.kinds, origin.titles, origin.rang[0]?.silent]).toEqual([["ask", "take"], ["Hello"], false]);
  });

  test("of which one is visible and not in use, it is shown without a sound, because the tab rings", async () => {
    const tab = worker.tab({ focused: false });
    await worker.push(notification());
    expect(origin.rang).toMatchObject([{ title: "Hello", silent: true }]);
    expect(tab.kinds).toEqual(["ask", "take"]);
  });

  test("Safari is shown it in any case, without a sound", async () => {
    origin.subscription = new FakeSubscription(origin, "https://web.push.apple.com/x", new Uint8Array());
    worker.tab();
    await worker.push(notification());
    expect(origin.rang).toMatchObject([{ title: "Hello", silent: true }]);
  });

  test("a digest is not shown either, since the tab has what it tells", async () => {
    const tab = worker.tab();
    await worker.push(digest());
    expect([origin.rang, tab.kinds]).toEqual([[], ["ask"]]);
  });
});

describe("after the user has signed out", () => {
  test("a push shows nothing, and ends the subscription", async () => {
    await device().remove(origin.registration.scope);
    await worker.push(notification());
    expect([origin.rang, origin.subscription]).toEqual([[], null]);
  });

  test("but a device that cannot be read shows it", async () => {
    Object.defineProperty(origin, "indexedDB", {
      value: {
        open() {
          throw new DOMException("no storage", "UnknownError");
        },
      },
    });
    worker = new FakeWorker(origin, server.fetch);
    await worker.push(notification());
    expect(origin.titles).toEqual(["Hello"]);
    expect(server.calls).toEqual([]);
  });
});

describe("a click", () => {
  const opens = async (more: object = {}): Promise<void> => {
    await worker.push(notification(more));
    await worker.click(origin.shown[0]);
  };

  test("opens the link in a new tab, reads the notification, and closes it", async () => {
    server.send();
    await opens();
    expect(worker.opened).toEqual([`${ORIGIN}/orders/7`]);
    expect(origin.titles).toEqual([]);
    expect(server.unreadCount).toBe(0);
  });

  test("leads an open tab there, and brings it to the front", async () => {
    const [other, tab] = [worker.tab({ visibilityState: "hidden", focused: false }), worker.tab({ answer: false })];
    await opens();
    expect([tab.url, other.url]).toEqual([`${ORIGIN}/orders/7`, `${ORIGIN}/inbox`]);
    expect(tab.focus).toHaveBeenCalledTimes(1);
    expect(worker.opened).toEqual([]);
  });

  test("asks a tab that the worker may not move to go there itself", async () => {
    const tab = worker.tab({ isControlled: false, visibilityState: "hidden", focused: false });
    await opens();
    expect(tab.messages).toMatchObject([{ kind: "open", url: `${ORIGIN}/orders/7` }]);
    expect(tab.focus).toHaveBeenCalledTimes(1);
    expect(worker.opened).toEqual([]);
  });

  test("opens a new tab beside one that does not answer", async () => {
    const tab = worker.tab({ isControlled: false, answer: null, visibilityState: "hidden", focused: false });
    await opens();
    expect(worker.opened).toEqual([`${ORIGIN}/orders/7`]);
    expect(tab.focus).not.toHaveBeenCalled();
  });

  test("only brings a tab to the front that is there already", async () => {
    const tab = worker.tab({ url: `${ORIGIN}/orders/7#details`, answer: false });
    await opens();
    expect(tab.url).toBe(`${ORIGIN}/orders/7#details`);
    expect(tab.focus).toHaveBeenCalledTimes(1);
  });

  test("follows a link to another origin in a new tab, whatever is open", async () => {
    const tab = worker.tab({ answer: false });
    await opens({ actionUrl: "https://shop.example/7" });
    expect(worker.opened).toEqual(["https://shop.example/7"]);
    expect(tab.url).toBe(`${ORIGIN}/inbox`);
  });

  test.each([
    "javascript:alert(1)",
    "//evil.example/",
    "http://shop.example/",
    "/\\evil.example",
    "https://a@b.example/",
    7,
  ])("does not follow %s, and opens the application", async (actionUrl) => {
    server.send();
    await opens({ actionUrl });
    expect(worker.opened).toEqual([`${ORIGIN}/inbox`]);
    expect(server.unreadCount).toBe(1);
  });

  test("without a link brings the application to the front where it is", async () => {
    const tab = worker.tab({ url: `${ORIGIN}/settings`, answer: false });
    await opens({ actionUrl: null });
    expect([tab.url, worker.opened]).toEqual([`${ORIGIN}/settings`, []]);
    expect(tab.focus).toHaveBeenCalledTimes(1);
  });

  test("on what the application has shown itself is left to it", async () => {
    await origin.registration.showNotification("Its own", { tag: "x", data: { id: "n1" } });
    expect(await worker.click(origin.shown[0])).toBe(false);
    expect(origin.titles).toEqual(["Its own"]);
  });
});

describe("a subscription that the browser changes", () => {
  test("is told to the server", async () => {
    const next = new FakeSubscription(origin, "https://push.example/next", Buffer.from(keyOf(1), "base64url"));
    await worker.subscriptionChanges(next);
    expect(server.pushes.owners).toEqual({ "https://push.example/next": "alice" });
    expect(await device().get(origin.registration.scope)).toMatchObject({ id: "s1", endpoint: next.endpoint });
  });

  test("is made again with the same key, if the browser has only ended it", async () => {
    origin.subscription = null;
    await worker.subscriptionChanges(null);
    expect(Object.values(server.pushes.owners)).toEqual(["alice"]);
    expect((origin.subscription as FakeSubscription | null)?.key).toBe(keyOf(1));
  });

  test("waits for the next page without a token", async () => {
    await keeps({ token: null });
    origin.subscription = null;
    await worker.subscriptionChanges(null);
    expect(server.pushes.owners).toEqual({});
    // The page finds another endpoint than the one that was kept.
    expect(await device().get(origin.registration.scope)).toMatchObject({ endpoint: "https://push.example/1" });
    const { subscription } = origin;
    expect(subscription).not.toBeNull();
  });

  test("is not made again if no user is kept", async () => {
    await device().remove(origin.registration.scope);
    origin.subscription = null;
    await worker.subscriptionChanges(null);
    expect(origin.subscription).toBeNull();
  });
});
