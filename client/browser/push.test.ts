// Push in a real browser: the service worker of the package, what the system shows, and open tabs.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { PushSite, type PushVisit } from "./pushSite.js";

let site: PushSite;
beforeAll(async () => {
  site = await PushSite.start();
});
afterEach(() => site.reset());
afterAll(() => site?.stop());

const pushed = (more: object = {}): object => ({
  kind: "notification",
  tag: "t1",
  id: "n1",
  type: "like",
  title: "Hello",
  body: "A text",
  actionUrl: "/orders/7",
  priority: "normal",
  cursor: "e1.1",
  unreadCount: 1,
  acknowledge: true,
  ...more,
});

/** A browser that is subscribed, with no page of a client open. */
async function away(): Promise<PushVisit> {
  const visit = await site.visit();
  await visit.turnOn();
  const blank = await visit.openTab("/blank");
  await visit.page.close();
  // The page is gone for the worker a moment later.
  await expect.poll(() => blank.tabs()).toEqual([`${site.origin}/blank`]);
  return blank;
}

test("turning on registers the worker and tells the server, and the next visit finds it on", async () => {
  const visit = await site.visit();
  await visit.turnOn();
  expect(site.server.pushes.owners).toEqual({ "https://push.example/1": "alice" });
  expect(visit.worker.url()).toBe(`${site.origin}/push-worker.js`);
  await visit.page.reload();
  const box = visit.page.getByRole("checkbox", { name: "Show notifications while the page is closed" });
  await expect.poll(() => box.isChecked()).toBe(true);
  await box.click();
  await expect.poll(() => site.server.pushes.owners).toEqual({});
  expect(visit.errors).toEqual([]);
});

test("while no page is open the system shows a push, which the worker acknowledges", async () => {
  const visit = await away();
  site.server.send({ title: "Hello" });
  await visit.push(pushed());
  await expect.poll(() => visit.shown()).toEqual([{ title: "Hello", body: "A text", tag: "t1" }]);
  await expect.poll(() => site.server.acked).toEqual(["e1.1"]);
});

test("a newer push replaces the one with its tag, a digest is shown beside it, and each is closed", async () => {
  const visit = await away();
  await visit.push(pushed());
  await expect.poll(async () => (await visit.shown()).length).toBe(1);
  await visit.push(pushed({ id: "n2", title: "Newer" }));
  await expect.poll(() => visit.shown()).toEqual([{ title: "Newer", body: "A text", tag: "t1" }]);
  await visit.push({ kind: "digest", tag: "t2", title: "5 new messages from bob", body: null, count: 5, chatId: "c1" });
  await expect
    .poll(async () => (await visit.shown()).map(({ title }) => title).sort())
    .toEqual(["5 new messages from bob", "Newer"]);
  await visit.push({ kind: "close", tag: "t1" });
  await expect.poll(async () => (await visit.shown()).map(({ tag }) => tag)).toEqual(["t2"]);
});

test("one that was too large is fetched by the worker", async () => {
  const visit = await away();
  site.server.send({ title: "Long", body: "All of it" });
  await visit.push({ kind: "notification", tag: "t1", id: "n1", title: "Long", fetch: true });
  await expect.poll(() => visit.shown()).toEqual([{ title: "Long", body: "All of it", tag: "t1" }]);
});

test("a page that is in use takes the push: it rings there, and the system shows nothing", async () => {
  const visit = await site.visit();
  await visit.turnOn();
  site.server.send({ title: "Pushed only", silent: true });
  await visit.page.locator("[data-notification]").getByText("Pushed only").waitFor();
  expect(await visit.page.locator("[data-toast]").count()).toBe(0);
  await visit.push(pushed({ title: "Pushed only" }));
  await visit.page.locator("[data-toast]").getByText("Pushed only").waitFor();
  expect(await visit.shown()).toEqual([]);
  expect(visit.errors).toEqual([]);
});

test("what is shown is closed when it was read before the next visit, or while a page is open", async () => {
  const visit = await away();
  for (const n of [1, 2]) {
    site.server.send({ title: `Number ${n}` });
    await visit.push(pushed({ tag: `t${n}`, id: `n${n}`, title: `Number ${n}`, cursor: `e1.${n}` }));
  }
  await expect.poll(async () => (await visit.shown()).length).toBe(2);
  site.server.change("read", ["n1"]);
  const next = await visit.openTab("/inbox");
  await expect.poll(() => next.shown()).toMatchObject([{ tag: "t2" }]);
  site.server.change("read", ["n2"]);
  await expect.poll(() => next.shown()).toEqual([]);
});

test("a click leads an open tab to the link, and reads the notification", async () => {
  const visit = await away();
  site.server.send({ title: "Hello" });
  await visit.push(pushed());
  await expect.poll(async () => (await visit.shown()).length).toBe(1);
  const tab = await visit.openTab("/settings");
  await visit.page.close();
  await tab.page.locator("[data-notification]").waitFor();
  await tab.click("t1");
  await tab.page.waitForURL(`${site.origin}/orders/7`);
  await expect.poll(() => site.server.unreadCount).toBe(0);
  await expect.poll(() => tab.shown()).toEqual([]);
});

test("after a sign-out nothing of the user is shown, and what still comes shows nothing", async () => {
  const visit = await away();
  await visit.push(pushed());
  await expect.poll(async () => (await visit.shown()).length).toBe(1);
  const tab = await visit.openTab("/inbox");
  await tab.page.locator(".carillon-preferences input:checked").first().waitFor();
  await tab.page.evaluate(() => (globalThis as unknown as { client: { signOut(): Promise<void> } }).client.signOut());
  expect(await tab.shown()).toEqual([]);
  expect(site.server.pushes.owners).toEqual({});
  await tab.page.close();
  await visit.push(pushed({ id: "n2", tag: "t2" }));
  await visit.push({ kind: "close", tag: "none" });
  expect(await visit.shown()).toEqual([]);
});
