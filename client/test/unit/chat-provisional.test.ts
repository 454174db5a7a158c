// Messages that only Redis has: shown at once behind the others, and put in their place when they are written.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { StoredMessage } from "../../src/chat.js";
import { begin, bobSays, browser, end, id, opens, opensTab, posts, server } from "../harness/chatting.js";
import { advance, settle } from "../harness/device.js";
import { numbers } from "../harness/numbers.js";
import { refusal } from "../harness/server.js";
import type { Shown, Talker } from "../harness/talker.js";

beforeEach(begin);
afterEach(end);

const bobSaysFast = (...bodies: string[]): void => {
  for (const body of bodies) server.chats.sayFast(id, "bob", body);
};
const seqs = (shown: Shown): (number | null)[] => shown.state().messages.map(({ seq }) => seq);
const messageCalls = (): number => server.calls.filter(({ path }) => path.includes("/messages")).length;

async function shows(): Promise<[Shown, Talker]> {
  const alice = await opens();
  const shown = alice.shows(id);
  bobSays("old");
  await advance(3_000);
  return [shown, alice];
}

describe("a provisional message", () => {
  test("shows behind the others as it comes, and moves and counts nothing", async () => {
    const [shown, alice] = await shows();
    const calls = server.calls.length;
    server.chats.isRedisAway = true;
    bobSaysFast("1", "2");
    expect(shown.bodies()).toEqual(["old", "1", "2"]);
    expect(seqs(shown)).toEqual([1, null, null]);
    expect(shown.state().messages[1]).toMatchObject({ state: "sent", durability: "redis" });
    // A durable message is the next one in the chat.
    bobSays("3");
    expect(shown.bodies()).toEqual(["old", "3", "1", "2"]);
    expect(alice.list()).toMatchObject({ unreadCount: 2, chats: [{ lastSeq: 2, unread: 2 }] });
    await advance(10_000);
    expect(server.calls.length).toBe(calls);
  });

  test("takes its place when it is written, in the same row, and counts then", async () => {
    const [shown, alice] = await shows();
    bobSaysFast("1", "2");
    const keys = shown.state().messages.map(({ key }) => key);
    server.chats.drain();
    expect(shown.bodies()).toEqual(["old", "1", "2"]);
    expect(seqs(shown)).toEqual([1, 2, 3]);
    expect(shown.state().messages.map(({ key }) => key)).toEqual(keys);
    expect(shown.state().messages[1]).toMatchObject({ durability: "durable" });
    expect(alice.list()).toMatchObject({ unreadCount: 3, chats: [{ lastSeq: 3 }] });
  });

  test("that comes twice, or after its place is known, changes nothing", async () => {
    const [shown] = await shows();
    server.chats.frames = "held";
    bobSaysFast("1");
    const [frame] = server.chats.held.splice(0);
    frame?.();
    frame?.();
    expect(shown.bodies()).toEqual(["old", "1"]);
    server.chats.frames = "pushed";
    server.chats.drain();
    frame?.();
    expect(shown.bodies()).toEqual(["old", "1"]);
    expect(seqs(shown)).toEqual([1, 2]);
  });

  test("stays where it is until the messages before it are there", async () => {
    const [shown] = await shows();
    bobSaysFast("2", "3");
    server.chats.isRedisAway = true;
    server.chats.frames = "lost";
    bobSays("1");
    server.chats.frames = "pushed";
    server.chats.isRedisAway = false;
    server.chats.drain();
    expect(shown.bodies()).toEqual(["old", "2", "3"]);
    expect(seqs(shown)).toEqual([1, null, null]);
    await advance(300);
    expect(shown.bodies()).toEqual(["old", "1", "2", "3"]);
    expect(seqs(shown)).toEqual([1, 2, 3, 4]);
  });

  test("takes its place by a page when the frame is lost", async () => {
    const [shown] = await shows();
    bobSaysFast("1");
    server.chats.frames = "lost";
    server.chats.drain();
    server.chats.frames = "pushed";
    bobSays("2");
    expect(shown.bodies()).toEqual(["old", "1"]);
    await advance(300);
    expect(shown.bodies()).toEqual(["old", "1", "2"]);
    expect(seqs(shown)).toEqual([1, 2, 3]);
  });

  test("is no part of paging, of reading, and of what is kept on the device", async () => {
    bobSays(...Array.from({ length: 60 }, (_, n) => `${n}`));
    const alice = await opensTab();
    const shown = alice.shows(id);
    await settle();
    server.chats.isRedisAway = true;
    bobSaysFast("fast");
    await shown.loadMore();
    expect(seqs(shown)).toEqual([...Array.from({ length: 60 }, (_, n) => n + 1), null]);
    await shown.markAsRead();
    expect(server.chats.member(id, "alice").readSeq).toBe(60);
    expect(alice.list().unreadCount).toBe(0);
    await advance(2_000);
    const copies = Object.entries(browser.localStorage).filter(([name]) => name.endsWith(`copy ${id}`));
    expect(copies.length).toBe(1);
    expect(copies[0]?.[1]).not.toContain("fast");
  });

  test("leaves a chat loading until the others are known", async () => {
    const alice = await opens();
    let release = (): void => {};
    server.fault = ({ path }) =>
      path.includes("/messages")
        ? new Promise((resolve) => {
            release = () => resolve(undefined);
          })
        : undefined;
    bobSays("1");
    const shown = alice.shows(id);
    await settle();
    bobSaysFast("2");
    expect(shown.bodies()).toEqual(["2"]);
    expect(shown.state().loading).toBe(true);
    server.fault = () => undefined;
    release();
    await settle();
    expect(shown.bodies()).toEqual(["1", "2"]);
    expect(shown.state().loading).toBe(false);
  });

  test("goes with the rest when the chat is deleted", async () => {
    const [shown, alice] = await shows();
    bobSaysFast("1");
    await alice.chats.hide(id);
    expect(shown.bodies()).toEqual([]);
    await alice.chats.restore(id);
    await settle();
    expect(shown.bodies()).toEqual(["old", "1"]);
    expect(seqs(shown)).toEqual([1, 2]);
  });

  test("that comes after its chat was deleted does not show", async () => {
    const [shown, alice] = await shows();
    server.chats.frames = "held";
    bobSaysFast("1");
    const [frame] = server.chats.held.splice(0);
    server.chats.frames = "pushed";
    server.chats.drain();
    await alice.chats.hide(id);
    frame?.();
    expect(shown.bodies()).toEqual([]);
  });

  test("that Redis lost stays until the page is left", async () => {
    const [shown] = await shows();
    bobSaysFast("lost");
    server.chats.log = [];
    bobSays("later");
    await advance(120_000);
    expect(shown.bodies()).toEqual(["old", "later", "lost"]);
    server.chats.sayFast(id, "bob", "lost", "bob-other");
    server.chats.drain();
    expect(seqs(shown).at(-1)).toBe(null);
    // Repeated under its own name, it is the same message.
    server.chats.sayFast(id, "bob", "lost", shown.state().messages.at(-1)?.clientId ?? "");
    server.chats.drain();
    expect(seqs(shown)).toEqual([1, 2, 3, 4]);
  });

  test("is what the list shows of the chat, at the top, until something is written later", async () => {
    const [, alice] = await shows();
    const other = server.chats.between("alice", "carol");
    await advance(1);
    server.chats.say(other, "carol", "newest");
    await advance(10);
    const top = (): unknown => {
      const [chat] = alice.list().chats;
      return [chat?.id, chat?.lastMessage?.body, chat?.lastMessage?.seq];
    };
    expect(top()).toEqual([other, "newest", 1]);
    server.chats.isRedisAway = true;
    server.chats.frames = "held";
    bobSaysFast("fast");
    const [frame] = server.chats.held.splice(0);
    server.chats.frames = "pushed";
    frame?.();
    expect(top()).toEqual([id, "fast", null]);
    expect(alice.list().chats[0]).toMatchObject({ lastSeq: 1, unread: 1 });
    await advance(10);
    bobSays("later");
    expect(top()).toEqual([id, "later", 2]);
    frame?.();
    expect(top()).toEqual([id, "later", 2]);
  });

  test("does not bring a deleted chat back before it is written", async () => {
    const [, alice] = await shows();
    await alice.chats.hide(id);
    bobSaysFast("1");
    expect(alice.list().chats).toEqual([]);
    server.chats.drain();
    expect(alice.list().chats).toMatchObject([{ id, lastMessage: { body: "1", seq: 2 } }]);
  });

  test("of a chat that is not listed yet makes the client ask for the chat", async () => {
    const [, alice] = await shows();
    const other = server.chats.between("alice", "carol");
    server.chats.sayFast(other, "carol", "Hi");
    await settle();
    expect(alice.list().chats.find((chat) => chat.id === other)).toMatchObject({ lastSeq: 1, unread: 1 });
  });
});

