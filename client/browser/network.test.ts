// An open page while the network fails: no notification is lost or shown twice.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness, settled } from "./harness.js";
import { expectNoShifts, observeShiftsOfLoads } from "./shifts.js";

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
    .poll(() => harness.gateway.call(alice, "GET", "/api/notifications"))
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
  await expect.poll(() => tab.button("Polling").getAttribute("aria-pressed")).toBe("true");
  await expect.poll(() => harness.gateway.network.openSockets).toBe(0);
  await arrives("By polling");
  expect(harness.gateway.network.openSockets).toBe(0);

  await tab.button("WebSocket").click();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  await expect.poll(() => harness.gateway.network.openSockets).toBe(1);
  await arrives("By WebSocket");

  await tab.button("SSE").click();
  await expect.poll(() => tab.transport.textContent()).toBe("SSE");
  await expect.poll(() => harness.gateway.network.openSockets).toBe(0);
  await arrives("By SSE");

  await tab.button("Automatic").click();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  await arrives("Automatically again");
  await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
});

test("with WebSocket chosen and blocked, the page shows the failure and does not poll", async () => {
  const tab = await harness.visit(harness.user("alice"));
  await tab.button("WebSocket").click();
  await tab.showsStatus("Connected");
  harness.gateway.network.blockSockets();
  await tab.showsStatus("Reconnecting");
  await tab.page.locator(".connection").getByTestId("failure").waitFor();
  await expect.poll(() => tab.transport.textContent()).toBe("None");
});

test("the page streams while WebSockets are blocked, and returns to them afterwards", async () => {
  const alice = harness.user("alice");
  harness.gateway.network.blockSockets();
  const tab = await harness.visit(alice);
  await expect.poll(() => tab.transport.textContent()).toBe("SSE");
  await tab.page.getByTestId("status").getByText("SSE").waitFor();
  let syncs = 0;
  let syncedMs = Date.now();
  tab.page.on("request", (request) => {
    if (!request.url().includes("/api/sync")) return;
    syncs++;
    syncedMs = Date.now();
  });
  // After the sync of the opening nothing is asked for, and a send still rings.
  await expect.poll(() => Date.now() - syncedMs).toBeGreaterThan(3_000);
  syncs = 0;
  const ids = await harness.gateway.send({ userIds: [alice], title: "Streamed" });
  await tab.shows(ids);
  expect(syncs).toBe(0);
  await tab.button("Mark as read: Streamed").click();
  await tab.showsUnread(0);

  const form = tab.page.getByRole("region", { name: "Emit" });
  await form.getByRole("button", { name: "Emit" }).click();
  await tab.page.locator(".event-summary", { hasText: "Maintenance in ten minutes" }).waitFor();
  await form.getByText("Emitted").waitFor();
  await form.getByRole("button", { name: "Test SSE" }).click();
  await tab.page.locator(".event-summary", { hasText: "A test" }).waitFor();
  await form.getByText("to one event stream").waitFor();

  const second = await tab.openTab();
  await expect.poll(() => second.transport.textContent()).toBe("SSE");
  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Shared" })));
  await tab.letsGo();
  for (const visit of [tab, second]) await visit.shows(ids);

  harness.gateway.network.allowSockets();
  await expect.poll(() => tab.transport.textContent()).toBe("WebSocket");
  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Pushed" })));
  for (const visit of [tab, second]) {
    await visit.shows(ids);
    await expect.poll(() => visit.maxEventsPerNotification()).toBe(1);
  }
});

test("a test over event streams says that there are none", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const form = tab.page.getByRole("region", { name: "Emit" });
  await form.getByRole("button", { name: "Test SSE" }).click();
  await form.getByText(`${alice} has no open event stream`).waitFor();
  expect(await tab.page.locator(".event-summary", { hasText: "A test" }).count()).toBe(0);
});

test("the page polls while event streams break too", async () => {
  const alice = harness.user("alice");
  harness.gateway.network.blockSockets();
  const tab = await harness.visit(alice);
  await expect.poll(() => tab.transport.textContent()).toBe("SSE");
  await tab.page.route(/\/api\/events/, (route) => route.abort());
  await tab.page.reload();
  await expect.poll(() => tab.transport.textContent()).toBe("Polling");
  const ids = await harness.gateway.send({ userIds: [alice], title: "Polled" });
  await tab.shows(ids);
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
  await tab.inbox.getByText("Offline. Showing saved notifications.").waitFor();
  await tab.page.locator(".facts").getByText("This browser's cache").waitFor();

  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "Meanwhile" })));
  await tab.page.unroute(unreachable);
  harness.gateway.network.allowSockets();
  await tab.showsStatus("Connected");
  await tab.shows(ids);
  await tab.inbox.getByText("saved notifications").waitFor({ state: "detached" });
});

test.each([390, 1280])("the layout does not shift while the page loads and reconnects at %i px", async (width) => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice, { viewport: { width, height: 900 } });
  await harness.gateway.send({ userIds: [alice], title: "One" });
  await tab.showsUnread(1);
  await tab.page.getByText(/As of /).waitFor();
  await observeShiftsOfLoads(tab.page);
  await tab.page.reload();
  await tab.showsStatus("Connected");
  await tab.page.getByText(/As of /).waitFor();
  harness.gateway.network.cut();
  await tab.showsStatus("Offline");
  await tab.page.getByText(/Last seen /).waitFor();
  harness.gateway.network.restore();
  await tab.showsStatus("Connected");
  await tab.page.getByText(/As of /).waitFor();

  await expectNoShifts(tab.page);
});

test.each([390, 1280])("the layout does not shift over 20 arrivals at %i px", async (width) => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice, { viewport: { width, height: 900 } });
  await observeShiftsOfLoads(tab.page);
  await tab.page.reload();
  await tab.showsStatus("Connected");
  await tab.page.getByText(/As of /).waitFor();
  for (let n = 0; n < 20; n++) {
    await harness.gateway.send({ userIds: [alice], title: `Number ${n}`, ...(n % 2 === 0 && { body: "A text" }) });
    await tab.showsUnread(n + 1);
    await settled(tab.page);
  }
  await tab.page.waitForTimeout(500);
  await expectNoShifts(tab.page);
});

test("nothing is wider than the window, online and offline", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  await harness.gateway.send({ userIds: [alice], title: "A".repeat(200), body: "b".repeat(500), type: "T".repeat(64) });
  await tab.showsUnread(1);
  const wider = async (): Promise<number[]> => {
    const widths: number[] = [];
    for (const width of [320, 390, 768, 1280]) {
      await tab.page.setViewportSize({ width, height: 800 });
      if ((await tab.page.evaluate(() => document.documentElement.scrollWidth)) > width) widths.push(width);
    }
    return widths;
  };
  await expect.poll(wider).toEqual([]);
  harness.gateway.network.cut();
  await tab.showsStatus("Offline");
  await tab.page.getByText(/Last seen /).waitFor();
  await expect.poll(wider).toEqual([]);
});
