// What an operator sees on the page: metrics, history, and the trace of one notification.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

test("the metrics update while the page is visible", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const metrics = tab.page.getByRole("region", { name: "Metrics" });
  const value = async (name: string): Promise<number> =>
    Number(await metrics.getByRole("listitem").filter({ hasText: name }).locator(".tile-value").textContent());
  await metrics.getByText(/As of /).waitFor();
  const before = await value("Accepted");
  const ids: string[] = [];
  for (let n = 0; n < 3; n++) ids.push(...(await harness.gateway.send({ userIds: [alice], title: `Number ${n}` })));
  await tab.shows(ids);
  await expect.poll(() => value("Accepted")).toBe(before + 3);
  await expect.poll(() => value("Connections")).toBeGreaterThan(0);
  // The chart draws the growth as a bar.
  const bars = metrics.getByRole("listitem").filter({ hasText: "Accepted" }).locator(".spark-bars");
  await expect.poll(() => bars.getAttribute("d")).toMatch(/^M/);
  await metrics.getByRole("rowheader", { name: /memory/ }).waitFor();
});

test("while an instance of Redis is away, the table says since when, and its share is with the others", async () => {
  const tab = await harness.visit(harness.user("alice"));
  const table = tab.page.getByRole("region", { name: "Redis instances" });
  const row = (name: string) => table.getByRole("row").filter({ hasText: name });
  const instance = (name: string, healthy: boolean, share: number) => ({
    name,
    healthy,
    share,
    breaker: healthy ? "closed" : "open",
    lastError: healthy ? null : "connection refused",
  });
  let instances = [instance("redis-1", true, 0.5), instance("redis-2", true, 0.5)];
  await tab.page.route(/\/metrics\/redis$/, (route) =>
    route.fulfill({ json: { redis: { mode: "balanced", instances } } }),
  );
  await row("redis-2").getByText("50 %").waitFor();
  await row("redis-2").getByText("healthy").waitFor();
  instances = [instance("redis-1", true, 1), instance("redis-2", false, 0)];
  await row("redis-2").getByText("0 %", { exact: true }).waitFor();
  await row("redis-1").getByText("100 %").waitFor();
  const away = row("redis-2").getByText(/^away since \d.*: connection refused$/);
  const since = await away.textContent();
  // It is the time at which it went, not that of the last look.
  await tab.page.waitForResponse(/\/metrics\/redis$/);
  await tab.page.waitForResponse(/\/metrics\/redis$/);
  expect(await away.textContent()).toBe(since);
  instances = [instance("redis-1", true, 0.5), instance("redis-2", true, 0.5)];
  await row("redis-2").getByText("healthy").waitFor();
});

test("if the metrics fail, the last values stay with their age and the reason", async () => {
  const tab = await harness.visit(harness.user("alice"));
  const metrics = tab.page.getByRole("region", { name: "Metrics" });
  await metrics.getByText(/As of /).waitFor();
  await tab.page.route(/\/metrics\/redis$/, (route) =>
    route.fulfill({
      status: 503,
      json: { error: { code: "store_unavailable", message: "the database is unavailable", requestId: "r-1" } },
    }),
  );
  await metrics.getByText("503 store_unavailable").waitFor();
  await metrics.getByText("the database is unavailable").waitFor();
  await metrics.getByText("r-1").waitFor();
  await metrics.getByText(/Last seen /).waitFor();
  await metrics.getByRole("listitem").filter({ hasText: "Accepted" }).waitFor();
});

test("a test send appears in the history with its state, and its trace lists the steps", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  await tab.button(`Send a test to ${alice}`).click();
  await tab.page.getByText("Test accepted for 1 of 1").waitFor();
  await expect.poll(() => tab.shownIds()).toHaveLength(1);
  const [id] = await tab.shownIds();

  const history = tab.page.getByRole("region", { name: "History" });
  await history.getByLabel("Recipient").fill(alice);
  await history.getByRole("button", { name: "Filter" }).click();
  // It is settled because the page has acknowledged it.
  await history.getByText("settled 1").waitFor();
  await expect.poll(() => history.locator(".send-row").count()).toBe(1);

  await history.locator(".send-row").getByRole("button", { name: "Trace" }).click();
  await expect.poll(() => history.getByRole("textbox", { name: "Notification" }).inputValue()).toBe(id);
  const steps = tab.page.getByTestId("trace").getByRole("listitem");
  await steps.filter({ hasText: "Accepted" }).waitFor();
  // Again if the acknowledgement took long.
  await steps.filter({ hasText: "Pushed" }).first().waitFor();
  await tab.inbox.getByRole("button", { name: /^Mark as read/ }).click();
  await steps.filter({ hasText: "Read" }).waitFor();
});

test("the history filters, pages, and says if nothing matches", async () => {
  const alice = harness.user("alice");
  const type = alice.replace("alice", "type");
  for (let n = 0; n < 12; n++) await harness.gateway.send({ userIds: [alice], title: `Number ${n}`, type });
  const tab = await harness.visit(alice);
  const history = tab.page.getByRole("region", { name: "History" });
  const rows = history.locator(".send-row");
  await history.getByLabel("Type").fill(type);
  await history.getByRole("button", { name: "Filter" }).click();
  await history.getByText("Number 11").waitFor();
  await expect.poll(() => rows.count()).toBe(10);
  await history.getByRole("button", { name: "Show older" }).click();
  await expect.poll(() => rows.count()).toBe(12);
  await history.getByText("Number 0", { exact: true }).waitFor();

  await history.getByLabel("Type").fill("type.without.sends");
  await history.getByRole("button", { name: "Filter" }).click();
  await history.getByText("No sends match this filter.").waitFor();
});

test("the trace of an unknown notification shows the error", async () => {
  const tab = await harness.visit(harness.user("alice"));
  const history = tab.page.getByRole("region", { name: "History" });
  await history.getByRole("textbox", { name: "Notification" }).fill("no-such-id");
  await history.getByRole("button", { name: "Trace", exact: true }).click();
  await history.getByTestId("failure").getByText("404 not_found").waitFor();
});
