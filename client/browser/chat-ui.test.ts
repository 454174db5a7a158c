// The chats on a page of their own: scrolling without a jump, keyboard, narrow pages, right to left.

import type { Locator } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Fixture, type Opened } from "./fixture.js";
import { settled } from "./harness.js";

let fixture: Fixture;
beforeAll(async () => {
  fixture = await Fixture.start();
});
afterEach(() => fixture.reset());
afterAll(() => fixture.stop());

const top = async (locator: Locator): Promise<number> => (await locator.boundingBox())?.y ?? Number.NaN;
const log = ({ page }: Opened): Locator => page.locator(".carillon-messages .carillon-chat-scroller");

/** How far the conversation is from its end. */
const leftPx = (opened: Opened): Promise<number> =>
  log(opened).evaluate((element) => element.scrollHeight - element.clientHeight - element.scrollTop);

async function opens(query: Record<string, string>, options = {}): Promise<Opened> {
  const opened = await fixture.open({ parts: "chats", ...query }, options);
  await opened.chat("bob").click();
  await opened.message("Message").first().waitFor();
  return opened;
}

test("a conversation begins at its end, and stays there while messages arrive and the field grows", async () => {
  const opened = await opens({ messages: "120" });
  const { page } = opened;
  await opened.message("Message 119.").waitFor();
  await expect.poll(() => leftPx(opened)).toBeLessThanOrEqual(1);
  await opened.say("bob", "And another one");
  await opened.message("And another one").waitFor();
  await expect.poll(() => leftPx(opened)).toBeLessThanOrEqual(1);
  await page.getByRole("textbox").fill("1\n2\n3\n4\n5");
  await settled(page);
  await expect.poll(() => leftPx(opened)).toBeLessThanOrEqual(1);
  await page.getByRole("textbox").fill("x\n".repeat(200));
  await settled(page);
  await expect.poll(async () => (await page.getByRole("textbox").boundingBox())?.height).toBe(160);
  await expect.poll(() => leftPx(opened)).toBeLessThanOrEqual(1);
  expect(opened.errors).toEqual([]);
});

test("older messages are loaded while scrolling up, and what is in sight does not jump", async () => {
  const opened = await opens({ messages: "400" });
  await opened.message("Message 399.").waitFor();
  // The distance by which the first message in sight moves is the one that was scrolled, at each of many small steps.
  const jumps = await log(opened).evaluate(async (element) => {
    const jumps: number[] = [];
    for (let n = 0; n < 120; n++) {
      const row = [...element.querySelectorAll("[data-message]")].find(
        (one) => one.getBoundingClientRect().top > element.getBoundingClientRect().top + 120,
      );
      if (!row) throw new Error("no message is in sight");
      const before = row.getBoundingClientRect().top;
      const by = Math.min(80, element.scrollTop);
      element.scrollTop -= by;
      await new Promise((resolve) => setTimeout(resolve, 20));
      await new Promise(requestAnimationFrame);
      jumps.push(Math.abs(row.getBoundingClientRect().top - before - by));
    }
    return jumps;
  });
  expect(Math.max(...jumps)).toBeLessThan(2);
  await expect.poll(() => opened.page.locator("[data-message]").count()).toBeGreaterThanOrEqual(150);
});

test("messages that arrive while older ones are read wait behind a button, and stay unread until then", async () => {
  const opened = await opens({ messages: "120" });
  const { page } = opened;
  await opened.message("Message 119.").waitFor();
  await log(opened).evaluate((element) => element.scrollTo({ top: element.scrollHeight / 2 }));
  await settled(page);
  const row = page.locator("[data-message]").nth(30);
  const before = await top(row);
  await opened.say("bob", "First");
  await opened.say("bob", "Second");
  const waiting = page.getByRole("button", { name: "2 new" });
  await waiting.waitFor();
  await opened.chat("2 unread").waitFor();
  expect(await top(row)).toBe(before);
  await waiting.click();
  await expect.poll(() => leftPx(opened)).toBeLessThanOrEqual(1);
  await waiting.waitFor({ state: "detached" });
  await opened.chat("2 unread").waitFor({ state: "detached" });
  // The focus is not lost with the button.
  await expect.poll(() => log(opened).evaluate((element) => element === document.activeElement)).toBe(true);

  // What the user writes is shown, wherever the conversation was.
  await log(opened).evaluate((element) => element.scrollTo({ top: element.scrollHeight / 2 }));
  await settled(page);
  await page.getByRole("textbox").fill("Mine");
  await page.keyboard.press("Enter");
  await opened.message("Mine").waitFor();
  await expect.poll(() => leftPx(opened)).toBeLessThanOrEqual(1);
});

test("a conversation with many unread messages begins where they do", async () => {
  const opened = await fixture.open({ parts: "chats", messages: "120" });
  await opened.chat("bob").waitFor();
  for (let n = 0; n < 30; n++) await opened.say("bob", `Unread ${n}`);
  await opened.chat("30 unread").click();
  const line = opened.page.locator(".carillon-new");
  await line.waitFor();
  const box = await log(opened).boundingBox();
  if (!box) throw new Error("no chat is open");
  await expect.poll(() => top(line)).toBeGreaterThan(box.y);
  await expect.poll(() => top(line)).toBeLessThan(box.y + box.height / 2);
  await opened.chat("30 unread").waitFor();
  await log(opened).evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
  await opened.chat("30 unread").waitFor({ state: "detached" });
});

