// What an open page shows while the network fails: nothing is lost and nothing doubled.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PATIENCE_MS, Stage } from "./stage.js";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.set();
});
afterEach(() => stage.clear());
afterAll(() => stage.strike());

test("a hundred sends while the page is cut off are all shown once when it is back", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  const ids = await stage.gateway.send({ userIds: [alice], title: "Before" });
  await tab.shows(ids);

  stage.gateway.wire.cut();
  await tab.is("Offline");
  for (let n = 0; n < 100; n++) ids.push(...(await stage.gateway.send({ userIds: [alice], title: `Number ${n}` })));
  await tab.shows(ids.slice(0, 1));

  stage.gateway.wire.mend();
  await tab.is("Connected");
  await tab.shows(ids);
  await tab.countsUnread(101);
  expect(await tab.toldAtMost()).toBeLessThanOrEqual(1);
  ids.push(...(await stage.gateway.send({ userIds: [alice], title: "After" })));
  await tab.shows(ids);
});

test("what was done offline is done when the network is back", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  const [one] = await stage.gateway.send({ userIds: [alice], title: "One" });
  const [two] = await stage.gateway.send({ userIds: [alice], title: "Two" });
  if (!one || !two) throw new Error("nothing was sent");
  await tab.countsUnread(2);

  stage.gateway.wire.cut();
  await tab.is("Offline");
  await tab.button("Mark as read: One").click();
  await tab.button("Delete: Two").click();
  await tab.shows([one]);
  await tab.countsUnread(0);

  stage.gateway.wire.mend();
  await tab.is("Connected");
  await expect
    .poll(() => stage.gateway.call(alice, "GET", "/api/notifications"), { timeout: PATIENCE_MS })
    .toMatchObject({ unreadCount: 0, items: [{ id: one }] });
  await tab.shows([one]);
});

test("each transport that is forced is the one that brings it", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  const ids: string[] = [];
  const arrives = async (title: string): Promise<void> => {
    ids.push(...(await stage.gateway.send({ userIds: [alice], title })));
    await tab.shows(ids);
  };
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  await arrives("By itself");

  await tab.button("Polling").click();
  await expect.poll(() => tab.transport.textContent()).toBe("Polling");
  expect(await tab.button("Polling").getAttribute("aria-pressed")).toBe("true");
  await expect.poll(() => stage.gateway.wire.openSockets).toBe(0);
  await arrives("By polling");
  expect(stage.gateway.wire.openSockets).toBe(0);

  await tab.button("WebSocket").click();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  expect(stage.gateway.wire.openSockets).toBe(1);
  await arrives("By WebSocket");

  await tab.button("Automatic").click();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  await arrives("By itself again");
  expect(await tab.toldAtMost()).toBe(1);
});

test("a forced WebSocket that is blocked says so and does not poll", async () => {
  const tab = await stage.visit(stage.user("alice"));
  await tab.button("WebSocket").click();
  await tab.is("Connected");
  stage.gateway.wire.blockSockets();
  await tab.is("Reconnecting");
  await tab.page.locator(".connection").getByTestId("failure").waitFor({ timeout: PATIENCE_MS });
  expect(await tab.transport.textContent()).toBe("None");
});

test("where WebSockets are blocked it polls, and comes back to them", async () => {
  const alice = stage.user("alice");
  stage.gateway.wire.blockSockets();
  const tab = await stage.visit(alice);
  await tab.button("WebSocket").click();
  await tab.is("Reconnecting");
  await tab.button("Automatic").click();
  await expect.poll(() => tab.transport.textContent(), { timeout: PATIENCE_MS }).toBe("Polling");
  const ids = await stage.gateway.send({ userIds: [alice], title: "Polled" });
  await tab.shows(ids);

  stage.gateway.wire.letSockets();
  await expect.poll(() => tab.transport.textContent(), { timeout: PATIENCE_MS }).toBe("WebSocket");
  ids.push(...(await stage.gateway.send({ userIds: [alice], title: "Pushed" })));
  await tab.shows(ids);
  expect(await tab.toldAtMost()).toBe(1);
});

test("loaded anew while nothing answers it shows what was kept, says so, and catches up", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  const ids = await stage.gateway.send({ userIds: [alice], title: "Kept" });
  await tab.shows(ids);
  await tab.keeps(ids);
  const silent = /\/(api|_gateway|health)\b/;
  stage.gateway.wire.blockSockets();
  await tab.page.route(silent, (route) => route.abort("internetdisconnected"));

  await tab.page.reload();
  await tab.is("Offline");
  await tab.shows(ids);
  await tab.page.getByTestId("from-cache").getByText("Offline: this is what this browser kept.").waitFor();
  await tab.page.locator(".facts").getByText("This browser's cache").waitFor();

  ids.push(...(await stage.gateway.send({ userIds: [alice], title: "Meanwhile" })));
  await tab.page.unroute(silent);
  stage.gateway.wire.letSockets();
  await tab.is("Connected");
  await tab.shows(ids);
  await tab.page.getByTestId("from-cache").waitFor({ state: "detached" });
});

test("nothing on the page jumps while it loads, loses its connection and gets it back", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  await tab.shows(await stage.gateway.send({ userIds: [alice], title: "One" }));
  await tab.page.getByText(/As of /).waitFor();
  await tab.page.addInitScript(() => {
    const shifts: number[] = [];
    Object.assign(globalThis, { shifts });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) shifts.push((entry as PerformanceEntry & { value: number }).value);
    }).observe({ type: "layout-shift", buffered: true });
  });
  await tab.page.reload();
  await tab.is("Connected");
  await tab.page.getByText(/As of /).waitFor();
  stage.gateway.wire.cut();
  await tab.is("Offline");
  await tab.page.getByText(/Last seen /).waitFor();
  stage.gateway.wire.mend();
  await tab.is("Connected");
  await tab.page.getByText(/As of /).waitFor();

  const shifts = await tab.page.evaluate(() => (globalThis as unknown as { shifts: number[] }).shifts);
  // What browsers call good is 0.1.
  expect(shifts.reduce((all, shift) => all + shift, 0)).toBeLessThan(0.02);
});