describe("sending with `fast`", () => {
  test("asks for it over the socket and over HTTP, and only then", async () => {
    const [shown] = await shows();
    shown.send("1", {}, { accept: "fast" });
    shown.send("2");
    shown.send("x".repeat(11_000), {}, { accept: "fast" });
    await settle();
    const frames = server.sockets.flatMap(({ sent }) => sent).filter(({ action }) => action === "sendMessage");
    expect(frames.map(({ accept }) => accept)).toEqual(["fast", undefined]);
    const calls = server.calls.filter(({ method, path }) => method === "POST" && path.endsWith("/messages"));
    expect(calls.map(({ body }) => body?.["accept"])).toEqual(["fast"]);
  });

  test.each(["websocket", "polling"] as const)("the message is sent, and has its place later, over %s", async (way) => {
    const shown = (await opens({ transports: [way] })).shows(id);
    await settle();
    const clientId = shown.send("Hi", {}, { accept: "fast" });
    expect(shown.state().messages[0]).toMatchObject({ state: "sending", seq: null, durability: null });
    await settle();
    expect(shown.state().messages).toMatchObject([{ key: clientId, state: "sent", seq: null, durability: "redis" }]);
    server.chats.drain();
    await advance(6_000);
    expect(shown.state().messages).toMatchObject([{ key: clientId, state: "sent", seq: 1, durability: "durable" }]);
    expect(shown.bodies()).toEqual(["Hi"]);
  });

  test("the reply may come after the place", async () => {
    const [shown] = await shows();
    const { received } = server.chats;
    server.chats.received = (user, frame) => {
      const reply = received.call(server.chats, user, frame);
      server.chats.drain();
      return reply;
    };
    shown.send("Hi", {}, { accept: "fast" });
    await settle();
    expect(seqs(shown)).toEqual([1, 2]);
    expect(shown.bodies()).toEqual(["old", "Hi"]);
  });

  test("the place may come before the messages in front of it, and the reply after both", async () => {
    const [shown] = await shows();
    const { received } = server.chats;
    server.chats.received = (user, frame) => {
      const reply = received.call(server.chats, user, frame);
      server.chats.isRedisAway = true;
      server.chats.frames = "lost";
      bobSays("between");
      server.chats.frames = "pushed";
      server.chats.isRedisAway = false;
      server.chats.drain();
      return reply;
    };
    shown.send("Hi", {}, { accept: "fast" });
    await settle();
    expect(shown.bodies()).toEqual(["old", "Hi"]);
    await advance(300);
    expect(shown.bodies()).toEqual(["old", "between", "Hi"]);
    expect(seqs(shown)).toEqual([1, 2, 3]);
  });

  test("keeps the order with those of others, and those that are being sent at the end", async () => {
    const [shown] = await shows();
    server.chats.isRedisAway = true;
    bobSaysFast("1");
    shown.send("2", {}, { accept: "fast" });
    await settle();
    bobSaysFast("3");
    shown.send("4");
    expect(shown.bodies()).toEqual(["old", "1", "2", "3", "4…"]);
  });

  test("what Redis lost is sent again, and is the same message", async () => {
    const [shown] = await shows();
    const clientId = shown.send("Hi", {}, { accept: "fast" });
    await settle();
    server.chats.log = [];
    await advance(35_000);
    server.chats.drain();
    expect(shown.state().messages[1]).toMatchObject({ key: clientId, seq: 2, state: "sent" });
    expect(server.chats.bodies(id)).toEqual(["old", "Hi"]);
    const calls = messageCalls();
    await advance(120_000);
    expect(messageCalls()).toBe(calls);
  });

  test("what Redis lost and the server now refuses has failed", async () => {
    const [shown] = await shows();
    const clientId = shown.send("Hi", {}, { accept: "fast" });
    await settle();
    server.chats.log = [];
    const row = server.chats.rows.get(id);
    if (row) row.status = "DECLINED";
    await advance(35_000);
    expect(shown.bodies()).toEqual(["old", "Hi!"]);
    shown.discard(clientId);
    expect(shown.bodies()).toEqual(["old"]);
  });

  test("goes on after a reload, and is stored once", async () => {
    const before = await opensTab();
    const shown = before.shows(id);
    await settle();
    shown.send("kept", {}, { accept: "fast" });
    await settle();
    shown.send("lost", {}, { accept: "fast" });
    await settle();
    expect(shown.state().messages.map(({ state }) => state)).toEqual(["sent", "sent"]);
    server.chats.log.splice(1);
    before.client.close();
    const after = (await opensTab()).shows(id);
    await advance(5_000);
    server.chats.drain();
    expect(after.bodies()).toEqual(["kept", "lost"]);
    expect(seqs(after)).toEqual([1, 2]);
    expect(server.chats.bodies(id)).toEqual(["kept", "lost"]);
    expect(Object.keys(browser.localStorage).filter((name) => name.includes("outbox"))).toEqual([]);
  });

  test("a refusal after it was accepted by a frame changes nothing", async () => {
    const shown = (await opens({ transports: ["websocket"] })).shows(id);
    await settle();
    const { received } = server;
    server.received = (socket, text) => {
      if (!text.includes("sendMessage")) return received.call(server, socket, text);
      server.chats.received("alice", JSON.parse(text));
    };
    server.fault = ({ method, path }) =>
      method === "POST" && path.endsWith("/messages") ? refusal(403, "forbidden") : undefined;
    shown.send("Hi", {}, { accept: "fast" });
    await advance(5_000);
    expect(shown.bodies()).toEqual(["Hi"]);
    expect(posts()).toBe(1);
  });
});

