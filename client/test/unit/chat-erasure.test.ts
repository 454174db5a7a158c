// What an erased user said disappears from every device. The version of the chat tells, and so do joins and renames.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chatsOf } from "../../src/chat.js";
import { begin, browser, end, numbered, opens, opensTab, server } from "../harness/chatting.js";
import { advance, connected, deviceOf, settle } from "../harness/device.js";
import type { Shown } from "../harness/talker.js";

/** A group of alice, bob and carol. */
let group: string;

beforeEach(async () => {
  begin();
  await advance(1_000);
  group = server.chats.between("alice", "bob", "group");
  const members = new URL(`http://carillon.test/api/chats/${group}/members`);
  server.chats.serve("alice", { method: "POST", body: { userIds: ["carol"] } }, members);
});
afterEach(end);

const say = (user: string, ...bodies: string[]): void => {
  for (const body of bodies) server.chats.say(group, user, body);
};

const reads = (): string[] =>
  server.calls.filter(({ method, path }) => method === "GET" && path.includes("/messages?")).map(({ path }) => path);

/** The calls for messages that something causes. */
async function readsOf(run: () => unknown, ms = 1_000): Promise<string[]> {
  const before = reads().length;
  await run();
  await advance(ms);
  return reads().slice(before);
}

/** Later than any of the three reads again. */
const TURN_MS = 20;

/** Holds answers to alice's calls for messages back, until they are released one by one. */
function hold(): () => Promise<void> {
  const held: (() => void)[] = [];
  server.fault = async (call) => {
    if (call.method !== "GET" || !call.path.includes("/messages?")) return undefined;
    const answer = server.chats.serve("alice", call, new URL(call.path, "http://carillon.test"));
    await new Promise<void>((release) => held.push(release));
    return answer;
  };
  return async () => {
    held.shift()?.();
    await settle();
  };
}

/** What a page shows from now on, each picture once. */
function pictures(open: Shown): string[][] {
  const all: string[][] = [];
  open.store.subscribe(() => {
    const now = open.bodies();
    if (open.state().loading) all.push(["loading"]);
    else if (`${all.at(-1)}` !== `${now}`) all.push(now);
  });
  return all;
}

