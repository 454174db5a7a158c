// Chats on a device: kept over reloads and without a network, shared by tabs, and forgotten with the user.

import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { begin, bobSays, browser, end, id, opens, opensTab, server } from "../harness/chatting.js";
import { advance, settle } from "../harness/device.js";

beforeEach(begin);
afterEach(end);

describe("on the device", () => {
  test("a draft is kept over a reload, and gone when it is sent", async () => {
    const before = await opensTab();
    before.shows(id).setDraft("Dear Bob");
    before.client.close();
    const after = (await opensTab()).shows(id);
    expect(after.state().draft).toBe("Dear Bob");
    after.send("Dear Bob");
    expect(after.state().draft).toBe("");
    await settle();
    expect((await opensTab()).shows(id).state().draft).toBe("");
  });

  test("chats and messages show while the server is away", async () => {
    bobSays("1", "2");
    const before = await opensTab();
    before.shows(id);
    await advance(2_000);
    before.client.close();
    server.fault = () => Promise.reject(new TypeError("network"));
    const after = await opensTab({ userId: "alice" });
    const open = after.shows(id);
    expect(after.list()).toMatchObject({ loading: false, unreadCount: 2, chats: [{ id }] });
    expect(open.bodies()).toEqual(["1", "2"]);
    server.fault = () => undefined;
    server.chats.say(id, "bob", "3");
    await advance(60_000);
    expect(open.bodies()).toEqual(["1", "2", "3"]);
  });

  test("what another device cleared does not show again", async () => {
    bobSays("1", "2");
    const before = await opensTab();
    before.shows(id);
    await advance(2_000);
    before.client.close();
    const own = server.chats.member(id, "alice");
    own.clearedSeq = own.hiddenSeq = own.readSeq = 2;
    bobSays("3");
    const open = (await opensTab()).shows(id);
    await settle();
    expect(open.bodies()).toEqual(["3"]);
  });

  test("what another device cleared while this one was away does not stay", async () => {
    bobSays("1", "2");
    const alice = await opens();
    const open = alice.shows(id);
    await settle();
    alice.client.close();
    const own = server.chats.member(id, "alice");
    own.clearedSeq = own.hiddenSeq = own.readSeq = 2;
    bobSays("3");
    alice.client.connect();
    await advance(1_000);
    expect(open.bodies()).toEqual(["3"]);
  });

  test("what another device cleared does not stay before a message beyond a gap", async () => {
    const open = (await opens()).shows(id);
    bobSays("1");
    await settle();
    server.chats.frames = "lost";
    bobSays("2");
    const own = server.chats.member(id, "alice");
    own.clearedSeq = own.hiddenSeq = own.readSeq = 2;
    server.chats.frames = "pushed";
    bobSays("3");
    await advance(1_000);
    expect(open.bodies()).toEqual(["3"]);
  });

  test("drafts come before copies when the storage is full", async () => {
    bobSays("1");
    const alice = await opensTab();
    const open = alice.shows(id);
    await advance(2_000);
    const { setItem } = Object.getPrototypeOf(browser.localStorage);
    const isFull = (): boolean => Object.keys(browser.localStorage).some((name) => name.includes("copy"));
    vi.spyOn(Object.getPrototypeOf(browser.localStorage), "setItem").mockImplementation(function (
      this: unknown,
      ...args: unknown[]
    ) {
      if (isFull()) throw new DOMException("full", "QuotaExceededError");
      setItem.apply(this, args);
    });
    open.setDraft("Dear Bob");
    expect(Object.values(browser.localStorage)).toContain(JSON.stringify("Dear Bob"));
    expect(alice.problems).toEqual([]);
  });

  test("nothing is left when the user signs out, and nothing shows", async () => {
    bobSays("secret");
    const alice = await opensTab();
    const open = alice.shows(id);
    await advance(2_000);
    open.setDraft("secret too");
    expect(browser.localStorage.length).toBeGreaterThan(0);
    const done = alice.client.signOut();
    expect(alice.list()).toMatchObject({ chats: [], unreadCount: 0 });
    expect(open.state()).toMatchObject({ chat: null, messages: [], draft: "" });
    await advance(2_000);
    await done;
    expect(browser.localStorage.length).toBe(0);
    open.setDraft("lost");
    await advance(2_000);
    expect(browser.localStorage.length).toBe(0);
  });

  test("nothing is kept without a cache", async () => {
    const open = (await opensTab({ cache: false })).shows(id);
    open.setDraft("secret");
    open.send("Hi");
    await advance(2_000);
    expect(browser.localStorage.length).toBe(0);
  });
});

describe("several tabs", () => {
  test("share a socket: followers see everything, and send", async () => {
    const [leader, follower, bob] = [await opensTab(), await opensTab(), await opens({ sub: "bob" })];
    const [first, second, third] = [leader.shows(id), follower.shows(id), bob.shows(id)];
    await settle();
    expect(follower.state().leader).toBe(false);
    bobSays("Hi");
    await settle();
    expect([first.bodies(), second.bodies()]).toEqual([["Hi"], ["Hi"]]);
    second.send("Hi Bob");
    await settle();
    for (const shown of [first, second, third]) expect(shown.bodies()).toEqual(["Hi", "Hi Bob"]);
    second.setDraft("And");
    await settle();
    expect(third.state().typing).toEqual(["alice"]);
    await second.markAsRead();
    await settle();
    expect([leader, follower].map(({ list }) => list().unreadCount)).toEqual([0, 0]);
    expect(server.openSockets.filter(({ user }) => user === "alice").length).toBe(1);
  });

  test("a follower hears of a lost frame when the leader does", async () => {
    const [, follower] = [await opensTab(), await opensTab()];
    const open = follower.shows(id);
    await advance(3_000);
    server.chats.frames = "lost";
    bobSays("lost");
    await advance(61_000);
    expect(open.bodies()).toEqual(["lost"]);
  });

  test("another user's chats show after a change of user, and only those", async () => {
    bobSays("for alice");
    let sub = "alice";
    const { tokenOf } = await import("../harness/token.js");
    const tab = await opensTab({ getToken: () => tokenOf(sub) });
    const open = tab.shows(id);
    await settle();
    expect(open.bodies()).toEqual(["for alice"]);
    sub = "carol";
    tab.client.close();
    tab.client.connect();
    await advance(2_000);
    expect(tab.state().userId).toBe("carol");
    expect(tab.list()).toMatchObject({ chats: [], unreadCount: 0, loading: false });
    expect(open.state()).toMatchObject({ chat: null, messages: [] });
  });
});
