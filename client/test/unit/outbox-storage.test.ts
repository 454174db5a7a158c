// Storage that keeps the user's changes, or cannot.

import { IDBObjectStore } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  begin,
  browser,
  comesBack,
  crash,
  end,
  goesDown,
  opens,
  passes,
  server,
  stored,
  tabs,
} from "../harness/profile.js";

beforeEach(begin);
afterEach(end);

describe("storage", () => {
  test("that is full keeps no change from being sent", async () => {
    vi.spyOn(IDBObjectStore.prototype as globalThis.IDBObjectStore, "put").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    server.send();
    const tab = await opens();
    await passes(3_000);
    await tab.client.markAsRead("n1");
    await stored();
    expect(server.unreadCount).toBe(0);
    expect(tab.codes()[0]).toBe("cache_full");
    expect(tab.problems.every(({ source }) => source === "cache")).toBe(true);
    expect(tab.state().error).toBeNull();
  });

  test.each([
    [
      "forbidden",
      () => {
        throw new DOMException("no", "SecurityError");
      },
    ],
    ["hanging", () => ({})],
  ])("that is %s keeps no change from being sent", async (_, open) => {
    server.send();
    const tab = await opens({ environment: { indexedDB: { open } as unknown as IDBFactory } });
    await passes(3_000);
    await tab.client.markAsRead("n1");
    expect(server.unreadCount).toBe(0);
  });

  const version = (indexedDB: IDBFactory): Promise<number> =>
    new Promise((resolve) => {
      const request = indexedDB.open("carillon");
      request.onsuccess = () => {
        resolve(request.result.version);
        request.result.close();
      };
    });

  /** Opens the database as another version of the client does. Returns a function that closes it. */
  const openAs = (number: number, names: readonly string[]): Promise<() => void> =>
    new Promise((resolve, reject) => {
      const request = browser.indexedDB.open("carillon", number);
      request.onupgradeneeded = () => {
        for (const name of names) request.result.createObjectStore(name);
      };
      request.onsuccess = () => {
        // An earlier client gives way.
        request.result.onversionchange = () => request.result.close();
        resolve(() => request.result.close());
      };
      request.onerror = () => reject(request.error);
    });

  test("of an earlier version is upgraded, although one of its tabs is open", async () => {
    await openAs(1, ["inboxes", "events"]);
    server.send();
    await opens();
    await passes(3_000);
    goesDown();
    void tabs[0]?.client.markAsRead("n1");
    await passes(1_000);
    crash();
    expect(await version(browser.indexedDB)).toBe(2);
    comesBack();
    await opens();
    await passes(5_000);
    expect(server.unreadCount).toBe(0);
  });

  test("of a later version is used as it is", async () => {
    (await openAs(7, ["inboxes", "events", "changes", "drafts"]))();
    server.send();
    const tab = await opens();
    await passes(3_000);
    expect(tab.codes()).toEqual([]);
    goesDown();
    void tab.client.markAsRead("n1");
    await passes(1_000);
    crash();
    expect(await version(browser.indexedDB)).toBe(7);
    comesBack();
    await opens();
    await passes(5_000);
    expect(server.unreadCount).toBe(0);
  });

  test("of an application that keeps no changes still sends them", async () => {
    const cache = {
      loadInbox: async () => null,
      saveInbox: async () => {},
      loadEvents: async () => [],
      addEvents: async () => {},
      clear: async () => {},
    };
    server.send();
    const tab = await opens({ cache });
    await passes(3_000);
    await tab.client.markAsRead("n1");
    expect(server.unreadCount).toBe(0);
    expect(tab.codes()).toEqual([]);
  });

  test("with invalid changes is treated as empty", async () => {
    const cache = {
      loadInbox: async () => null,
      saveInbox: async () => {},
      loadEvents: async () => [],
      addEvents: async () => {},
      loadChanges: async () => [null, 7, { id: 1 }, { id: "c", kind: "eat", ids: ["n1"], at: "" }] as never,
      saveChanges: async () => {},
      clear: async () => {},
    };
    server.send();
    const tab = await opens({ cache });
    await passes(3_000);
    expect(tab.state()).toMatchObject({ unreadCount: 1, error: null });
    expect(server.changeFrames).toEqual([]);
  });
});
