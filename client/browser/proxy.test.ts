// The page behind proxies that break WebSockets and do something to event streams.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { Harness, type Visit } from "./harness.js";
import { StreamProxy } from "./proxy.js";
import { randomFrom } from "./random.js";

let proxy: StreamProxy;
let harness: Harness;
beforeAll(async () => {
  proxy = await StreamProxy.start();
  harness = await Harness.start({ EVENTS_URL: proxy.url });
  proxy.target = harness.gateway.network.target;
});
beforeEach(() => harness.gateway.network.blockSockets());
afterEach(() => {
  proxy.passBytes = null;
  return harness.reset();
});
afterAll(async () => {
  await harness.stop();
  await proxy.stop();
});

const uses = (visit: Visit, transport: string): Promise<void> =>
  expect.poll(() => visit.transport.textContent()).toBe(transport) as Promise<void>;

test.each(["buffering", "head only"] as const)(
  "a proxy that buffers streams (%s) leads to polling until it passes them",
  async (manner) => {
    proxy.manner = manner;
    const alice = harness.user("alice");
    const { opened } = proxy;
    const tab = await harness.visit(alice);
    // It is polling that connected it.
    await uses(tab, "Polling");
    const seen = await tab.page.evaluateHandle(() => {
      const seen = new Set<string>();
      const look = (): unknown => seen.add(document.querySelector('[data-testid="transport"]')?.textContent ?? "");
      new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
      return seen;
    });
    const ids = await harness.gateway.send({ userIds: [alice], title: "Polled" });
    await tab.shows(ids);
    // The first stream was given up for silence, and another is tried.
    await expect.poll(() => proxy.opened).toBeGreaterThan(opened + 1);
    ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Polled again" })));
    await tab.shows(ids);
    // A stream that opened would have shown.
    expect(await seen.evaluate((seen) => [...seen])).toEqual(["Polling"]);

    proxy.manner = "passing";
    await uses(tab, "SSE");
    ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Streamed" })));
    await tab.shows(ids);
    await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
  },
);

test("a proxy that delays streams and takes them apart only delays", async () => {
  proxy.manner = "slow";
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  await uses(tab, "SSE");
  const ids: string[] = [];
  // Characters of several bytes are taken apart too.
  for (let n = 0; n < 20; n++) ids.push(...(await harness.gateway.send({ userIds: [alice], title: `Zeile ${n} 🔔` })));
  await tab.letsGo();
  await tab.shows(ids);
  await tab.inbox.getByRole("listitem").getByText("Zeile 19 🔔").waitFor();
  await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
});

test("a proxy that cuts streams costs nothing and repeats nothing", async () => {
  proxy.manner = "passing";
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  await uses(tab, "SSE");
  const ids: string[] = [];
  for (let round = 0; round < 3; round++) {
    // Until a stream counts as one that lasts.
    await tab.page.waitForTimeout(5_500);
    const { opened } = proxy;
    for (let n = 0; n < 5; n++) {
      if (n === 2) proxy.cut();
      ids.push(...(await harness.gateway.send({ userIds: [alice], title: `${round} ${n}` })));
    }
    await expect.poll(() => proxy.opened).toBeGreaterThan(opened);
    await uses(tab, "SSE");
    await tab.letsGo();
    await tab.shows(ids);
  }
  await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
});

test.each([1, 20261129])("streams that break off within any event lose and double nothing, seed %i", async (seed) => {
  proxy.manner = "passing";
  const random = randomFrom(seed);
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const second = await tab.openTab();
  await uses(tab, "SSE");
  const { broken } = proxy;
  proxy.passBytes = () => random(3_000);
  proxy.cut();
  const ids: string[] = [];
  // On a slow machine it takes longer until streams have broken off.
  for (let n = 0; n < 60 || proxy.broken < broken + 3; n++) {
    ids.push(...(await harness.gateway.send({ userIds: [alice], title: `Number ${n}` })));
    await tab.page.waitForTimeout(random(300));
  }
  proxy.passBytes = null;
  for (const visit of [tab, second]) {
    await visit.letsGo();
    await visit.shows(ids);
    await visit.showsUnread(ids.length);
    await expect.poll(() => visit.maxEventsPerNotification()).toBe(1);
  }
});