describe("what an erased user said", () => {
  test("disappears from an open chat, from the list and from the device", async () => {
    say("bob", "secret");
    say("carol", "kept");
    say("bob", "secret too");
    const alice = await opensTab();
    const open = alice.shows(group);
    await advance(2_000);
    expect(JSON.stringify(browser.localStorage)).toContain("secret");
    server.chats.erase("bob");
    await advance(2_000);
    expect(open.bodies()).toEqual(["", "kept", ""]);
    expect(open.state().messages[0]).toMatchObject({ senderId: null, erased: true });
    expect(alice.list().chats[0]).toMatchObject({ id: group, lastMessage: { body: "", erased: true } });
    expect(JSON.stringify(browser.localStorage)).toContain("kept");
    expect(JSON.stringify(browser.localStorage)).not.toContain("secret");
  });

  test("disappears with the next ping when the frame is lost", async () => {
    say("bob", "secret");
    const alice = await opens();
    const open = alice.shows(group);
    await advance(3_000);
    server.chats.erase("bob", false);
    await advance(61_000);
    expect(open.bodies()).toEqual([""]);
    expect(alice.list().chats[0]).toMatchObject({ lastMessage: { erased: true } });
  });

  test("disappears from the older pages that show, which stay", async () => {
    say("bob", ...numbered(400));
    const open = (await opens()).shows(group);
    await settle();
    for (let pages = 0; pages < 6; pages++) await open.loadMore();
    const shown = open.state().messages.map(({ seq }) => seq);
    expect(shown.length).toBe(350);
    expect(await readsOf(() => server.chats.erase("bob"))).toHaveLength(3);
    expect(open.bodies().every((body) => body === "")).toBe(true);
    expect(open.state().messages.map(({ seq }) => seq)).toEqual(expect.arrayContaining(shown));
  });

  test("is read again as far as 1,050 messages back, and what is older is dropped", async () => {
    say("bob", ...numbered(1_200));
    const open = (await opens()).shows(group);
    await settle();
    while (open.state().hasMore) await open.loadMore();
    expect(await readsOf(() => server.chats.erase("bob"))).toHaveLength(6);
    expect(open.bodies()).toEqual(Array.from({ length: 1_050 }, () => ""));
    expect(open.state().hasMore).toBe(true);
    await open.loadMore();
    expect(open.bodies()).toEqual(Array.from({ length: 1_100 }, () => ""));
  });

  test("does not come back with an older page that was asked for before", async () => {
    say("bob", ...numbered(60));
    const open = (await opens()).shows(group);
    await settle();
    const release = hold();
    const loading = open.loadMore();
    await settle();
    // The answer that is held was read before the erasure, and arrives after the newest page was read again.
    server.fault = () => undefined;
    server.chats.erase("bob");
    await advance(1_000);
    expect(open.bodies()).toEqual(Array.from({ length: 50 }, () => ""));
    await release();
    await loading;
    expect(open.bodies().filter((body) => body !== "")).toEqual([]);
    await open.loadMore();
    expect(open.bodies()).toEqual(Array.from({ length: 60 }, () => ""));
  });

  test("is not in a copy of a chat that no page shows, and does not show when one does", async () => {
    say("bob", "secret");
    const before = await opensTab();
    const open = before.shows(group);
    await advance(2_000);
    open.hide();
    // Another message is not copied before the history is read again.
    say("bob", "secret too");
    expect(await readsOf(() => server.chats.erase("bob"), 2_000)).toEqual([]);
    expect(JSON.stringify(browser.localStorage)).not.toContain("secret");
    const again = before.shows(group);
    await advance(2_000);
    expect(again.bodies()).toEqual(["", ""]);
    expect(Object.keys(browser.localStorage).some((name) => name.endsWith(`copy ${group}`))).toBe(true);
  });

  test("is removed from a device that has not opened the chat since it started", async () => {
    say("bob", "secret");
    const before = await opensTab();
    before.shows(group);
    await advance(2_000);
    before.client.close();
    const after = await opensTab();
    expect(JSON.stringify(browser.localStorage)).toContain("secret");
    server.chats.erase("bob");
    await advance(2_000);
    expect(JSON.stringify(browser.localStorage)).not.toContain("secret");
    after.client.close();
    server.fault = () => Promise.reject(new TypeError("network"));
    expect((await opensTab({ userId: "alice" })).shows(group).bodies()).toEqual([]);
  });

  test("does not stay in a copy of a device that was away, below a page of newer messages", async () => {
    say("bob", "secret");
    const before = await opensTab();
    before.shows(group);
    await advance(2_000);
    before.client.close();
    server.chats.erase("bob", false);
    say("carol", ...numbered(50));
    const open = (await opensTab()).shows(group);
    await advance(1_000);
    expect(open.bodies().slice(-50)).toEqual(numbered(50));
    expect(open.bodies()).not.toContain("secret");
  });
});

