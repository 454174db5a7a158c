// The chat panel of the page: two users side by side, and two browsers that talk.

import type { Locator } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { violations } from "./axe.js";
import { TIMEOUT_MS } from "./browser.js";
import { Panel } from "./chat.js";
import { Harness } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

const gone = (locator: Locator): Promise<void> => locator.waitFor({ state: "detached" });

test("one press opens another user beside, who is asked, accepts and talks", async () => {
  const [alice, bob] = [harness.user("alice"), harness.user("bob")];
  const visit = await harness.visit(alice);
  const { page } = visit;
  await page.getByLabel("Chat with").fill(bob);
  await visit.button(`Open as ${bob}`).click();
  const [left, right] = [Panel.of(visit, alice), Panel.of(visit, bob)];
  await right.root.getByText("No chats yet.").waitFor();
  await visit.button("Start a chat").click();

  // A request, of which bob can read the messages before answering.
  await left.open(bob);
  await left.write("Shall we have lunch?");
  await right.chat(alice).getByText("Request").waitFor();
  await right.chat(alice).getByText("1 unread").waitFor();
  await right.open(alice);
  await right.shows(["Shall we have lunch?"]);
  await right.field.waitFor({ state: "detached" });
  await right.root.getByRole("button", { name: "Accept", exact: true }).click();
  for (const { about } of [left, right]) await about.getByText("Online").waitFor();
  await left.root.getByTitle("Read", { exact: true }).waitFor();

  await right.field.pressSequentially("See you th");
  await left.root.getByText(`${bob} is typing…`).waitFor();
  await right.field.fill("See you then");
  await right.field.press("Enter");
  await left.shows(["Shall we have lunch?", "See you then"]);
  expect(await left.root.getByText(`${bob} is typing…`).count()).toBe(0);
  await right.root.getByTitle("Read", { exact: true }).waitFor();
  expect(visit.errors).toEqual([]);

  // The other user leaves the page.
  await visit.button(`Close ${bob}`).click();
  await left.about.getByText("Last seen").waitFor({ timeout: 1.5 * TIMEOUT_MS });
});

test("a chat that is deleted comes back with the next message, or restored with its whole history", async () => {
  const [alice, bob] = [harness.user("alice"), harness.user("bob")];
  const chatId = await harness.chat(alice, bob);
  const visit = await harness.visit(alice);
  const panel = Panel.of(visit, alice);
  await harness.say(bob, chatId, "Before");
  await panel.chat(bob).getByText("1 unread").waitFor();
  await panel.open(bob);
  await panel.shows(["Before"]);
  await gone(panel.chat(bob).getByText("1 unread"));
  await visit.button(`Delete chat: ${bob}`).click();
  await panel.root.getByText("You deleted this chat.").waitFor();
  await gone(panel.chat(bob));
  await harness.say(bob, chatId, "After");
  await panel.chat(bob).getByText("After").waitFor();
  await panel.shows(["After"]);

  await visit.button(`Delete chat: ${bob}`).click();
  await panel.root.getByText("You deleted this chat.").waitFor();
  await visit.page.reload();
  await visit.showsStatus("Connected");
  await panel.root.getByRole("button", { name: "Deleted chats" }).click();
  await visit.button(`Restore: ${bob}`).click();
  await panel.shows(["Before", "After"]);
});

