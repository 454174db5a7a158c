// What a user sees in the inbox, on one device and on several devices.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

test("an empty inbox says so, and an arrival is shown, counted and announced", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  await tab.inbox.getByText("No notifications yet.").waitFor();
  await tab.showsUnread(0);

  const ids = await harness.gateway.send({ userIds: [alice], title: "Your report was approved" });
  await tab.shows(ids);
  await tab.showsUnread(1);
  await tab.page.locator("[aria-live]").getByText("New notification: Your report was approved").waitFor();
  expect(tab.errors).toEqual([]);
});

test("a list that loses the focus shows what waited meanwhile", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const [first] = await harness.gateway.send({ userIds: [alice], title: "First" });
  if (!first) throw new Error("nothing was sent");
  await tab.button("Mark as read: First").focus();
  const [second] = await harness.gateway.send({ userIds: [alice], title: "Second" });
  if (!second) throw new Error("nothing was sent");
  await tab.inbox.getByRole("button", { name: "1 new" }).waitFor();
  await tab.shows([first]);
  await tab.page.evaluate(() => (document.activeElement as HTMLElement).blur());
  await tab.shows([first, second]);
  expect(await tab.page.evaluate(() => document.activeElement === document.body)).toBe(true);
});

test("reads and deletions also show in another tab and in another browser", async () => {
  const alice = harness.user("alice");
  const first = await harness.visit(alice);
  const second = await first.openTab();
  const elsewhere = await harness.visit(alice);
  const [one] = await harness.gateway.send({ userIds: [alice], title: "One" });
  const [two] = await harness.gateway.send({ userIds: [alice], title: "Two" });
  if (!one || !two) throw new Error("nothing was sent");
  for (const tab of [first, second, elsewhere]) await tab.showsUnread(2);

  await first.button("Mark as read: One").click();
  for (const tab of [first, second, elsewhere]) {
    await tab.showsUnread(1);
    await tab.row(one).getByRole("button", { name: "Mark as unread" }).waitFor();
  }
  await second.button("Mark as unread: One").click();
  for (const tab of [first, second, elsewhere]) await tab.showsUnread(2);

  await elsewhere.button("Delete: Two").click();
  for (const tab of [first, second, elsewhere]) await tab.shows([one]);

  await second.button("Mark all read").click();
  for (const tab of [first, second, elsewhere]) await tab.showsUnread(0);
});

test("two tabs share one socket, and each shows every notification once", async () => {
  const alice = harness.user("alice");
  const first = await harness.visit(alice);
  const second = await first.openTab();
  const ids: string[] = [];
  for (let n = 0; n < 20; n++) ids.push(...(await harness.gateway.send({ userIds: [alice], title: `Number ${n}` })));
  for (const tab of [first, second]) {
    await tab.shows(ids);
    await tab.showsUnread(20);
    await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
  }
  await expect.poll(() => harness.gateway.network.openSockets).toBe(1);

  // The remaining tab takes over the connection.
  await first.page.close();
  ids.push(...(await harness.gateway.send({ userIds: [alice], title: "To the remaining tab" })));
  await second.shows(ids);
  await expect.poll(() => second.maxEventsPerNotification()).toBe(1);
});

test("the inbox has tabs by read state and type, and groups by day", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const likes = await harness.gateway.send({ userIds: [alice], type: "like", title: "Ines liked it" });
  const builds = await harness.gateway.send({ userIds: [alice], type: "BUILD_FAILED", title: "Build failed" });
  await tab.shows([...likes, ...builds]);
  await tab.inbox.getByRole("heading", { name: "Today" }).waitFor();
  await tab
    .row(likes[0] ?? "")
    .getByText("Like", { exact: true })
    .waitFor();

  await tab.tab("Build failed").click();
  await tab.shows(builds);
  await tab.button("Mark as read: Build failed").click();
  await tab.tab("Unread").click();
  await tab.shows(likes);
  // Under the pointer it stays where it is.
  await tab.button("Mark as read: Ines liked it").click();
  await tab.button("Mark as unread: Ines liked it").waitFor();
  await tab.shows(likes);
  await tab.page.mouse.move(0, 0);
  // A read notification leaves the Unread tab, which says so when it is empty.
  await tab.inbox.getByText("All read.").waitFor();
});

test("markup in a notification is shown as text and does not run", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const title = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
  const ids = await harness.gateway.send({
    userIds: [alice],
    title,
    body: title,
    type: "a.b",
    actionUrl: "/reports/1",
  });
  await tab.shows(ids);
  expect(
    await tab
      .row(ids[0] ?? "")
      .locator(".carillon-row-title")
      .textContent(),
  ).toBe(`Unread: ${title} (opens in a new tab)`);
  expect(await tab.page.locator("#page img, #page script").count()).toBe(0);
  const link = tab.row(ids[0] ?? "").getByRole("link");
  expect(await link.getAttribute("href")).toBe("/reports/1");
  expect(await link.getAttribute("rel")).toBe("noopener noreferrer");
  expect(await tab.page.title()).toBe("Carillon test page");
  expect(tab.errors).toEqual([]);
});

test("switching the user switches the inbox, and going back switches it back", async () => {
  const [alice, bob] = [harness.user("alice"), harness.user("bob")];
  const tab = await harness.visit(alice);
  const [aliceId] = await harness.gateway.send({ userIds: [alice], title: "For Alice alone" });
  if (!aliceId) throw new Error("nothing was sent");
  await tab.shows([aliceId]);

  await tab.page.getByLabel("View as user").fill(bob);
  await tab.button("Switch").click();
  await tab.inbox.getByRole("heading", { name: `Inbox of ${bob}` }).waitFor();
  await tab.showsStatus("Connected");
  await tab.inbox.getByText("No notifications yet.").waitFor();
  // The history is left out: it is for administrators, and lists the sends of all callers.
  for (const part of [tab.inbox, tab.page.locator(".events")]) {
    await expect.poll(() => part.getByText("For Alice alone").count()).toBe(0);
  }
  await expect.poll(() => tab.page.locator(".carillon-spoken[aria-live]").textContent()).toBe("");

  const bobIds = await harness.gateway.send({ userIds: [bob], title: "For Bob" });
  await tab.shows(bobIds);
  await tab.page.goBack();
  await tab.inbox.getByRole("heading", { name: `Inbox of ${alice}` }).waitFor();
  await tab.shows([aliceId]);
  await expect.poll(() => harness.gateway.network.openSockets).toBe(1);
});
