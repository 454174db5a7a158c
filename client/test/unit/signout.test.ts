// Signing out leaves nothing of the user behind: not in the store, not on the device, in no tab, and not on its way.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { State } from "../../src/index.js";
import { advance, connected, type Device, deviceOf } from "../harness/device.js";
import { begin, browser, end, opens, server, stored } from "../harness/profile.js";
import { refusal } from "../harness/server.js";
import { tokenOf } from "../harness/token.js";

beforeEach(() => {
  begin();
  server.send({ title: "alice's" });
});
afterEach(end);

/** Runs `signOut` to its end, although storage needs real time. */
async function signsOut(tab: Device): Promise<void> {
  const done = tab.client.signOut();
  await stored();
  await done;
}

/** Everything that the device stores, as text. */
function onDevice(): Promise<string> {
  return new Promise((resolve, reject) => {
    const opening = browser.indexedDB.open("carillon");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      const names = [...database.objectStoreNames];
      const all: unknown[] = [];
      const transaction = database.transaction(names);
      for (const name of names) {
        const read = transaction.objectStore(name).getAll();
        read.onsuccess = () => all.push(read.result);
      }
      transaction.oncomplete = () => resolve(JSON.stringify(all));
      database.close();
    };
  });
}

const nothing: Partial<State> = {
  notifications: [],
  unreadCount: 0,
  cursor: null,
  userId: null,
  error: null,
  loading: true,
  fromCache: false,
  leader: false,
  transport: null,
  wsStatus: "closed",
};

test("the store is empty in the same moment, and shows nothing of the user later", async () => {
  let sub = "alice";
  const tab = await opens({ getToken: () => tokenOf(sub) });
  const seen: string[] = [];
  void tab.client.signOut();
  expect(tab.state()).toMatchObject(nothing);
  tab.client.store.subscribe(({ notifications }) => seen.push(...notifications.map(({ title }) => title)));
  sub = "bob";
  tab.client.connect();
  await stored();
  await advance(5_000);
  expect(tab.state()).toMatchObject({ userId: "bob", wsStatus: "connected", notifications: [] });
  expect(seen).toEqual([]);
});

test("all tabs are signed out, whichever of them began, and none writes to the device again", async () => {
  for (const beginner of [0, 1, 2]) {
    const three = [await opens(), await opens(), await opens()];
    await advance(2_000);
    await stored();
    expect(await onDevice()).toContain("alice's");
    server.send({ title: "alice's last" });
    await signsOut(three[beginner] as Device);
    for (const tab of three) expect(tab.state()).toMatchObject(nothing);
    expect(server.openSockets).toEqual([]);
    await advance(5_000);
    await stored();
    expect(await onDevice()).not.toContain("alice");
  }
});

test("a tab of another user is left alone", async () => {
  const [alice, bob] = [await opens(), await opens({ sub: "bob" })];
  await signsOut(alice);
  expect(bob.state()).toMatchObject({ userId: "bob", wsStatus: "connected" });
});

test("changes that have not been sent are forgotten, and their callers learn it", async () => {
  const tab = await opens();
  server.fault = ({ method }) => (method === "GET" ? undefined : refusal(503, "overloaded"));
  const change = tab.client.markAsRead("n1");
  const ended = expect(change).rejects.toMatchObject({ code: "closed" });
  await advance(1_000);
  await signsOut(tab);
  await ended;
  server.fault = () => undefined;
  tab.client.connect();
  await stored();
  await advance(60_000);
  await stored();
  expect(server.unreadCount).toBe(1);
  expect(tab.state().unreadCount).toBe(1);
});

test("it works after a close and before the first connect, and then tells the other tabs too", async () => {
  const [first, second] = [await opens(), await opens()];
  await advance(2_000);
  await stored();
  second.client.close();
  await signsOut(second);
  expect(second.state()).toMatchObject(nothing);
  expect(first.state()).toMatchObject(nothing);
  expect(await onDevice()).not.toContain("alice");
  await signsOut(deviceOf(server));
});