test("a group is made, its members change it, and its owner removes one", async () => {
  const [alice, bob, erin] = [harness.user("alice"), harness.user("bob"), harness.user("erin")];
  const visit = await harness.visit(alice);
  await visit.page.getByLabel("Chat with").fill(bob);
  await visit.button(`Open as ${bob}`).click();
  const [left, right] = [Panel.of(visit, alice), Panel.of(visit, bob)];
  const button = (panel: Panel, name: string): Locator => panel.root.getByRole("button", { name, exact: true });
  const title = (panel: Panel): Locator => panel.root.getByLabel("Title", { exact: true });
  const people = (panel: Panel): Promise<string[]> =>
    panel.root.locator(".carillon-person .carillon-chat-name").allTextContents();

  await button(left, "New group").click();
  // Its heading takes the place of the one by which a panel is found.
  await visit.page.getByLabel("Title (optional)").fill("Lunch");
  await visit.page.getByLabel("Add a user ID").fill(bob);
  await visit.button("Create group").click();
  await left.write("Hungry?");
  await right.open("Lunch");
  await right.shows(["Hungry?"]);

  await button(right, "Group details: Lunch").click();
  await right.root.getByLabel("Add a user ID").fill(erin);
  await button(right, "Add").click();
  await expect.poll(() => people(right)).toEqual([alice, bob, erin]);
  expect(await right.root.getByRole("button", { name: /^Remove/ }).count()).toBe(0);
  await title(right).fill("Dinner");
  await button(right, "Save").click();

  await button(left, "Group details: Dinner").click();
  await expect.poll(() => title(left).inputValue()).toBe("Dinner");
  await left.root.locator(".carillon-person").filter({ hasText: bob }).getByText("Online").waitFor();
  await button(left, `Remove: ${bob}`).click();
  await expect.poll(() => people(left)).toEqual([alice, erin]);
  await right.root.getByRole("heading", { name: "This chat no longer exists." }).waitFor();

  await button(left, "Leave group").click();
  await button(left, "Leave").click();
  await gone(left.chat("Dinner"));
  await gone(left.root.locator(".carillon-conversation"));
  expect(visit.errors).toEqual([]);
});

test("what is written survives a reload, and what is written offline is sent later", async () => {
  const [alice, bob] = [harness.user("alice"), harness.user("bob")];
  await harness.chat(alice, bob);
  const visit = await harness.visit(alice);
  const panel = Panel.of(visit, alice);
  await panel.open(bob);
  await panel.field.fill("A draft");
  await visit.page.reload();
  await visit.showsStatus("Connected");
  await panel.open(bob);
  await expect.poll(() => panel.field.inputValue()).toBe("A draft");
  harness.gateway.network.cut();
  await visit.showsStatus("Offline");
  await panel.field.press("Enter");
  await panel.shows(["A draft"]);
  await panel.root.getByTitle("Sending").waitFor();
  expect(await violations(visit.page)).toEqual([]);
  harness.gateway.network.restore();
  await panel.root.getByTitle("Sent", { exact: true }).waitFor();
});

test("two browsers talk, and two tabs of one of them show the same", async () => {
  const [alice, bob] = [harness.user("alice"), harness.user("bob")];
  await harness.chat(alice, bob);
  const [first, other] = [await harness.visit(alice), await harness.visit(bob)];
  const second = await first.openTab();
  const panels = [Panel.of(first, alice), Panel.of(second, alice), Panel.of(other, bob)] as const;
  for (const panel of panels) await panel.open(panel.user === alice ? bob : alice);
  const said: string[] = [];
  for (const [n, panel] of [...panels, ...panels].entries()) {
    await panel.write(`Number ${n}`);
    said.push(`Number ${n}`);
    for (const each of panels) await each.shows(said);
  }
});

test.each([390, 1280])("the panel has no violations at %i px, in any theme", async (width) => {
  const [alice, bob] = [harness.user("alice"), harness.user("bob")];
  const chatId = await harness.chat(alice, bob);
  await harness.say(bob, chatId, "Hi");
  const visit = await harness.visit(alice, { viewport: { width, height: 900 } });
  await visit.page.getByLabel("Chat with").fill(bob);
  await visit.button(`Open as ${bob}`).click();
  const [left, right] = [Panel.of(visit, alice), Panel.of(visit, bob)];
  await right.open(alice);
  await right.write("Are you there?");
  await left.chat(bob).getByText("2 unread").waitFor();
  await left.chat(bob).getByText("Online").waitFor();
  for (const colorScheme of ["light", "dark"] as const) {
    await visit.page.emulateMedia({ colorScheme });
    expect(await violations(visit.page)).toEqual([]);
  }
  expect(await visit.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
});
