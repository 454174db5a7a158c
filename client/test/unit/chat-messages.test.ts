// The messages of a chat: in order and without a gap, whatever frames do.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { begin, bobSays, end, id, numbered, opens, posts, server } from "../harness/chatting.js";
import { advance, settle } from "../harness/device.js";

beforeEach(begin);
afterEach(end);

describe("the messages of a chat", () => {
  test("are shown in order, those of one's own at once and only once", async () => {
    const [alice, bob] = [await opens(), await opens({ sub: "bob" })];
    const [phone, tablet] = [alice.shows(id), bob.shows(id)];
    await settle();
    expect(phone.state()).toMatchObject({ loading: false, messages: [], hasMore: false });
    phone.send("Hi");
    expect(phone.bodies()).toEqual(["Hi…"]);
    const [{ key } = { key: "" }] = phone.state().messages;
    await settle();
    expect(phone.bodies()).toEqual(["Hi"]);
    expect(phone.state().messages[0]).toMatchObject({ key, seq: 1, senderId: "alice" });
    tablet.send("Hi Alice");
    phone.send("How are you?");
    await settle();
    for (const shown of [phone, tablet]) expect(shown.bodies().length).toBe(3);
    expect(phone.bodies()).toEqual(tablet.bodies());
    // Over the socket, without a call.
    expect(posts()).toBe(0);
    // A message moves the read mark of its sender.
    expect(bob.list().chats[0]).toMatchObject({ unread: phone.bodies()[2] === "How are you?" ? 1 : 0 });
  });

  test("are loaded page by page", async () => {
    bobSays(...numbered(120));
    const open = (await opens()).shows(id);
    await settle();
    expect(open.bodies()).toEqual(numbered(120).slice(70));
    expect(open.state().hasMore).toBe(true);
    const loading = open.loadMore();
    expect(open.state().loadingMore).toBe(true);
    await loading;
    await open.loadMore();
    expect(open.bodies()).toEqual(numbered(120));
    expect(open.state()).toMatchObject({ hasMore: false, loadingMore: false });
  });

  test("have no gap when frames overtake each other", async () => {
    const open = (await opens()).shows(id);
    await settle();
    server.chats.frames = "held";
    bobSays("1", "2", "3");
    server.chats.held.reverse();
    const before = server.calls.length;
    server.chats.release();
    await advance(300);
    expect(open.bodies()).toEqual(["1", "2", "3"]);
    expect(server.calls.slice(before).filter(({ path }) => path.includes("messages")).length).toBe(0);
  });

  test("have no gap when a frame is lost: a later one waits for 250 ms", async () => {
    const open = (await opens()).shows(id);
    bobSays("1");
    await settle();
    server.chats.frames = "lost";
    bobSays("2");
    server.chats.frames = "pushed";
    bobSays("3");
    await advance(200);
    expect(open.bodies()).toEqual(["1"]);
    await advance(100);
    expect(open.bodies()).toEqual(["1", "2", "3"]);
  });

  test("come with the next ping when the last frame is lost", async () => {
    const alice = await opens();
    const open = alice.shows(id);
    await advance(3_000);
    server.chats.frames = "lost";
    bobSays("lost");
    await advance(61_000);
    expect(open.bodies()).toEqual(["lost"]);
    expect(alice.list()).toMatchObject({ unreadCount: 1, chats: [{ lastMessage: { body: "lost" } }] });
  });

  test("are fetched when they are too large for a frame, those of one's own too", async () => {
    const alice = await opens();
    const open = alice.shows(id);
    await settle();
    server.chats.frames = "fetch";
    bobSays("large");
    await advance(300);
    expect(open.bodies()).toEqual(["large"]);
    open.send("large too");
    await advance(300);
    expect(open.bodies()).toEqual(["large", "large too"]);
    expect(alice.list().chats[0]).toMatchObject({ lastMessage: { body: "large too" } });
    expect(alice.problems).toEqual([]);
  });

  test("are found after a long absence, without a gap", async () => {
    bobSays("before");
    const alice = await opens();
    const open = alice.shows(id);
    await settle();
    alice.client.close();
    bobSays(...numbered(300));
    alice.client.connect();
    await advance(1_000);
    const shown = open.state().messages.map(({ seq }) => seq);
    expect(shown.at(-1)).toBe(301);
    expect(shown).toEqual(Array.from(shown, (_, index) => 301 - shown.length + 1 + index));
    while (open.state().hasMore) await open.loadMore();
    expect(open.bodies()).toEqual(["before", ...numbered(300)]);
  });

  test("come by polling too", async () => {
    const open = (await opens({ transports: ["polling"] })).shows(id);
    await settle();
    bobSays("polled");
    await advance(6_000);
    expect(open.bodies()).toEqual(["polled"]);
  });

  test("are loaded only once a component shows them", async () => {
    const alice = await opens();
    const open = alice.shows(id);
    await settle();
    open.hide();
    server.chats.frames = "lost";
    bobSays("1");
    server.chats.frames = "pushed";
    bobSays("2");
    const before = server.calls.length;
    await advance(2_000);
    expect(server.calls.slice(before).filter(({ path }) => path.includes("messages"))).toEqual([]);
    const again = alice.shows(id);
    await settle();
    expect(again.bodies()).toEqual(["1", "2"]);
  });

  test("of a user who is erased lose their content", async () => {
    bobSays("secret", "kept");
    const open = (await opens()).shows(id);
    await settle();
    const [message] = server.chats.rows.get(id)?.messages ?? [];
    const erased = { ...message, senderId: null, clientId: null, body: "", erased: true };
    server.push({ type: "message", chatId: id, seq: 1, message: erased });
    expect(open.bodies()).toEqual(["", "kept"]);
  });

  test("of a chat that is none of the user's are empty, and asked for only once", async () => {
    const alice = await opens();
    const open = alice.shows("nowhere");
    await advance(5_000);
    expect(alice.list()).toMatchObject({ chats: [{ id }], error: null });
    expect(open.state()).toMatchObject({ chat: null, messages: [], loading: false });
    expect(server.callsTo("/api/chats/nowhere").length).toBeLessThanOrEqual(3);
  });

  test("malformed frames break nothing", async () => {
    const alice = await opens();
    const open = alice.shows(id);
    await settle();
    for (const frame of [
      { type: "message", chatId: id, seq: 1 },
      { type: "message", chatId: id, seq: 1, message: { id: 7, chatId: id } },
      { type: "message", chatId: id, seq: 1, message: { id: "m", chatId: "other", seq: 1, body: "", createdAt: "" } },
      { type: "chat", chat: { id } },
      { type: "receipt", chatId: id, userId: null, seq: "7" },
      { type: "typing", chatId: 7 },
      { type: "sent", ref: "chat-99" },
    ])
      server.push(frame);
    bobSays("Hi");
    await advance(1_000);
    expect(open.bodies()).toEqual(["Hi"]);
    expect(alice.problems).toEqual([]);
  });
});
