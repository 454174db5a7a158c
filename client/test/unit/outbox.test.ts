// The user's changes on their way: sent together, in order, and never behind one that fails.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { settle } from "../harness/device.js";
import { begin, end, opens, passes, readAt, server } from "../harness/profile.js";
import { html, refusal } from "../harness/server.js";

beforeEach(begin);
afterEach(end);

describe("sending", () => {
  test("two hundred at once takes two frames and no call", async () => {
    for (let n = 0; n < 200; n++) server.send();
    const tab = await opens({ pageSize: 200 });
    await passes(3_000);
    const calls = server.calls.length;
    const done = tab.state().notifications.map(({ id }) => tab.client.markAsRead(id));
    expect(tab.state().unreadCount).toBe(0);
    await passes(1_000);
    await Promise.all(done);
    expect(server.unreadCount).toBe(0);
    expect(server.changeFrames.map(({ ids }) => (ids as string[]).length)).toEqual([100, 100]);
    expect(server.calls.length).toBe(calls);
  });

  test("without a socket makes at most six calls at a time", async () => {
    for (let n = 0; n < 40; n++) server.send();
    const tab = await opens({ transports: ["polling"] });
    await passes(1_000);
    let present = 0;
    let most = 0;
    server.fault = async ({ method }) => {
      if (method === "GET") return undefined;
      most = Math.max(most, ++present);
      await new Promise((resolve) => setTimeout(resolve, 10));
      present--;
      return undefined;
    };
    const done = tab.client.markAsRead(tab.state().notifications.map(({ id }) => id));
    for (let n = 0; n < 10; n++) await passes(20);
    await done;
    expect(server.unreadCount).toBe(0);
    expect(most).toBe(6);
  });

  test.each([["websocket"], ["polling"]] as const)(
    "over %s holds up nothing behind one that fails",
    async (transport) => {
      for (let n = 0; n < 20; n++) server.send();
      const tab = await opens({ transports: [transport] });
      await passes(3_000);
      server.fault = ({ path }) => (path.includes("/n7/") ? refusal(500, "internal") : undefined);
      const ids = tab.state().notifications.map(({ id }) => id);
      const failing = tab.client.markAsRead("n7");
      const others = ids.filter((id) => id !== "n7").map((id) => tab.client.markAsRead(id));
      await passes(1_000);
      await Promise.all(others);
      expect(server.unreadCount).toBe(1);
      server.fault = () => undefined;
      await passes(60_000);
      await failing;
      expect(server.unreadCount).toBe(0);
    },
  );

  test("a deletion is not held up by a change that keeps failing", async () => {
    server.send();
    const tab = await opens();
    await passes(3_000);
    server.fault = ({ path }) => (path.endsWith("/read") ? refusal(500, "internal") : undefined);
    const read = tab.client.markAsRead("n1");
    await passes(1_000);
    await tab.client.deleteNotification("n1");
    await read;
    expect(server.rows.get("n1")?.isDeleted).toBe(true);
    const { length } = server.calls;
    await passes(60_000);
    expect(server.calls.slice(length).filter(({ path }) => path.endsWith("/read"))).toEqual([]);
  });

  test.each([["websocket"], ["polling"]] as const)(
    "over %s keeps the order of marking all and one of them",
    async (transport) => {
      for (let n = 0; n < 3; n++) server.send();
      const tab = await opens({ transports: [transport] });
      await passes(3_000);
      let left = 2;
      server.fault = ({ path }) => (path.endsWith("/read-all") && left-- > 0 ? refusal(503, "overloaded") : undefined);
      const all = tab.client.markAllAsRead();
      const one = tab.client.markAsUnread("n2");
      await passes(30_000);
      await Promise.all([all, one]);
      expect(server.unreadCount).toBe(1);
      expect(readAt("n2")).toBeNull();
      await passes(3_000);
      expect(tab.state().unreadCount).toBe(1);
      // And the other way round.
      await Promise.all([tab.client.markAsUnread("n3"), tab.client.markAllAsRead()]);
      await passes(3_000);
      expect(server.unreadCount).toBe(0);
    },
  );

  test("what is answered 404 is dropped without an error", async () => {
    server.send();
    const tab = await opens({ transports: ["polling"] });
    await passes(1_000);
    server.change("deleted", ["n1"], false);
    await tab.client.markAsRead("n1");
    await passes(1_000);
    expect(tab.state()).toMatchObject({ notifications: [], error: null });
    expect(server.callsTo("/api/notifications/n1").length).toBe(1);
  });

  test("a proxy's 404 is not an answer", async () => {
    server.send();
    const tab = await opens({ transports: ["polling"] });
    await passes(1_000);
    let left = 3;
    server.fault = ({ path }) => (path.endsWith("/read") && left-- > 0 ? html(404) : undefined);
    const done = tab.client.markAsRead("n1");
    await passes(30_000);
    await done;
    expect(readAt("n1")).not.toBeNull();
  });

  test("what is no change is not sent", async () => {
    server.send();
    server.send();
    const tab = await opens();
    await passes(3_000);
    await tab.client.markAsRead("n1");
    await tab.client.markAsRead("n1");
    await tab.client.markAsUnread("n2");
    // Deleted twice before the first answer.
    await Promise.all([tab.client.deleteNotification("n2"), tab.client.deleteNotification("n2")]);
    await passes(1_000);
    expect(server.changeFrames.map(({ action, ids }) => [action, ids])).toEqual([
      ["read", ["n1"]],
      ["delete", ["n2"]],
    ]);
    // Another device does the same while this one cannot.
    server.send();
    server.fault = ({ method }) => (method === "POST" ? refusal(500, "internal") : undefined);
    const done = tab.client.markAsRead("n3");
    await passes(100);
    server.change("read", ["n3"]);
    await passes(100);
    await done;
  });

  test("frames that a dying socket took are sent again", async () => {
    server.send();
    const tab = await opens();
    await passes(3_000);
    const [socket] = server.openSockets;
    if (socket) socket.isDead = true;
    const done = tab.client.markAsRead("n1");
    await settle();
    expect(server.unreadCount).toBe(1);
    socket?.end();
    await passes(2_000);
    await done;
    expect(server.unreadCount).toBe(0);
  });
});
