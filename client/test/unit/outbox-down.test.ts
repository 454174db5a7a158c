// What the user changes while the server is down: kept on the device, and sent later, for the same user only.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { begin, comesBack, crash, end, goesDown, opens, passes, readAt, server, tabs } from "../harness/profile.js";
import { tokenOf } from "../harness/token.js";

beforeEach(begin);
afterEach(end);

describe("what is changed while the server is down", () => {
  test("shows after a reload, and reaches the server with another token of the user", async () => {
    for (let n = 1; n <= 5; n++) server.send({ type: n === 5 ? "news" : "like" });
    const before = await opens();
    await passes(3_000);
    goesDown();
    const { client } = before;
    void client.markAsRead(["n1", "n2"]);
    void client.deleteNotification("n3");
    void client.markAllAsRead("news");
    await passes(1_000);
    crash();

    const after = await opens();
    expect(after.titles()).toEqual(["n5", "n4", "n2", "n1"]);
    expect(after.state()).toMatchObject({ unreadCount: 1, fromCache: true });
    comesBack();
    await passes(60_000);
    expect(server.rows.get("n3")?.isDeleted).toBe(true);
    expect(["n1", "n2", "n5"].map((id) => readAt(id) !== null)).toEqual([true, true, true]);
    expect(readAt("n4")).toBeNull();
    expect(after.state()).toMatchObject({ unreadCount: 1, error: null });
    // Nothing is left to send on the next visit.
    crash();
    const { length } = server.changeFrames;
    await opens();
    await passes(5_000);
    expect(server.changeFrames.length).toBe(length);
  });

  test("is never sent for another user", async () => {
    server.send();
    await opens();
    await passes(3_000);
    goesDown();
    void tabs[0]?.client.markAsRead("n1");
    await passes(1_000);
    crash();
    comesBack();
    const calls = server.calls.length;
    await opens({ sub: "bob" });
    await passes(60_000);
    expect(server.calls.slice(calls).filter(({ path }) => path.includes("n1"))).toEqual([]);
    expect(server.changeFrames).toEqual([]);
    crash();
    // It still belongs to alice.
    await opens();
    await passes(5_000);
    expect(readAt("n1")).not.toBeNull();
  });

  test("is not sent when the token changes to another user's", async () => {
    let sub = "alice";
    server.send();
    const tab = await opens({ getToken: () => tokenOf(sub, Date.now() + 31_000) });
    await passes(3_000);
    goesDown();
    const change = expect(tab.client.markAsRead("n1")).rejects.toMatchObject({ code: "closed" });
    await passes(15_000);
    sub = "bob";
    comesBack();
    await passes(60_000);
    await change;
    expect(tab.state().userId).toBe("bob");
    expect(readAt("n1")).toBeNull();
  });

  test.each([
    ["throws", () => Promise.reject(new Error("the sign-in is away"))],
    ["hangs", () => new Promise<string>(() => {})],
    ["returns an expired token", () => tokenOf("alice", Date.now() - 1_000)],
  ])("outlives a getToken that %s", async (_, failing) => {
    let getToken: () => string | Promise<string> = () => tokenOf("alice", Date.now() + 31_000);
    server.send();
    const tab = await opens({ getToken: () => getToken(), transports: ["polling"] });
    await passes(10_000);
    getToken = failing;
    await passes(2_000);
    const done = tab.client.markAsRead("n1");
    await passes(60_000);
    expect(readAt("n1")).toBeNull();
    expect(tab.state().unreadCount).toBe(0);
    getToken = () => tokenOf("alice");
    await passes(60_000);
    await done;
    expect(readAt("n1")).not.toBeNull();
  });
});

test("signing out forgets changes that are kept for later", async () => {
  server.send();
  const tab = await opens();
  await passes(3_000);
  goesDown();
  void tab.client.markAsRead("n1");
  await passes(1_000);
  const done = tab.client.signOut();
  await passes(6_000);
  await done;
  comesBack();
  crash();
  await opens();
  await passes(60_000);
  expect(server.unreadCount).toBe(1);
});