test("a tab that connects afterwards starts from the server, and a forgotten token is not used", async () => {
  let asked = 0;
  const tab = await opens({
    getToken() {
      asked++;
      return tokenOf("alice");
    },
  });
  await signsOut(tab);
  const lists = server.callsTo("/api/notifications?").length;
  tab.client.connect();
  await stored();
  expect(asked).toBe(2);
  expect(server.callsTo("/api/notifications?").length).toBe(lists + 1);
  expect(tab.titles()).toEqual(["alice's"]);
});

describe("a hook", () => {
  test("is called with the user in every tab, and signing out waits for it", async () => {
    const [first, second] = [await opens(), await opens()];
    const called: unknown[] = [];
    let finish = (): void => {};
    first.client.onSignOut((userId) => {
      called.push(["first", userId]);
      return new Promise<void>((resolve) => {
        finish = resolve;
      });
    });
    second.client.onSignOut((userId) => void called.push(["second", userId]));
    second.client.onSignOut(() => void called.push("removed"))();
    let isDone = false;
    const done = first.client.signOut().then(() => {
      isDone = true;
    });
    await stored();
    expect(called).toEqual([
      ["first", "alice"],
      ["second", "alice"],
    ]);
    expect(isDone).toBe(false);
    finish();
    await stored();
    await done;
  });

  test("can still call the API as the user", async () => {
    const tab = await opens();
    const statuses: unknown[] = [];
    tab.client.onSignOut(async () => {
      await tab.client.request("DELETE", "/api/notifications/n1");
      statuses.push(server.unreadCount);
    });
    await signsOut(tab);
    expect(statuses).toEqual([0]);
  });

  test("that throws or hangs does not keep the user signed in", async () => {
    const tab = await opens();
    const uncaught: unknown[] = [];
    const collect = (error: unknown): unknown => uncaught.push(error);
    process.on("uncaughtException", collect);
    tab.client.onSignOut(() => {
      throw new Error("sync");
    });
    tab.client.onSignOut(() => Promise.reject(new Error("async")));
    tab.client.onSignOut(() => new Promise(() => {}));
    const done = tab.client.signOut();
    await stored();
    await advance(5_000);
    await done;
    await stored();
    process.off("uncaughtException", collect);
    expect(uncaught.map(String).sort()).toEqual(["Error: async", "Error: sync"]);
    expect(await onDevice()).not.toContain("alice");
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe("a token of another user", () => {
  test("signs the previous user out in every tab, and all continue as the next", async () => {
    let sub = "alice";
    const getToken = (): string => tokenOf(sub, Date.now() + 60_000);
    const [first, second] = [await opens({ getToken }), await opens({ getToken })];
    const left: unknown[] = [];
    for (const tab of [first, second]) tab.client.onSignOut((userId) => void left.push(userId));
    await advance(2_000);
    await stored();
    expect(await onDevice()).toContain("alice's");
    sub = "bob";
    await advance(120_000);
    await stored();
    for (const tab of [first, second]) {
      expect(tab.state()).toMatchObject({ userId: "bob", notifications: [], wsStatus: "connected" });
    }
    expect(left).toEqual(["alice", "alice"]);
    expect(await onDevice()).not.toContain("alice");
    expect(server.openSockets.length).toBe(1);
  });

  test("signs the previous user out after a close, too", async () => {
    let sub = "alice";
    const tab = await opens({ getToken: () => tokenOf(sub) });
    await advance(2_000);
    tab.client.close();
    await stored();
    sub = "bob";
    await connected(tab);
    await stored();
    expect(tab.state()).toMatchObject({ userId: "bob", notifications: [] });
    expect(await onDevice()).not.toContain("alice's");
  });

  test("signs out the user whose cache the application had named", async () => {
    const before = await opens();
    await advance(2_000);
    before.client.close();
    await stored();
    await opens({ sub: "bob", userId: "alice" });
    expect(await onDevice()).not.toContain("alice's");
  });
});

test("storage that is forbidden is reported, and does not keep the user signed in", async () => {
  const indexedDB = {
    open() {
      throw new DOMException("no", "SecurityError");
    },
  } as unknown as IDBFactory;
  const tab = await opens({ environment: { indexedDB } });
  await signsOut(tab);
  expect(tab.state()).toMatchObject(nothing);
  expect(tab.codes()).toContain("cache_unavailable");
});
