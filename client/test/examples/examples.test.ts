// The examples do what the README says, from an installation to a click.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject, test } from "vitest";
import { Gateway } from "../../browser/gateway.js";
import { fakePushManager, PushTools } from "../../browser/pushTools.js";
import { PushService } from "../gateway/pushService.js";
import { install, root } from "../package/run.js";
import { App, examples } from "./app.js";

const here = join(root, "test/examples");
const timeout = 30_000;
let pushService: PushService;
let gateway: Gateway;
let browser: Browser;
let app: App | null = null;

beforeAll(async () => {
  pushService = await PushService.start();
  gateway = await Gateway.launch({ WEB_PUSH_HOSTS: pushService.host });
  browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-background-networking"],
  });
});

afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  await app?.remove();
  app = null;
  // Each test begins with nothing unread.
  await gateway.call("alice", "POST", "/api/notifications/read-all", {});
});

afterAll(async () => {
  await browser.close();
  await gateway.stop();
  await pushService.stop();
});

async function build(name: string, packages: string, files: Readonly<Record<string, string>> = {}): Promise<App> {
  app = await App.install(name, packages, inject("tarball"), gateway.url, files);
  await app.build();
  return app;
}

/** A page, and what the browser complains about in it. */
async function visit(url: string, context?: BrowserContext): Promise<{ page: Page; complaints: string[] }> {
  const page = await (context ?? (await browser.newContext())).newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // No example has an icon, which every browser asks for.
    const isIcon = message.location().url.endsWith("/favicon.ico");
    if (["error", "warning"].includes(message.type()) && !isIcon) complaints.push(message.text());
  });
  await page.goto(url);
  return { page, complaints };
}

const heading = (page: Page, text: string): Promise<void> =>
  page.getByRole("heading", { name: text, exact: true }).waitFor({ timeout });

/** The code that the README shows. */
async function shown(): Promise<string[]> {
  const readme = await readFile(join(root, "README.md"), "utf8");
  return [...readme.matchAll(/```(?:tsx?|html)\n([\s\S]*?)```/g)].map(([, code]) => code ?? "");
}

/** Runs in the page: everything that the client saved there. */
const savedInboxes = (): Promise<string> =>
  new Promise((resolve, reject) => {
    const opening = indexedDB.open("carillon");
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const all = opening.result.transaction("inboxes").objectStore("inboxes").getAll();
      all.onsuccess = () => resolve(JSON.stringify(all.result));
      all.onerror = () => reject(all.error);
      opening.result.close();
    };
  });

async function countConnections(): Promise<number> {
  const metrics = await gateway.call("alice", "GET", "/api/notifications/metrics/redis");
  return (metrics as { connections: number }).connections;
}

/** Reloads the page while the gateway cannot be reached, as soon as this title was saved there as read. */
async function reloadOffline(page: Page, title: string): Promise<void> {
  const isSaved = async (): Promise<boolean> => {
    const saved = await page.evaluate(savedInboxes);
    return saved.includes(title) && !saved.includes('"readAt":null');
  };
  await expect.poll(isSaved, { timeout }).toBe(true);
  gateway.network.cut();
  await page.reload();
}

test("React: the app in the README is the example, word for word, and rings", async () => {
  const code = await shown();
  for (const file of ["src/main.tsx", "vite.config.ts"]) {
    expect(code).toContain(await readFile(join(examples, "react", file), "utf8"));
  }
  // The README's example for a back end is checked with it.
  const server = code.find((part) => part.includes("/server") && part.includes("sendId"));
  const built = await build("react", here, {
    "src/server.ts": `declare const token: string;\n${server}export { sendId };\n`,
  });
  const { page, complaints } = await visit(await built.serve("vite/bin/vite.js", "preview", "--port", "0"));
  await heading(page, "0 unread, connected");
  await gateway.send({ userIds: ["alice"], title: "Parcel" });
  await heading(page, "1 unread, connected");
  await page.getByRole("button", { name: "Notifications, 1 unread" }).focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await heading(page, "0 unread, connected");
  expect(complaints).toEqual([]);

  await reloadOffline(page, "Parcel");
  await page.getByRole("button", { name: "Parcel" }).waitFor({ timeout });
  gateway.network.restore();
  await heading(page, "0 unread, connected");
});

test("without a framework: the page in the README is the example, word for word, and its bell rings", async () => {
  const code = await shown();
  expect(code).toContain(await readFile(join(examples, "vanilla/src/main.ts"), "utf8"));
  const built = await build("vanilla", here);
  const { page, complaints } = await visit(await built.serve("vite/bin/vite.js", "preview", "--port", "0"));
  await heading(page, "0 unread, connected");
  await gateway.send({ userIds: ["alice"], title: "Letter", actionUrl: "/letters/1" });
  const bell = page.getByRole("button", { name: "Notifications, 1 unread" });
  await bell.waitFor({ timeout });
  expect(await look(page)).toEqual({ width: 40, isSpokenSeen: false });

  // With the keyboard alone: open, mark all as read, close.
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const inbox = page.getByRole("dialog", { name: "Notifications" });
  await inbox.getByRole("link", { name: "Letter" }).waitFor({ timeout });
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await heading(page, "0 unread, connected");
  await page.keyboard.press("Escape");
  await inbox.waitFor({ state: "detached", timeout });
  await expect.poll(() => page.evaluate(() => document.activeElement?.tagName), { timeout }).toBe("CARILLON-BELL");
  expect(complaints).toEqual([]);

  await reloadOffline(page, "Letter");
  await page.getByRole("button", { name: "Notifications, none unread" }).click();
  await inbox.getByRole("link", { name: "Letter" }).waitFor({ timeout });
  gateway.network.restore();
  await heading(page, "0 unread, connected");
});

