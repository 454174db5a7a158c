// The page without a mouse, and on a phone.

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

/** The name of the focused element, as a screen reader announces it. */
async function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const element = document.activeElement;
    return element?.getAttribute("aria-label") ?? element?.textContent?.trim() ?? "";
  });
}

/** Presses Tab until the focus reaches the element. */
async function tabTo(page: Page, name: RegExp): Promise<void> {
  for (let presses = 0; presses < 80; presses++) {
    if (name.test(await focused(page))) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab never reaches ${name}`);
}

test("the bell, the tabs, reading and deleting work by keyboard, and the focus is never lost", async () => {
  const alice = harness.user("alice");
  const { page, ...tab } = await harness.visit(alice).then((visit) => ({ page: visit.page, visit }));
  const [first] = await harness.gateway.send({ userIds: [alice], title: "First", type: "like" });
  const [second] = await harness.gateway.send({ userIds: [alice], title: "Second", type: "like" });
  const [third] = await harness.gateway.send({ userIds: [alice], title: "Third", type: "like" });
  if (!first || !second || !third) throw new Error("nothing was sent");
  await tab.visit.showsUnread(3);

  await tabTo(page, /^Notifications, 3 unread$/);
  await expect.poll(() => tab.visit.bell.getAttribute("aria-expanded")).toBe("true");
  await page.keyboard.press("Enter");
  await tab.visit.inbox.waitFor({ state: "hidden" });
  await page.keyboard.press("Enter");
  await tab.visit.inbox.waitFor();

  await tabTo(page, /^All$/);
  await page.keyboard.press("ArrowRight");
  await expect.poll(() => focused(page)).toMatch(/^Unread/);
  await page.keyboard.press("End");
  await expect.poll(() => focused(page)).toMatch(/^Like/);
  await page.keyboard.press("ArrowRight");
  await expect.poll(() => focused(page)).toMatch(/^All/);
  await page.keyboard.press("ArrowLeft");
  await expect.poll(() => tab.visit.tab("Like").getAttribute("aria-selected")).toBe("true");
  // All tabs share one tab stop, so the next one is in the list.
  await page.keyboard.press("Tab");
  await expect.poll(() => focused(page)).toBe("Mark as read: Third");

  await page.keyboard.press("Enter");
  await tab.visit.showsUnread(2);
  await expect.poll(() => focused(page)).toBe("Mark as unread: Third");

  await tabTo(page, /^Delete: Third$/);
  await page.keyboard.press("Enter");
  await tab.visit.shows([first, second]);
  await expect.poll(() => focused(page)).toBe("Delete: Second");
  await page.keyboard.press("Enter");
  await tab.visit.shows([first]);
  await expect.poll(() => focused(page)).toBe("Delete: First");
  await page.keyboard.press("Enter");
  await tab.visit.shows([]);
  await expect.poll(() => page.evaluate(() => document.activeElement?.role)).toBe("tabpanel");
});

test("on a phone the bell opens the inbox over the page, and Escape returns the focus to the bell", async () => {
  const alice = harness.user("alice");
  const visit = await harness.visit(alice, { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  const ids = await harness.gateway.send({ userIds: [alice], title: "On the go" });
  await visit.showsUnread(1);
  expect(await visit.inbox.isVisible()).toBe(false);
  // Nothing is wider than the screen.
  expect(await visit.page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);

  await visit.bell.tap();
  await visit.shows(ids);
  await expect.poll(() => visit.page.evaluate(() => document.activeElement?.role)).toBe("dialog");
  await visit.page.keyboard.press("Escape");
  await visit.inbox.waitFor({ state: "hidden" });
  await expect.poll(() => focused(visit.page)).toBe("Notifications, 1 unread");
});
