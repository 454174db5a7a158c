// An open page whose WebSocket fails without closing: nothing is lost or shown twice, and the page finds out soon.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness, type Visit } from "./harness.js";

/**
 * A dead socket must be noticed within 15 s after the user did something. A slow machine takes some seconds more, and the
 * next ping, which would find it as well, times out after 28 s.
 */
const NOTICE_MS = 20_000;
const PING_EVERY_MS = 20_000;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ PING_EVERY_MS: String(PING_EVERY_MS) });
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

/** Opens a page, and freezes its socket after the first pings. */
async function visitWithFrozenSocket(user: string, tabs: number): Promise<[Visit, ...Visit[]]> {
  const first = await harness.visit(user);
  const visits: [Visit, ...Visit[]] = [first];
  while (visits.length < tabs) visits.push(await first.openTab());
  await expect.poll(() => harness.gateway.network.openSockets).toBe(1);
  // The first ping comes 2 s after opening. A frame that answers it would hide the frozen socket.
  await first.page.waitForTimeout(4_000);
  harness.gateway.network.freezeSockets();
  return visits;
}

async function isReplacedWithin(ms: number, act: () => Promise<void>): Promise<void> {
  const { network } = harness.gateway;
  const before = network.socketAttempts;
  await act();
  await expect.poll(() => network.socketAttempts, { timeout: ms, interval: 100 }).toBeGreaterThan(before);
}

test("a half-open socket is replaced within 15 s after the user did something", async () => {
  const alice = harness.user("alice");
  const ids = await harness.gateway.send({ userIds: [alice], title: "Before" });
  const [tab] = await visitWithFrozenSocket(alice, 1);
  for (let n = 0; n < 10; n++) ids.push(...(await harness.gateway.send({ userIds: [alice], title: `Lost ${n}` })));
  await isReplacedWithin(NOTICE_MS, () => tab.button("Mark as read: Before").click());
  await tab.letsGo();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "After" })));
  await tab.shows(ids);
  await tab.showsUnread(11);
  await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
});

test("a half-open socket is replaced within 15 s after another tab than the leader's did something", async () => {
  const alice = harness.user("alice");
  const ids = await harness.gateway.send({ userIds: [alice], title: "Before" });
  const [leader, follower] = await visitWithFrozenSocket(alice, 2);
  if (!follower) throw new Error("there is one tab only");
  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Lost" })));
  await isReplacedWithin(NOTICE_MS, () => follower.button("Mark as read: Before").click());
  await follower.letsGo();
  for (const tab of [leader, follower]) {
    await tab.shows(ids);
    await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
  }
});

test("a half-open socket is replaced after the next ping if the user does nothing", async () => {
  const alice = harness.user("alice");
  const [tab] = await visitWithFrozenSocket(alice, 1);
  const ids = await harness.gateway.send({ userIds: [alice], title: "Lost" });
  await isReplacedWithin(PING_EVERY_MS + NOTICE_MS, async () => {});
  await tab.shows(ids);
  await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
});

test("a page whose WebSocket handshake hangs streams, and goes over to a socket when one opens", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  harness.gateway.network.hangSockets();
  await tab.page.reload();
  await expect.poll(() => tab.transport.textContent(), { timeout: NOTICE_MS }).toBe("SSE");
  const ids: string[] = [];
  for (let n = 0; n < 20; n++) ids.push(...(await harness.gateway.send({ userIds: [alice], title: `Streamed ${n}` })));
  await tab.shows(ids, NOTICE_MS);

  harness.gateway.network.allowSockets();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Pushed" })));
  await tab.shows(ids);
  await tab.showsUnread(21);
  await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
});
