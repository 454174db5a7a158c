// What a user sees in the inbox, on one device and on several.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Stage } from "./stage.js";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.set();
});
afterEach(() => stage.clear());
afterAll(() => stage.strike());

test("an empty inbox says so, and what is sent rings, counts and is announced", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  await tab.inbox.getByText("No notifications yet.").waitFor();
  await tab.countsUnread(0);

  const ids = await stage.gateway.send({ userIds: [alice], title: "Your report was approved" });
  await tab.shows(ids);
  await tab.countsUnread(1);
  await tab.page.getByTestId("announcer").getByText("New notification: Your report was approved").waitFor();
  expect(tab.complaints).toEqual([]);
});

test("reading and deleting follow to another tab and to another browser", async () => {
  const alice = stage.user("alice");
  const first = await stage.visit(alice);
  const second = await first.nextTab();
  const elsewhere = await stage.visit(alice);
  const [one] = await stage.gateway.send({ userIds: [alice], title: "One" });
  const [two] = await stage.gateway.send({ userIds: [alice], title: "Two" });
  if (!one || !two) throw new Error("nothing was sent");
  for (const tab of [first, second, elsewhere]) await tab.countsUnread(2);

  await first.button("Mark as read: One").click();
  for (const tab of [first, second, elsewhere]) {
    await tab.countsUnread(1);
    await tab.row(one).getByRole("button", { name: "Mark as unread" }).waitFor();
  }
  await second.button("Mark as unread: One").click();
  for (const tab of [first, second, elsewhere]) await tab.countsUnread(2);

  await elsewhere.button("Delete: Two").click();
  for (const tab of [first, second, elsewhere]) await tab.shows([one]);

  await second.button("Mark all read").click();
  for (const tab of [first, second, elsewhere]) await tab.countsUnread(0);
});

test("two tabs share one socket, and each shows everything once", async () => {
  const alice = stage.user("alice");
  const first = await stage.visit(alice);
  const second = await first.nextTab();
  const ids: string[] = [];
  for (let n = 0; n < 20; n++) ids.push(...(await stage.gateway.send({ userIds: [alice], title: `Number ${n}` })));
  for (const tab of [first, second]) {
    await tab.shows(ids);
    await tab.countsUnread(20);
    expect(await tab.toldAtMost()).toBe(1);
  }
  expect(stage.gateway.wire.openSockets).toBe(1);

  // The one that stays takes over.
  await first.page.close();
  ids.push(...(await stage.gateway.send({ userIds: [alice], title: "To whoever is left" })));
  await second.shows(ids);
  expect(await second.toldAtMost()).toBe(1);
});

test("tabs and groups sort by what is unread, day and type", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  const likes = await stage.gateway.send({ userIds: [alice], type: "like", title: "Ines liked it" });
  const builds = await stage.gateway.send({ userIds: [alice], type: "BUILD_FAILED", title: "Build failed" });
  await tab.shows([...likes, ...builds]);
  await tab.inbox.getByRole("heading", { name: "Today" }).waitFor();
  await tab.inbox.getByRole("heading", { name: "Like 1" }).waitFor();

  await tab.tab("Build failed").click();
  await tab.shows(builds);
  await tab.button("Mark as read: Build failed").click();
  await tab.tab("Unread").click();
  await tab.shows(likes);
  // Read where only the unread are shown, it goes; with the last one the tab says what that means.
  await tab.button("Mark as read: Ines liked it").click();
  await tab.inbox.getByText("All read.").waitFor();
});

test("markup in a notification is text, and nothing of it runs", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  const title = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
  const ids = await stage.gateway.send({ userIds: [alice], title, body: title, type: "a.b", actionUrl: "/reports/1" });
  await tab.shows(ids);
  expect(
    await tab
      .row(ids[0] ?? "")
      .locator(".row-title")
      .textContent(),
  ).toBe(`Unread: ${title}`);
  expect(await tab.page.locator("#page img, #page script").count()).toBe(0);
  const link = tab.row(ids[0] ?? "").getByRole("link");
  expect(await link.getAttribute("href")).toBe("/reports/1");
  expect(await link.getAttribute("rel")).toBe("noopener noreferrer");
  expect(await tab.page.title()).toBe("Carillon test page");
  expect(tab.complaints).toEqual([]);
});

test("another user is another inbox, and going back is the first again", async () => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const tab = await stage.visit(alice);
  const [hers] = await stage.gateway.send({ userIds: [alice], title: "For Alice alone" });
  if (!hers) throw new Error("nothing was sent");
  await tab.shows([hers]);

  await tab.page.getByLabel("Look as user").fill(bob);
  await tab.button("Switch").click();
  await tab.inbox.getByRole("heading", { name: `Inbox of ${bob}` }).waitFor();
  await tab.is("Connected");
  await tab.inbox.getByText("No notifications yet.").waitFor();
  // The history is an administrator's, and names everybody's sends.
  for (const part of [tab.inbox, tab.page.locator(".events")]) {
    expect(await part.getByText("For Alice alone").count()).toBe(0);
  }
  expect(await tab.page.getByTestId("announcer").textContent()).toBe("");

  const his = await stage.gateway.send({ userIds: [bob], title: "For Bob" });
  await tab.shows(his);
  await tab.page.goBack();
  await tab.inbox.getByRole("heading", { name: `Inbox of ${alice}` }).waitFor();
  await tab.shows([hers]);
  await expect.poll(() => stage.gateway.wire.openSockets).toBe(1);
});