test("messages out of the window stay unread", async () => {
  const opened = await opens({ messages: "30" });
  const { page } = opened;
  const unread = page.locator("[aria-current]").getByText("1 unread");
  await page.evaluate(() => {
    const space = document.createElement("div");
    space.style.height = "3000px";
    document.querySelector("main")?.prepend(space);
    scrollTo(0, 0);
  });
  await settled(page);
  await opened.say("bob", "Out of sight");
  await unread.waitFor();
  await page.waitForTimeout(300);
  await unread.waitFor();
  await page.locator(".carillon-chats").scrollIntoViewIfNeeded();
  await unread.waitFor({ state: "detached" });
});

test("the list and the conversation stand side by side where there is room, and in each other's place elsewhere", async () => {
  const opened = await opens({ messages: "30" });
  const { page } = opened;
  const list = page.locator(".carillon-chat-side");
  const back = page.getByRole("button", { name: "Back to the chats" });
  await list.waitFor();
  await back.waitFor({ state: "hidden" });
  await page.setViewportSize({ width: 390, height: 800 });
  await list.waitFor({ state: "hidden" });
  await back.click();
  await list.waitFor();
  await page.locator(".carillon-conversation").waitFor({ state: "detached" });
  // The focus is where it was before.
  await expect.poll(() => page.evaluate(() => document.activeElement?.textContent)).toContain("bob");
});

test("chats are opened, answered, deleted and left without a mouse", async () => {
  const opened = await fixture.open({ parts: "chats", messages: "30" });
  const { page } = opened;
  const focused = (): Promise<string> =>
    page.evaluate(() => {
      const element = document.activeElement;
      return element?.getAttribute("aria-label") ?? element?.textContent ?? "";
    });
  await opened.chat("bob").waitFor();
  await page.keyboard.press("Tab");
  await expect.poll(focused).toBe("New group");
  await page.keyboard.press("Tab");
  await expect.poll(focused).toContain("Maren");
  await page.keyboard.press("Tab");
  await expect.poll(focused).toBe("Accept: Maren");
  await page.keyboard.press("Enter");
  await page.getByText("Request", { exact: true }).waitFor({ state: "detached" });
  await page.keyboard.press("Home");
  await opened.chat("bob").focus();
  await page.keyboard.press("Enter");
  await expect.poll(focused).toBe("Message to bob");
  await page.keyboard.type("Hello");
  await page.keyboard.press("Enter");
  await opened.message("Hello").waitFor();
  await expect.poll(focused).toBe("Message to bob");
  await page.keyboard.press("Shift+Tab");
  await expect.poll(focused).toBe("Messages");
  await page.keyboard.press("Shift+Tab");
  await expect.poll(focused).toBe("Delete chat: bob");
  await page.keyboard.press("Enter");
  await page.getByText("You deleted this chat.").waitFor();
  await expect.poll(focused).toBe("bob");
  await page.keyboard.press("Tab");
  await expect.poll(focused).toBe("Restore");
  await page.keyboard.press("Enter");
  await opened.message("Message 29.").waitFor();
  await expect.poll(focused).toBe("bob");
  await page.keyboard.press("Escape");
  await expect.poll(focused).toContain("Hello");
  // Side by side, the conversation stays open.
  await opened.message("Message 29.").waitFor();
});

test("a group is made, changed and left without a mouse", async () => {
  const opened = await fixture.open({ parts: "chats", messages: "3" });
  const { page } = opened;
  const focused = (): Promise<string> =>
    page.evaluate(() => {
      const element = document.activeElement as HTMLInputElement | null;
      return element?.getAttribute("aria-label") ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? "";
    });
  const keys = async (...names: string[]): Promise<void> => {
    for (const name of names) await page.keyboard.press(name);
  };
  const people = (): Promise<string[]> => page.locator(".carillon-person .carillon-chat-name").allTextContents();
  await opened.chat("bob").waitFor();
  await keys("Tab", "Enter");
  await expect.poll(focused).toBe("New group");
  await keys("Tab");
  await expect.poll(focused).toBe("Title (optional)");
  await page.keyboard.type("Trip");
  await keys("Tab");
  await expect.poll(focused).toBe("Add a user ID");
  await page.keyboard.type("bob");
  await keys("Enter");
  await page.keyboard.type("erin");
  await keys("Enter");
  await expect.poll(people).toEqual(["alice", "bob", "erin"]);
  await keys("Enter");
  await expect.poll(focused).toBe("Message to Trip");
  // Until it is loaded, one place less takes the focus.
  await page.getByRole("region", { name: "Messages" }).waitFor();
  await keys("Shift+Tab", "Shift+Tab", "Shift+Tab");
  await expect.poll(focused).toBe("Group details: Trip");
  await keys("Enter");
  await page.getByRole("region", { name: "Group details" }).waitFor();
  await keys("Tab", "Tab");
  await expect.poll(focused).toBe("Title");
  await page.keyboard.type("To the sea");
  await keys("Enter");
  await page.getByRole("heading", { name: "To the sea" }).waitFor();
  await keys("Tab", "Tab");
  await expect.poll(focused).toBe("Add a user ID");
  await page.keyboard.type("dave");
  await keys("Enter");
  await expect.poll(people).toEqual(["alice", "bob", "erin", "dave"]);
  await keys("Tab", "Tab");
  await expect.poll(focused).toBe("Remove: bob");
  await keys("Enter");
  await expect.poll(people).toEqual(["alice", "erin", "dave"]);
  await expect.poll(focused).toBe("3 members");
  await keys("Escape");
  await expect.poll(focused).toBe("Group details: To the sea");
  await keys("Enter", "Shift+Tab", "Shift+Tab");
  await page.getByRole("button", { name: "Leave group" }).press("Enter");
  await expect.poll(focused).toBe("Cancel");
  await keys("Shift+Tab", "Enter");
  await page.getByText("Choose a chat.").waitFor();
  await expect.poll(focused).toBe("New group");
  await opened.chat("To the sea").waitFor({ state: "detached" });
  expect(opened.errors).toEqual([]);
});

