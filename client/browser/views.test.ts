// The tabs of the inbox while only a part of a long inbox is loaded.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

test("the tab of what is unread shows what lies beyond the first page, in every tab of the browser", async () => {
  const alice = harness.user("alice");
  const unread: string[] = [];
  for (let n = 0; n < 8; n++) unread.push(...(await harness.gateway.send({ userIds: [alice], title: `Old ${n}` })));
  for (let n = 0; n < 60; n++) {
    const [id] = await harness.gateway.send({ userIds: [alice], title: `Read ${n}` });
    await harness.gateway.call(alice, "POST", `/api/notifications/${id}/read`);
  }
  const first = await harness.visit(alice);
  const second = await first.openTab();
  for (const tab of [first, second]) {
    await expect.poll(() => tab.shownIds()).toHaveLength(50);
    await tab.showsUnread(8);
    await tab.tab("Unread").click();
    await tab.shows(unread);
  }
  // It is not loaded in the whole inbox, and still counts there at once.
  await first.button("Mark as read: Old 3").click();
  unread.splice(3, 1);
  unread.push(...(await harness.gateway.send({ userIds: [alice], title: "Fresh" })));
  for (const tab of [first, second]) {
    await tab.letsGo();
    await tab.shows(unread);
    await tab.showsUnread(8);
  }
  await second.button("Mark all read").click();
  for (const tab of [first, second]) {
    await tab.shows([]);
    await tab.showsUnread(0);
    expect(tab.errors).toEqual([]);
  }
  await expect.poll(() => harness.gateway.network.openSockets).toBe(1);
});

test("the tab of a type counts what is unread of it, also beyond the first page", async () => {
  const alice = harness.user("alice");
  const invoice = { userIds: [alice], type: "invoice", title: "Invoice" };
  for (let n = 0; n < 3; n++) await harness.gateway.send(invoice);
  for (let n = 0; n < 60; n++) {
    const [id] = await harness.gateway.send({ userIds: [alice], type: "note", title: `Note ${n}` });
    await harness.gateway.call(alice, "POST", `/api/notifications/${id}/read`);
  }
  await harness.gateway.send(invoice);
  const tab = await harness.visit(alice);
  const counted = (name: string, count: number): Promise<void> =>
    tab.tab(name).locator(".carillon-count").getByText(String(count), { exact: true }).waitFor();
  await counted("Invoice", 4);
  await counted("Note", 0);
  await harness.gateway.send(invoice);
  await counted("Invoice", 5);
  await tab.tab("Invoice").click();
  await tab.button("Mark all read").click();
  await counted("Invoice", 0);
  expect(tab.errors).toEqual([]);
});
