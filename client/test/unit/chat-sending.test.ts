// What the user says, reads and types: shown at once, told to the others, and stored once.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { begin, bobSays, browser, end, id, opens, opensTab, posts, server } from "../harness/chatting.js";
import { advance, settle } from "../harness/device.js";
import { refusal } from "../harness/server.js";

beforeEach(begin);
afterEach(end);

describe("sending", () => {
  test("repeats over HTTP what a dead socket did not answer, and the server stores it once", async () => {
    const open = (await opens()).shows(id);
    await settle();
    const { received } = server;
    // The message arrives, and neither the reply nor the frame does.
    server.received = (socket, text) => {
      if (!text.includes("sendMessage")) return received.call(server, socket, text);
      server.chats.frames = "lost";
      server.chats.received("alice", JSON.parse(text));
    };
    open.send("Hi");
    await advance(1_000);
    expect(open.bodies()).toEqual(["Hi…"]);
    await advance(4_000);
    expect(open.bodies()).toEqual(["Hi"]);
    expect(server.chats.bodies(id)).toEqual(["Hi"]);
    expect(posts()).toBe(1);
  });

  test("keeps the order while the server is away, and stores each message once", async () => {
    const open = (await opens({ transports: ["polling"] })).shows(id);
    await settle();
    let failures = 3;
    server.fault = ({ method, path }) =>
      method === "POST" && path.endsWith("/messages") && failures-- > 0 ? refusal(503, "store_unavailable") : undefined;
    for (const body of ["1", "2", "3"]) open.send(body);
    expect(open.bodies()).toEqual(["1…", "2…", "3…"]);
    await advance(10_000);
    expect(server.chats.bodies(id)).toEqual(["1", "2", "3"]);
    expect(open.bodies()).toEqual(["1", "2", "3"]);
  });

  test("waits as long as the server says", async () => {
    const open = (await opens({ transports: ["polling"] })).shows(id);
    await settle();
    let isLimited = true;
    server.fault = ({ method, path }) =>
      method === "POST" && path.endsWith("/messages") && isLimited ? refusal(429, "rate_limited", 4_000) : undefined;
    open.send("Hi");
    await advance(1_000);
    isLimited = false;
    await advance(2_500);
    expect(open.bodies()).toEqual(["Hi…"]);
    await advance(1_000);
    expect(open.bodies()).toEqual(["Hi"]);
  });

  test("shows what is refused with the reason, holds up nothing behind it, and sends it again", async () => {
    const alice = await opens();
    const open = alice.shows(id);
    await settle();
    const row = server.chats.rows.get(id);
    if (row) row.status = "DECLINED";
    const refused = open.send("Hi");
    await settle();
    expect(open.bodies()).toEqual(["Hi!"]);
    expect(open.state().messages[0]?.error).toMatchObject({ code: "conflict", status: 409, source: "change" });
    if (row) row.status = "ACCEPTED";
    open.send("there");
    await settle();
    expect(open.bodies()).toEqual(["there", "Hi!"]);
    open.retry(refused);
    open.retry(refused);
    await settle();
    expect(open.bodies()).toEqual(["there", "Hi"]);
    expect(server.chats.bodies(id)).toEqual(["there", "Hi"]);
  });

  test("forgets what failed when the user discards it", async () => {
    const open = (await opensTab()).shows(id);
    await settle();
    const row = server.chats.rows.get(id);
    if (row) row.status = "DECLINED";
    open.discard(open.send("Hi"));
    // It is on its way, so it cannot be taken back.
    expect(open.bodies()).toEqual(["Hi…"]);
    await settle();
    open.discard(open.state().messages[0]?.clientId ?? "");
    expect(open.bodies()).toEqual([]);
    expect(Object.keys(browser.localStorage).filter((name) => name.includes("outbox"))).toEqual([]);
  });

  test("goes on after a reload, and stores each message once", async () => {
    const before = await opensTab({ transports: ["polling"] });
    const open = before.shows(id);
    await settle();
    // The first one arrives, and its answer does not.
    server.fault = ({ method, path, body }) => {
      if (method !== "POST" || !path.endsWith("/messages")) return undefined;
      if (body?.["body"] === "1") server.chats.received("alice", { action: "sendMessage", chatId: id, ...body });
      return Promise.reject(new TypeError("network"));
    };
    for (const body of ["1", "2"]) open.send(body);
    await settle();
    before.client.close();
    server.fault = () => undefined;
    const after = (await opensTab()).shows(id);
    await advance(6_000);
    expect(after.bodies()).toEqual(["1", "2"]);
    expect(server.chats.bodies(id)).toEqual(["1", "2"]);
    expect(Object.keys(browser.localStorage).filter((name) => name.includes("outbox"))).toEqual([]);
  });

  test("fetches a message whose reply is too large, although its frame is lost", async () => {
    const open = (await opens()).shows(id);
    await settle();
    const { received } = server;
    server.received = (socket, text) => {
      if (!text.includes("sendMessage")) return received.call(server, socket, text);
      server.chats.frames = "lost";
      const { ref, ...frame } = JSON.parse(text);
      server.chats.received("alice", frame);
      socket.receive(JSON.stringify({ type: "fetch", ref, chatId: id, seq: 1 }));
    };
    open.send("Hi");
    await settle();
    expect(open.bodies()).toEqual(["Hi"]);
    expect(posts()).toBe(0);
  });

  test("sends a message that is too large for a frame over HTTP", async () => {
    const open = (await opens()).shows(id);
    await settle();
    open.send("Hi", { text: "x".repeat(12_000) });
    await settle();
    expect(open.bodies()).toEqual(["Hi"]);
    expect(posts()).toBe(1);
  });
});

