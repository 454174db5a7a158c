// The list of chats: what is in it, what is unread, and what the user does with it.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chatsOf } from "../../src/chat.js";
import { begin, bobSays, end, id, opens, server } from "../harness/chatting.js";
import { advance, connected, deviceOf, settle } from "../harness/device.js";

beforeEach(begin);
afterEach(end);

describe("the list", () => {
  test("shows the newest chat first, with what is unread of each and of all", async () => {
    await advance(1_000);
    const other = server.chats.between("carol", "alice");
    const alice = await opens();
    expect(alice.list()).toMatchObject({ loading: false, unreadCount: 0, hasMore: false, error: null });
    expect(alice.list().chats.map((chat) => chat.id)).toEqual([other, id]);
    await advance(1_000);
    bobSays("Hi", "there");
    await settle();
    expect(alice.list().chats.map(({ id: chatId, unread }) => [chatId, unread])).toEqual([
      [id, 2],
      [other, 0],
    ]);
    expect(alice.list()).toMatchObject({ unreadCount: 2, chats: [{ lastMessage: { body: "there" } }, {}] });
  });

  test("counts the unread messages of chats that are not listed yet, and lists them page by page", async () => {
    server.chats.maxPage = 2;
    for (const other of ["carol", "dave", "erin"]) {
      await advance(1_000);
      server.chats.say(server.chats.between("alice", other), other, "Hi");
    }
    const alice = await opens();
    expect(alice.list()).toMatchObject({ unreadCount: 3, hasMore: true });
    expect(alice.list().chats.length).toBe(2);
    await alice.chats.loadMore();
    expect(alice.list()).toMatchObject({ unreadCount: 3, hasMore: false, loadingMore: false });
    expect(alice.list().chats.length).toBe(4);
    // After coming back, the pages between are passed at once, since all their chats are known.
    server.chats.maxPage = 1;
    alice.client.close();
    alice.client.connect();
    await settle();
    expect(alice.list().hasMore).toBe(true);
    await alice.chats.loadMore();
    expect(alice.list().hasMore).toBe(false);
  });

  test("counts what is unread although the chats are loaded long after the client has connected", async () => {
    server.chats.maxPage = 1;
    bobSays("Hi");
    await advance(1_000);
    server.chats.between("alice", "carol");
    const device = await connected(deviceOf(server));
    await advance(3_000);
    const { getState } = chatsOf(device.client).store;
    await settle();
    expect(getState()).toMatchObject({ unreadCount: 1, hasMore: true });
    device.client.close();
  });

  test("shows a chat with the next ping when its frame was lost", async () => {
    const alice = await opens();
    await advance(3_000);
    const other = server.chats.between("carol", "alice");
    await advance(61_000);
    expect(alice.list().chats.map((chat) => chat.id)).toContain(other);
  });

  test("shows a chat that another user makes, and what happens to it", async () => {
    const [alice, carol] = [await opens(), await opens({ sub: "carol" })];
    const { id: asked } = await carol.chats.create({ kind: "direct", participantIds: ["alice"] });
    await settle();
    expect(alice.list().chats[0]).toMatchObject({ id: asked, status: "PENDING", memberCount: 2 });
    await alice.chats.accept(asked);
    await settle();
    for (const { list } of [alice, carol]) expect(list().chats[0]).toMatchObject({ id: asked, status: "ACCEPTED" });
    await carol.chats.decline(asked);
    await settle();
    expect(alice.list().chats[0]).toMatchObject({ id: asked, status: "DECLINED" });
  });

  test("follows a group and its members", async () => {
    const [alice, carol] = [await opens(), await opens({ sub: "carol" })];
    const { id: group } = await alice.chats.create({ kind: "group", participantIds: ["bob"], title: "Lunch" });
    await alice.chats.addMembers(group, ["carol"]);
    await settle();
    expect(carol.list().chats).toMatchObject([{ id: group, title: "Lunch", memberCount: 3 }]);
    await carol.chats.rename(group, "Dinner");
    await settle();
    expect(alice.list().chats[0]).toMatchObject({ title: "Dinner" });
    expect((await alice.chats.members(group)).items.map(({ userId }) => userId)).toEqual(["alice", "bob", "carol"]);
    await expect(carol.chats.removeMembers(group, ["alice"])).rejects.toMatchObject({ code: "forbidden" });
    expect(carol.list().error).toMatchObject({ code: "forbidden", source: "change" });
    const open = carol.shows(group);
    await alice.chats.removeMembers(group, ["carol"]);
    await advance(1_000);
    expect(carol.list().chats).toEqual([]);
    expect(open.state()).toMatchObject({ chat: null, messages: [], loading: false });
    await alice.chats.leave(group);
    await settle();
    expect(alice.list().chats.map((chat) => chat.id)).toEqual([id]);
  });

  test("makes one group, although the answer to the first call is lost", async () => {
    const alice = await opens();
    let isLost = false;
    server.fault = ({ method, path, body }) => {
      if (method !== "POST" || path !== "/api/chats" || isLost) return undefined;
      isLost = true;
      // It arrives, and its answer does not.
      void server.fetch(`http://carillon.test${path}`, {
        method,
        body: JSON.stringify(body),
        headers: server.calls.at(-1)?.headers as Headers,
      });
      return Promise.reject(new TypeError("network"));
    };
    const made = alice.chats.create({ kind: "group", participantIds: ["bob"] });
    await advance(2_000);
    await made;
    expect(server.chats.rows.size).toBe(2);
  });

  test("does not bring back what the user left while an answer was under way", async () => {
    const group = server.chats.between("alice", "bob", "group");
    const alice = await opens();
    let arrive = (): void => {};
    server.fault = async (call) => {
      if (!call.path.startsWith("/api/chats?")) return undefined;
      const answer = server.chats.serve("alice", call, new URL(call.path, "http://carillon.test"));
      await new Promise<void>((resolve) => {
        arrive = resolve;
      });
      return answer;
    };
    alice.client.close();
    alice.client.connect();
    await settle();
    await alice.chats.leave(group);
    arrive();
    await settle();
    expect(alice.list().chats.map((chat) => chat.id)).toEqual([id]);
  });

  test("hides a chat until the next message, and restores it", async () => {
    bobSays("old");
    const [phone, tablet] = [await opens(), await opens()];
    const open = tablet.shows(id);
    await settle();
    await phone.chats.hide(id);
    expect(phone.list()).toMatchObject({ chats: [], unreadCount: 0 });
    expect((await phone.chats.hidden()).items.map((chat) => chat.id)).toEqual([id]);
    // The server sends no event for hiding, so the other device learns of it from the next pong.
    await advance(60_000);
    expect(tablet.list()).toMatchObject({ chats: [], unreadCount: 0 });
    expect(open.bodies()).toEqual([]);
    bobSays("new");
    await advance(1_000);
    for (const { list } of [phone, tablet]) {
      expect(list()).toMatchObject({ chats: [{ id, unread: 1, hidden: false, lastMessage: { body: "new" } }] });
    }
    expect(open.bodies()).toEqual(["new"]);
    await phone.chats.hide(id);
    await phone.chats.restore(id);
    expect(phone.list().chats).toMatchObject([{ id, hidden: false, lastMessage: { body: "new" } }]);
    expect(phone.shows(id).state().chat).not.toBeNull();
  });
});