test("all tabs show a provisional message, and its place", async () => {
  const tabs = [(await opensTab()).shows(id), (await opensTab()).shows(id)] as const;
  await advance(3_000);
  bobSaysFast("1");
  await settle();
  for (const tab of tabs) expect(tab.bodies()).toEqual(["1"]);
  tabs[1].send("2", {}, { accept: "fast" });
  await settle();
  for (const tab of tabs) expect(tab.bodies()).toEqual(["1", "2"]);
  server.chats.drain();
  await settle();
  for (const tab of tabs) expect(seqs(tab)).toEqual([1, 2]);
});

test.each(Array.from({ length: 30 }, (_, seed) => seed + 1))("in random order, seed %i", async (seed) => {
  const below = numbers(seed);
  const alice = await opens();
  const shown = alice.shows(id);
  await advance(3_000);
  const held: (() => void)[] = [];
  const { chats } = server;
  let count = 0;
  /** Does something whose frames come now, later, twice or never. */
  function tells(act: () => void): void {
    chats.frames = "held";
    act();
    chats.frames = "pushed";
    for (const frame of chats.held.splice(0)) {
      const way = below(5);
      if (way < 2) frame();
      if (way > 0 && way < 4) held.push(frame);
    }
  }
  const lost = new Set<string>();
  const steps: (() => unknown)[] = [
    () => tells(() => chats.sayFast(id, "bob", `b${++count}`)),
    () => tells(() => chats.say(id, "bob", `b${++count}`)),
    () => tells(() => chats.drain()),
    () => held.splice(below(held.length + 1), 1)[0]?.(),
    () => {
      for (const { message } of chats.log.splice(0)) if (message.senderId === "bob") lost.add(message.body);
    },
    () => {
      shown.send(`a${++count}`, {}, below(2) === 0 ? { accept: "fast" } : {});
      return settle();
    },
    () => advance(below(1_000)),
    () => shown.markAsRead(),
  ];
  function check(): void {
    const { messages } = shown.state();
    expect(new Set(messages.map(({ key }) => key)).size).toBe(messages.length);
    // Those with a place stand first. One of one's own may know its place before the history reaches there.
    const first = messages.findIndex(({ seq }, index) => seq !== index + 1);
    const behind = first < 0 ? [] : messages.slice(first);
    for (const { seq, senderId } of behind) if (senderId === "bob") expect(seq).toBeNull();
  }
  for (let n = 0; n < 40; n++) {
    await steps[below(steps.length)]?.();
    check();
  }
  // What Redis lost of alice is repeated.
  await advance(35_000);
  for (const frame of held.splice(0)) frame();
  chats.drain();
  bobSays("end");
  await advance(35_000);
  chats.drain();
  await advance(1_000);
  check();
  const stored: readonly StoredMessage[] = chats.rows.get(id)?.messages ?? [];
  const { messages } = shown.state();
  expect(messages.filter(({ seq }) => seq !== null).map(({ body }) => body)).toEqual(stored.map(({ body }) => body));
  const ghosts = messages.filter(({ seq }) => seq === null).map(({ body }) => body);
  for (const body of ghosts) expect(lost).toContain(body);
  for (const { body } of messages.filter(({ senderId }) => senderId === "alice")) expect(ghosts).not.toContain(body);
  expect(alice.list().chats[0]).toMatchObject({ lastSeq: stored.length });
});