test("Vue: the component in docs/listening.md rings, and reads on a click", async () => {
  const built = await build("vue", here);
  const { page, complaints } = await visit(await built.serve("vite/bin/vite.js", "preview", "--port", "0"));
  await heading(page, "0 unread, connected");
  await gateway.send({ userIds: ["alice"], title: "Postcard" });
  await page.getByRole("button", { name: "New: Postcard", exact: true }).click();
  await heading(page, "0 unread, connected");
  await page.getByRole("button", { name: "Postcard", exact: true }).waitFor({ timeout });
  expect(complaints).toEqual([]);
});

/** What axe finds wrong with the element and its open inbox. */
async function violations(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: join(root, "node_modules/axe-core/axe.min.js") });
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(on: string): Promise<{ violations: { id: string }[] }> } };
    return (await axe.run("carillon-bell")).violations.map(({ id }) => id);
  });
}

/** How the bell of the element looks: its style sheet reaches into the shadow root. */
const look = (page: Page): Promise<{ width: number; isSpokenSeen: boolean }> =>
  page.evaluate(() => {
    const root = document.querySelector("carillon-bell")?.shadowRoot;
    const width = root?.querySelector(".carillon-bell")?.getBoundingClientRect().width ?? 0;
    const spoken = root?.querySelector(".carillon-spoken")?.getBoundingClientRect().width ?? 0;
    return { width, isSpokenSeen: spoken > 1 };
  });

test("push: the app in the README is the example, word for word, and rings while it is closed", async () => {
  const code = await shown();
  expect(code).toContain(await readFile(join(examples, "push/src/main.tsx"), "utf8"));
  const built = await build("push", here);
  const url = await built.serve("vite/bin/vite.js", "preview", "--port", "0");
  const { key } = (await gateway.call("alice", "GET", "/api/push/key")) as { key: string };
  const pushed = pushService.browser(key);
  const context = await browser.newContext();
  await context.grantPermissions(["notifications"], { origin: url });
  await context.addInitScript(fakePushManager, pushed.subscription);
  const { page, complaints } = await visit(url, context);
  await heading(page, "Push is off");
  await page.getByRole("button", { name: "Turn it on" }).click();
  await heading(page, "Push is on");
  await page.getByRole("checkbox", { name: "Push" }).first().waitFor({ timeout });
  expect(complaints).toEqual([]);

  // What the server sends to the browser's push service is what the worker gets.
  const other = await context.newPage();
  const tools = await PushTools.attach(other, url);
  await page.close();
  // The server pushes at once only after it has heard that the page was closed.
  await expect.poll(countConnections, { timeout }).toBe(0);
  await gateway.send({ userIds: ["alice"], title: "Parcel", actionUrl: "/parcels/1" });
  await expect.poll(() => pushed.pushes.length, { timeout }).toBe(1);
  await tools.deliver(pushed.pushes[0] ?? {});
  const titles = (): Promise<string[]> | undefined =>
    context.serviceWorkers()[0]?.evaluate(async () => {
      const { registration } = globalThis as unknown as { registration: ServiceWorkerRegistration };
      return (await registration.getNotifications()).map(({ title }) => title);
    });
  await expect.poll(titles, { timeout }).toEqual(["Parcel"]);
  expect(pushService.errors).toEqual([]);

  const next = await visit(url, context);
  await heading(next.page, "Push is on");
  await next.page.getByRole("button", { name: "Turn it off" }).click();
  await heading(next.page, "Push is off");
  await expect.poll(titles, { timeout }).toEqual([]);
});

test("Next: the app in the README is the example, word for word, hydrates without a warning, and rings", async () => {
  const code = await shown();
  for (const file of ["next.config.ts", "app/carillon.tsx", "app/page.tsx", "app/gateway.ts", "app/token/route.ts"]) {
    expect(code).toContain(await readFile(join(examples, "next", file), "utf8"));
  }
  const packages = join(here, "next");
  await install(packages);
  const built = await build("next", packages);
  const url = await built.serve("next/dist/bin/next", "start", "--port", "0");
  const rendered = (await (await fetch(url)).text()).replaceAll("<!-- -->", "");
  expect(rendered).toContain("<h2>0 unread, closed</h2>");

  const { page, complaints } = await visit(url);
  await page.getByText("connected").waitFor({ timeout });
  await page.getByRole("button", { name: "Ring" }).click();
  const row = page.getByRole("button", { name: "Hello" });
  await row.waitFor({ timeout });
  await page.getByRole("button", { name: "Notifications, 1 unread" }).waitFor({ timeout });
  await row.click();
  await page.getByText("0 unread, connected").waitFor({ timeout });
  expect(complaints).toEqual([]);
});