describe("reading", () => {
  test("shows at once, on all devices, and to the others", async () => {
    bobSays("1", "2");
    const [phone, tablet, bob] = [await opens(), await opens(), await opens({ sub: "bob" })];
    const open = phone.shows(id);
    await settle();
    expect(open.state().chat?.unread).toBe(2);
    const done = open.markAsRead();
    expect(phone.list()).toMatchObject({ unreadCount: 0, chats: [{ unread: 0, readSeq: 2 }] });
    await done;
    await settle();
    expect(tablet.list().unreadCount).toBe(0);
    expect(bob.shows(id).state().chat?.participants).toMatchObject([{ userId: "alice", readSeq: 2 }, {}]);
    // What is read already needs no call.
    const sent = server.sockets[0]?.sent.length;
    await open.markAsRead();
    expect(server.sockets[0]?.sent.length).toBe(sent);
  });

  test("is repeated after a reload until the server knows", async () => {
    bobSays("1");
    const before = await opensTab({ transports: ["polling"] });
    await settle();
    server.fault = ({ path }) => (path.endsWith("/read") ? refusal(503, "store_unavailable") : undefined);
    void before.shows(id).markAsRead();
    await advance(1_000);
    before.client.close();
    server.fault = () => undefined;
    await opensTab();
    await advance(1_000);
    expect(server.chats.member(id, "alice").readSeq).toBe(1);
  });
});

describe("typing", () => {
  test("is shown for 5 s, or until the message comes", async () => {
    const [alice, bob] = [(await opens()).shows(id), (await opens({ sub: "bob" })).shows(id)];
    await settle();
    bob.setDraft("H");
    await settle();
    expect(alice.state().typing).toEqual(["bob"]);
    await advance(4_900);
    expect(alice.state().typing).toEqual(["bob"]);
    await advance(200);
    expect(alice.state().typing).toEqual([]);
    bob.setDraft("Hi");
    await settle();
    bob.send("Hi");
    await settle();
    expect(alice.state().typing).toEqual([]);
    bob.setDraft("W");
    await settle();
    bob.setDraft("");
    await settle();
    expect(alice.state().typing).toEqual([]);
  });

  test("is told again while it goes on, but not with every key", async () => {
    const alice = (await opens()).shows(id);
    await settle();
    for (let n = 0; n < 60; n++) {
      alice.setDraft("x".repeat(n + 1));
      await advance(100);
    }
    expect(server.sockets[0]?.sent.filter(({ action }) => action === "typing").length).toBe(2);
  });
});