describe("a later version of a chat", () => {
  test("is read for once, and neither at first nor when it is told again", async () => {
    say("bob", "1", "2");
    const alice = await opens();
    let open: Shown | undefined;
    expect(
      await readsOf(() => {
        open = alice.shows(group);
      }),
    ).toHaveLength(1);
    const carol = await opens({ sub: "carol" });
    expect(await readsOf(() => carol.chats.rename(group, "Lunch"))).toHaveLength(1);
    const { lastMessage: _, readSeq: __, unread: ___, hidden: ____, ...chat } = alice.list().chats[0] ?? {};
    expect(
      await readsOf(async () => {
        server.push({ type: "chat", chat });
        say("bob", "3");
        server.chats.received("bob", { action: "readChat", chatId: group, seq: 3 });
        await advance(61_000);
      }),
    ).toEqual([]);
    expect(open?.bodies()).toEqual(["1", "2", "3"]);
  });

  test("is not asked for when a page is loaded together with the list", async () => {
    say("bob", "1");
    const device = deviceOf(server);
    const open = chatsOf(device.client).open(group);
    open.store.subscribe(() => {});
    expect(await readsOf(() => connected(device))).toHaveLength(1);
    expect(open.store.getState()).toMatchObject({ chat: { id: group }, messages: [{ body: "1" }] });
    device.client.close();
  });

  test("is read for once more after any number of them while an answer is under way", async () => {
    say("bob", "secret");
    const alice = await opens();
    const open = alice.shows(group);
    await settle();
    const carol = await opens({ sub: "carol" });
    const release = hold();
    const before = reads().length;
    await carol.chats.rename(group, "Lunch");
    await advance(TURN_MS);
    server.chats.erase("bob");
    for (const title of ["Dinner", "Supper"]) await carol.chats.rename(group, title);
    await advance(TURN_MS);
    expect(reads().length - before).toBe(1);
    // This one was read before the erasure.
    await release();
    expect(open.bodies()).toEqual(["secret"]);
    await release();
    expect(open.bodies()).toEqual([""]);
    await release();
    await advance(1_000);
    expect(reads().length - before).toBe(2);
  });

  describe("of a group of 400", () => {
    beforeEach(() => {
      const members = new URL(`http://carillon.test/api/chats/${group}/members`);
      const userIds = numbered(397);
      server.chats.serve("alice", { method: "POST", body: { userIds } }, members);
      say("bob", "secret");
    });

    test("is read for within 5 ms for each member, by each client in its own time", async () => {
      const early = (await opens({ environment: { random: () => 0 } })).shows(group);
      const late = (await opens({ sub: "carol", environment: { random: () => 0.9 } })).shows(group);
      await settle();
      expect(await readsOf(() => server.chats.erase("bob"), TURN_MS)).toHaveLength(1);
      expect([early.bodies(), late.bodies()]).toEqual([[""], ["secret"]]);
      expect(await readsOf(() => {}, 1_700)).toEqual([]);
      expect(await readsOf(() => {}, 200)).toHaveLength(1);
      expect(late.bodies()).toEqual([""]);
    });

    test("is read for at once by a page that opens the chat meanwhile, and not by one that closes it", async () => {
      const alice = await opens({ environment: { random: () => 0.9 } });
      const open = alice.shows(group);
      await settle();
      expect(await readsOf(() => server.chats.erase("bob"), TURN_MS)).toEqual([]);
      open.hide();
      expect(await readsOf(() => {}, 5_000)).toEqual([]);
      expect(await readsOf(() => alice.shows(group), TURN_MS)).toHaveLength(1);
      const carol = await opens({ sub: "carol" });
      expect(await readsOf(() => carol.chats.rename(group, "Lunch"), 5_000)).toHaveLength(1);
    });
  });

  test("asks for the chat only if the last message may be erased", async () => {
    say("bob", "1");
    await opens();
    const carol = await opens({ sub: "carol" });
    const before = server.callsTo(`/api/chats/${group}`).length;
    await carol.chats.rename(group, "Lunch");
    await advance(1_000);
    // The one that renames it.
    expect(server.callsTo(`/api/chats/${group}`).length - before).toBe(1);
  });

  test("costs no call while no page shows the chat", async () => {
    say("bob", "1");
    const open = (await opens()).shows(group);
    await settle();
    open.hide();
    const carol = await opens({ sub: "carol" });
    expect(await readsOf(() => carol.chats.rename(group, "Lunch"))).toEqual([]);
  });

  test("neither loses nor moves what is being sent, and nothing blinks", async () => {
    say("bob", "secret");
    say("carol", "kept");
    const alice = await opens();
    const open = alice.shows(group);
    await settle();
    server.chats.isRedisAway = true;
    open.send("fast", {}, { accept: "fast" });
    await settle();
    server.chats.sayFast(group, "carol", "fast too");
    await settle();
    const release = hold();
    const seen = pictures(open);
    server.chats.erase("bob");
    await advance(TURN_MS);
    open.send("sent meanwhile", {}, { accept: "fast" });
    await settle();
    await release();
    await release();
    await advance(1_000);
    server.fault = () => undefined;
    server.chats.isRedisAway = false;
    server.chats.drain();
    await advance(1_000);
    expect(seen).toEqual([
      ["secret", "kept", "fast", "fast too"],
      ["secret", "kept", "fast", "fast too", "sent meanwhile…"],
      ["secret", "kept", "fast", "fast too", "sent meanwhile"],
      ["", "kept", "fast", "fast too", "sent meanwhile"],
    ]);
    expect(open.state().messages.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5]);
  });
});
