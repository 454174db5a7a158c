// What a user does while the gateway is down, in several tabs, over reloads; and what is left after signing out.

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness, type Visit } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

const folder = process.env["CARILLON_PAGE"] ?? fileURLToPath(new URL("../page/dist", import.meta.url));

/** The page itself comes from elsewhere than the API, so it can be loaded while the gateway is down. */
async function hostPage(context: BrowserContext): Promise<void> {
  await context.route(/\/test\/redis-notification/, (route) => {
    const [name] = /page\.(js|css)$/.exec(route.request().url()) ?? [];
    return route.fulfill({ path: join(folder, name ?? "index.html") });
  });
}

/** Collects the ids of all changes that a page sends, in frames or calls. */
function watch(page: Page, sent: string[]): void {
  page.on("websocket", (socket) =>
    socket.on("framesent", ({ payload }) => {
      const { action, ids } = JSON.parse(String(payload)) as { action: string; ids?: string[] };
      if (["read", "unread", "delete"].includes(action)) sent.push(...(ids ?? []));
    }),
  );
  page.on("response", (response) => {
    const [, id] = /\/api\/notifications\/([0-9a-f-]{36})/.exec(response.url()) ?? [];
    if (id && response.ok() && response.request().method() !== "GET") sent.push(id);
  });
}

async function sends(user: string, titles: readonly string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const title of titles) ids.push(...(await harness.gateway.send({ userIds: [user], title })));
  return ids;
}

const inboxOf = (user: string): Promise<unknown> => harness.gateway.call(user, "GET", "/api/notifications");

test("changes made while the gateway is killed survive reloads and closed tabs, and are sent once", async () => {
  const alice = harness.user("alice");
  const first = await harness.visit(alice);
  const context = first.page.context();
  await hostPage(context);
  // Both tabs run the same build.
  await first.page.reload();
  await first.showsStatus("Connected");
  const second = await first.openTab();
  const sent: string[] = [];
  for (const { page } of [first, second]) watch(page, sent);
  const titles = ["One", "Two", "Three", "Four", "Five"];
  const [one, two, three, four, five] = (await sends(alice, titles)) as [string, string, string, string, string];
  const all = [one, two, three, four, five];
  for (const tab of [first, second]) await tab.shows(all);
  await first.caches(all);

  await harness.gateway.kill();
  for (const tab of [first, second]) await tab.showsStatus("Offline");
  await first.button("Mark as read: One").click();
  await first.button("Delete: Two").click();
  await second.button("Mark as read: Three").click();
  await second.button("Delete: Four").click();
  // Each tab shows what the other did.
  for (const tab of [first, second]) {
    await tab.shows([one, three, five]);
    await tab.showsUnread(1);
  }
  await second.page.close();
  await first.page.reload();
  await first.showsStatus("Offline");
  await first.shows([one, three, five]);
  await first.showsUnread(1);
  expect(sent).toEqual([]);

  await harness.gateway.start();
  await first.showsStatus("Connected");
  await expect
    .poll(() => inboxOf(alice))
    .toMatchObject({ unreadCount: 1, items: [{ id: five, readAt: null }, { id: three }, { id: one }] });
  await first.shows([one, three, five]);
  await first.showsUnread(1);
  // The server acts before the browser has its answer.
  await expect.poll(() => sent.toSorted()).toEqual([one, two, three, four].sort());

  // Nothing is left to send on the next visit.
  await first.page.reload();
  await first.showsStatus("Connected");
  await first.shows([one, three, five]);
  expect(sent.length).toBe(4);
});

async function pastes(page: Page, token: string): Promise<void> {
  await page.getByLabel("Bearer token").fill(token);
  await page.getByRole("button", { name: "Use this token" }).click();
}

/** Everything that the browser stores for the page, as text. */
function storedIn({ page }: Visit): Promise<string> {
  return page.evaluate(
    () =>
      new Promise<string>((resolve, reject) => {
        const opening = indexedDB.open("carillon");
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const database = opening.result;
          const transaction = database.transaction([...database.objectStoreNames]);
          const reads = [...database.objectStoreNames].map((name) => transaction.objectStore(name).getAll());
          transaction.oncomplete = () => resolve(JSON.stringify(reads.map(({ result }) => result)));
          database.close();
        };
      }),
  );
}

test("signing out in one tab leaves nothing of the user in any tab or on the device", async () => {
  const alice = harness.user("alice");
  const first = await harness.visit(alice);
  const token = await harness.gateway.token(alice);
  const context = first.page.context();
  await context.route(/\/_gateway\//, (route) => route.fulfill({ status: 404, json: {} }));
  const second = { page: await context.newPage() };
  await second.page.goto(first.page.url());
  await first.page.evaluate(() => sessionStorage.clear());
  await first.page.reload();
  for (const { page } of [first, second]) await pastes(page, token);
  await first.showsStatus("Connected");
  const ids = await sends(alice, ["Secret"]);
  await first.shows(ids);
  await second.page.getByText("Secret").first().waitFor();
  await first.caches(ids);
  expect(await storedIn(first)).toContain("Secret");

  await second.page.getByRole("button", { name: "Use another token" }).click();
  await first.showsStatus("Closed");
  await first.shows([]);
  await expect.poll(() => storedIn(first)).not.toContain(alice);
  await expect.poll(() => storedIn(first)).not.toContain("Secret");
  await expect.poll(() => harness.gateway.network.openSockets).toBe(0);
});
