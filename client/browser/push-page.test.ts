// Push, preferences and snoozes on the test page. The test relays what the push service receives to the worker.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type PushedBrowser, PushService } from "../test/gateway/pushService.js";
import { Harness, type Visit } from "./harness.js";
import { fakePushManager, PushTools } from "./pushTools.js";

let service: PushService;
let harness: Harness;
let key: string;
beforeAll(async () => {
  service = await PushService.start();
  harness = await Harness.start({ WEB_PUSH_HOSTS: service.host });
  ({ key } = (await harness.gateway.call("anyone", "GET", "/api/push/key")) as { key: string });
});
afterEach(() => harness.reset());
afterAll(async () => {
  await harness?.stop();
  await service?.stop();
});

/** Opens the page in a browser that can subscribe, and turns push on. */
async function subscribed(user: string): Promise<{ tab: Visit; browser: PushedBrowser; tools: PushTools }> {
  const browser = service.browser(key);
  const tab = await harness.visit(user, { permissions: ["notifications"] }, (context) =>
    context.addInitScript(fakePushManager, browser.subscription),
  );
  const box = tab.page.getByRole("checkbox", { name: "Show notifications while the page is closed" });
  await box.click();
  await expect.poll(() => box.isChecked()).toBe(true);
  return { tab, browser, tools: await PushTools.attach(tab.page, harness.gateway.url) };
}

test("a push from the form reaches the browser, rings on the page in use, and is in its trace", async () => {
  const { tab, browser, tools } = await subscribed(harness.user("alice"));
  const form = tab.page.getByRole("region", { name: "Send", exact: true });
  await form.getByLabel("Title").fill("By push alone");
  await form.getByRole("button", { name: "Send as a push" }).click();
  await form.getByText("Push accepted for 1 of 1").waitFor();
  await tab.inbox.getByText("By push alone").waitFor();
  await expect.poll(() => browser.pushes.length).toBe(1);
  expect(browser.pushes[0]).toMatchObject({ kind: "notification", title: "By push alone" });
  const events = tab.page.locator(".event-list");
  expect(await events.getByText("pushed", { exact: true }).count()).toBe(0);
  await tools.deliver(browser.pushes[0] ?? {});
  await events.getByText("pushed", { exact: true }).waitFor();
  await form.getByRole("button", { name: /^Trace/ }).click();
  // Frames are traced as pushes too, with their connection; a push to a browser has none.
  const steps = tab.page.getByTestId("trace").getByRole("listitem").filter({ hasText: "Pushed" });
  await steps.filter({ hasNot: tab.page.locator("[title=Connection]") }).waitFor();
  expect([tab.errors, service.errors]).toEqual([[], []]);
});

test("the trace shows a push that the push service refused as failed", async () => {
  const { tab, browser } = await subscribed(harness.user("alice"));
  browser.answers.push({ status: 400 });
  const form = tab.page.getByRole("region", { name: "Send", exact: true });
  await form.getByRole("button", { name: "Send as a push" }).click();
  await form.getByRole("button", { name: /^Trace/ }).click();
  await tab.page.getByTestId("trace").getByText("Push failed").waitFor();
});

test("a type turned off in the preferences is saved, and a chat is muted and unmuted", async () => {
  const alice = harness.user("alice");
  const bob = harness.user("bob");
  const { tab } = await subscribed(alice);
  const panel = tab.page.getByRole("region", { name: "Notification settings" });
  await panel.getByRole("group", { name: "Build failed" }).getByRole("checkbox", { name: "Push" }).click();
  const preferences = (): Promise<unknown> => harness.gateway.call(alice, "GET", "/api/preferences");
  await expect.poll(preferences).toMatchObject({ types: { BUILD_FAILED: { push: false } } });
  const chatId = await harness.chat(alice, bob);
  await harness.say(bob, chatId, "Hello");
  await tab.page.locator(`[data-chat="${chatId}"] button`).first().click();
  await tab.button("Mute").click();
  await expect.poll(preferences).toMatchObject({ mutedChats: { [chatId]: null } });
  await panel.getByRole("button", { name: `Unmute: ${bob}` }).click();
  await expect.poll(preferences).toMatchObject({ mutedChats: {} });
  await tab.button("Mute").waitFor();
  expect(tab.errors).toEqual([]);
});

test("a snoozed notification leaves both tabs, and comes back in both", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const other = await tab.openTab();
  const [id = ""] = await harness.gateway.send({ userIds: [alice], title: "Later" });
  await tab.shows([id]);
  await tab.row(id).getByRole("button", { name: "Snooze: Later" }).click();
  await tab.row(id).getByRole("button", { name: "1 hour" }).click();
  await tab.letsGo();
  for (const one of [tab, other]) await one.shows([]);
  // A second snooze replaces the first, and ends at once.
  await harness.gateway.call(alice, "POST", `/api/notifications/${id}/snooze`, { until: new Date().toISOString() });
  for (const one of [tab, other]) {
    await one.shows([id]);
    await one.showsUnread(1);
  }
});