test.each([320, 900])("what is shown of a group fits into a window of %i px, in both directions", async (width) => {
  for (const dir of ["ltr", "rtl"]) {
    const query = { parts: "chats", messages: "3", labels: "de", dir };
    const opened = await fixture.open(query, { viewport: { width, height: 600 } });
    const { page } = opened;
    const fits = async (): Promise<void> => {
      await settled(page);
      for (const part of await page.locator(".carillon-group, .carillon-group .carillon-chat-scroller").all()) {
        expect(await part.evaluate((element) => element.scrollWidth - element.clientWidth)).toBe(0);
      }
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    };
    await opened.chat("bob").waitFor();
    // A name begins beside its sign.
    const sign = await opened.chat("bob").locator(".carillon-avatar").boundingBox();
    const name = await opened.chat("bob").locator("bdi").first().boundingBox();
    if (!sign || !name) throw new Error("a row has no sign or no name");
    const gap = dir === "ltr" ? name.x - sign.x - sign.width : sign.x - name.x - name.width;
    expect(Math.round(gap)).toBe(12);
    await page.getByRole("button", { name: "Neue Gruppe" }).click();
    const person = page.getByRole("combobox", { name: "Nutzer-ID hinzufügen" });
    await person.fill("Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen");
    await person.press("Enter");
    await page.getByRole("textbox", { name: "Titel (optional)" }).fill("Rindfleischetikettierungsüberwachungsaufgabe");
    await fits();
    // What is said to screen readers alone takes no room.
    expect((await page.locator(".carillon-group > [role=status]").boundingBox())?.width).toBe(1);
    await page.getByRole("button", { name: "Gruppe erstellen" }).click();
    await page.getByRole("button", { name: /^Gruppendetails/ }).click();
    await page.getByRole("button", { name: "Gruppe verlassen" }).click();
    await page.getByRole("button", { name: "Abbrechen" }).waitFor();
    await fits();
    await fixture.reset();
  }
});

test.each([320, 390, 900])("the chats fit into a window of %i px, in both directions", async (width) => {
  for (const dir of ["ltr", "rtl"]) {
    const opened = await opens({ messages: "30", dir, labels: "de" }, { viewport: { width, height: 700 } });
    const { page } = opened;
    await opened.say("bob", "Donaudampfschifffahrtsgesellschaftskapitänsmützenabzeichen".repeat(6));
    await opened.message("Donaudampf").waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
    const overflow = await log(opened).evaluate((element) => element.scrollWidth - element.clientWidth);
    expect(overflow).toBe(0);
    const own = await page.locator(".carillon-message[data-own] .carillon-bubble").last().boundingBox();
    const theirs = await opened.message("Donaudampf").locator(".carillon-bubble").boundingBox();
    if (!own || !theirs) throw new Error("a message is missing");
    expect(own.x + own.width > theirs.x + theirs.width).toBe(dir === "ltr");
    await fixture.reset();
  }
});

test("the chats are styled under a policy that forbids every style sheet, and dark in the dark", async () => {
  const opened = await opens({ messages: "3" });
  const color = (selector: string): Promise<string> =>
    opened.page
      .locator(selector)
      .first()
      .evaluate((element) => getComputedStyle(element).backgroundColor);
  const selectors = [".carillon-chats", "[data-own] .carillon-bubble"];
  await expect.poll(() => color(".carillon-chats")).toBe("rgb(255, 255, 255)");
  const light = await Promise.all(selectors.map(color));
  await opened.page.emulateMedia({ colorScheme: "dark" });
  for (const [n, selector] of selectors.entries()) await expect.poll(() => color(selector)).not.toBe(light[n]);
  expect(opened.errors).toEqual([]);
});
