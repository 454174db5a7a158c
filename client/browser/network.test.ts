// An open page while the network fails: no notification is lost or shown twice.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness, TIMEOUT_MS } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

test("a hundred sends while the page is offline are all shown once when it is back online", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const ids = await harness.gateway.send({ userIds: [alice], title: "Before" });
  await tab.shows(ids);

  harness.gateway.network.cut();
  await tab.showsStatus("Offline");
  for (let n = 0; n < 100; n++) ids.push(...(await harness.gateway.send({ userIds: [alice], title: `Number ${n}` })));
  await tab.shows(ids.slice(0, 1));

  harness.gateway.network.restore();
  await tab.showsStatus("Connected");
  await tab.shows(ids);
  await tab.showsUnread(101);
  expect(await tab.maxEventsPerNotification()).toBeLessThanOrEqual(1);
  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "After" })));
  await tab.shows(ids);
});

test("changes made offline are carried out when the network is back", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const [one] = await harness.gateway.send({ userIds: [alice], title: "One" });
  const [two] = await harness.gateway.send({ userIds: [alice], title: "Two" });
  if (!one || !two) throw new Error("nothing was sent");
  await tab.showsUnread(2);

  harness.gateway.network.cut();
  await tab.showsStatus("Offline");
  await tab.button("Mark as read: One").click();
  await tab.button("Delete: Two").click();
  await tab.shows([one]);
  await tab.showsUnread(0);

  harness.gateway.network.restore();
  await tab.showsStatus("Connected");
  await expect
    .poll(() => harness.gateway.call(alice, "GET", "/api/notifications"), { timeout: TIMEOUT_MS })
    .toMatchObject({ unreadCount: 0, items: [{ id: one }] });
  await tab.shows([one]);
});

test("notifications arrive over each transport that the user chooses", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const ids: string[] = [];
  const arrives = async (title: string): Promise<void> => {
    ids.push(...(await harness.gateway.send({ userIds: [alice], title })));
    await tab.shows(ids);
  };
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  await arrives("Automatically");

  await tab.button("Polling").click();
  await expect.poll(() => tab.transport.textContent()).toBe("Polling");
  expect(await tab.button("Polling").getAttribute("aria-pressed")).toBe("true");
  await expect.poll(() => harness.gateway.network.openSockets).toBe(0);
  await arrives("By polling");
  expect(harness.gateway.network.openSockets).toBe(0);

  await tab.button("WebSocket").click();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  expect(harness.gateway.network.openSockets).toBe(1);
  await arrives("By WebSocket");

  await tab.button("Automatic").click();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  await arrives("Automatically again");
  expect(await tab.maxEventsPerNotification()).toBe(1);
});

test("with WebSocket chosen and blocked, the page shows the failure and does not poll", async () => {
  const tab = await harness.visit(harness.user("alice"));
  await tab.button("WebSocket").click();
  await tab.showsStatus("Connected");
  harness.gateway.network.blockSockets();
  await tab.showsStatus("Reconnecting");
  await tab.page.locator(".connection").getByTestId("failure").waitFor({ timeout: TIMEOUT_MS });
  expect(await tab.transport.textContent()).toBe("None");
});

test("the page polls while WebSockets are blocked, and returns to them afterwards", async () => {
  const alice = harness.user("alice");
  harness.gateway.network.blockSockets();
  const tab = await harness.visit(alice);
  await tab.button("WebSocket").click();
  await tab.showsStatus("Reconnecting");
  await tab.button("Automatic").click();
  await expect.poll(() => tab.transport.textContent(), { timeout: TIMEOUT_MS }).toBe("Polling");
  const ids = await harness.gateway.send({ userIds: [alice], title: "Polled" });
  await tab.shows(ids);

  harness.gateway.network.allowSockets();
  await expect.poll(() => tab.transport.textContent(), { timeout: TIMEOUT_MS }).toBe("WebSocket");
  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Pushed" })));
  await tab.shows(ids);
  expect(await tab.maxEventsPerNotification()).toBe(1);
});

test("a reload while nothing responds shows the cache, says so, and catches up afterwards", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const ids = await harness.gateway.send({ userIds: [alice], title: "Cached" });
  await tab.shows(ids);
  await tab.caches(ids);
  const unreachable = /\/(api|_gateway|health)\b/;
  harness.gateway.network.blockSockets();
  await tab.page.route(unreachable, (route) => route.abort("internetdisconnected"));

  await tab.page.reload();
  await tab.showsStatus("Offline");
  await tab.shows(ids);
  await tab.page.getByTestId("from-cache").getByText("Offline: showing this browser's cache.").waitFor();
  await tab.page.locator(".facts").getByText("This browser's cache").waitFor();

  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Meanwhile" })));
  await tab.page.unroute(unreachable);
  harness.gateway.network.allowSockets();
  await tab.showsStatus("Connected");
  await tab.shows(ids);
  await tab.page.getByTestId("from-cache").waitFor({ state: "detached" });
});

test("the layout does not shift while the page loads, disconnects and reconnects", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  await tab.shows(await harness.gateway.send({ userIds: [alice], title: "One" }));
  await tab.page.getByText(/As of /).waitFor();
  await tab.page.addInitScript(() => {
    const shifts: number[] = [];
    Object.assign(globalThis, { shifts });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) shifts.push((entry as PerformanceEntry & { value: number }).value);
    }).observe({ type: "layout-shift", buffered: true });
  });
  await tab.page.reload();
  await tab.showsStatus("Connected");
  await tab.page.getByText(/As of /).waitFor();
  harness.gateway.network.cut();
  await tab.showsStatus("Offline");
  await tab.page.getByText(/Last seen /).waitFor();
  harness.gateway.network.restore();
  await tab.showsStatus("Connected");
  await tab.page.getByText(/As of /).waitFor();

  const shifts = await tab.page.evaluate(() => (globalThis as unknown as { shifts: number[] }).shifts);
  // Browsers rate a total of up to 0.1 as good.
  expect(shifts.reduce((total, shift) => total + shift, 0)).toBeLessThan(0.02);
});
