// The harness of the browser tests: one gateway, one browser, and visits of users to the page.
// The gateway contains the page as of its own build. CARILLON_PAGE names a folder with a later build, such as page/dist.

import { join } from "node:path";
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from "playwright-core";
import { expect } from "vitest";
import { launch, newContext, TIMEOUT_MS } from "./browser.js";
import { Gateway } from "./gateway.js";

const PATH = "/test/redis-notification";

export class Harness {
  readonly gateway: Gateway;
  readonly #browser: Browser;
  #contexts: BrowserContext[] = [];

  private constructor(gateway: Gateway, browser: Browser) {
    this.gateway = gateway;
    this.#browser = browser;
  }

  /** Starts both. `env` and `args` are variables and arguments of the gateway. */
  static async start(env: Record<string, string> = {}, args: readonly string[] = []): Promise<Harness> {
    const gateway = await Gateway.launch(env, args);
    try {
      return new Harness(gateway, await launch());
    } catch (thrown) {
      await gateway.stop();
      throw thrown;
    }
  }

  /** A user with a unique id. */
  user(name: string): string {
    return `${name}-${crypto.randomUUID().slice(0, 8)}`;
  }

  /**
   * Opens the page in a new browser context without stored data, and waits until it is connected. `prepare` runs before
   * the page opens.
   */
  async visit(
    user: string,
    options: BrowserContextOptions = {},
    prepare?: (context: BrowserContext) => Promise<unknown>,
  ): Promise<Visit> {
    const context = await newContext(this.#browser, options);
    this.#contexts.push(context);
    await prepare?.(context);
    const folder = process.env["CARILLON_PAGE"];
    if (folder) {
      await context.route(/\/page\.(js|css)$/, async (route) => {
        const [name = ""] = /[^/]+$/.exec(route.request().url()) ?? [];
        // The headers of the gateway stay, among them the content security policy.
        await route.fulfill({ response: await route.fetch(), path: join(folder, name) });
      });
    }
    return Visit.open(context, this.gateway, user);
  }

  /** Makes an accepted chat of two users. */
  async chat(user: string, other: string): Promise<string> {
    const body = { kind: "direct", participantIds: [other] };
    const { id } = (await this.gateway.call(user, "POST", "/api/chats", body)) as { id: string };
    await this.gateway.call(other, "POST", `/api/chats/${id}/accept`, {});
    return id;
  }

  /** Sends a message as a user, bypassing the simulated network. */
  async say(user: string, chatId: string, body: string): Promise<void> {
    const clientId = crypto.randomUUID();
    await this.gateway.call(user, "POST", `/api/chats/${chatId}/messages`, { clientId, body });
  }

  /** Closes all pages, and restores the network. */
  async reset(): Promise<void> {
    await Promise.all(this.#contexts.map((context) => context.close()));
    this.#contexts = [];
    this.gateway.network.restore();
    this.gateway.network.allowSockets();
  }

  async stop(): Promise<void> {
    await this.reset();
    await this.#browser.close();
    await this.gateway.stop();
  }
}

/**
 * Waits until nothing moves and the page has nothing left to do. On a busy machine a motion may take a single frame, and
 * the next one would add to it. The bell moves nothing else while it rings.
 */
export async function settled(page: Page): Promise<void> {
  await page.waitForFunction(() =>
    document
      .getAnimations()
      .every((one) => one.playState !== "running" || (one as CSSAnimation).animationName === "carillon-ring"),
  );
  await page.evaluate(
    () =>
      new Promise<void>((resolve) =>
        requestAnimationFrame(() => requestAnimationFrame(() => requestIdleCallback(() => resolve()))),
      ),
  );
}

/** One browser tab with the page open. */
export class Visit {
  readonly page: Page;
  /** Errors that the browser reported: uncaught errors and violations of the content security policy. */
  readonly errors: string[] = [];
  readonly #gateway: Gateway;
  readonly #user: string;

  private constructor(page: Page, gateway: Gateway, user: string) {
    this.page = page;
    this.#gateway = gateway;
    this.#user = user;
    page.on("pageerror", (error) => this.errors.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      // The console also reports failed calls, which are not errors of the page.
      if (message.type() === "error" && !/Failed to load resource|WebSocket connection to/.test(text)) {
        this.errors.push(text);
      }
    });
  }

  static async open(context: BrowserContext, gateway: Gateway, user: string): Promise<Visit> {
    const visit = new Visit(await context.newPage(), gateway, user);
    await visit.page.goto(`${gateway.url}${PATH}?user=${encodeURIComponent(user)}`);
    await visit.showsStatus("Connected");
    return visit;
  }

  /** A second tab of the same browser. */
  openTab(): Promise<Visit> {
    return Visit.open(this.page.context(), this.#gateway, this.#user);
  }

  get inbox(): Locator {
    const name = /^Inbox/;
    return this.page.getByRole("complementary", { name }).or(this.page.getByRole("dialog", { name }));
  }

  get bell(): Locator {
    return this.page.getByRole("button", { name: /^Notifications/ });
  }

  get transport(): Locator {
    return this.page.getByTestId("transport");
  }

  row(id: string): Locator {
    return this.inbox.locator(`[data-notification="${id}"]`);
  }

  button(name: string): Locator {
    return this.page.getByRole("button", { name, exact: true });
  }

  tab(name: string): Locator {
    return this.inbox.getByRole("tab", { name });
  }

  /** Waits until the header shows this status. */
  async showsStatus(status: string): Promise<void> {
    await this.page.getByTestId("status").getByText(status, { exact: true }).waitFor();
  }

  /**
   * Shows all rows: those out of sight are not rendered, and new ones wait while a list is scrolled, or has the pointer or
   * the focus.
   */
  async letsGo(): Promise<void> {
    await this.page.mouse.move(0, 0);
    await this.page.evaluate(() => {
      (document.activeElement as HTMLElement | null)?.blur();
      for (const element of document.querySelectorAll("*")) element.scrollTop = 0;
    });
    await this.page.setViewportSize({ width: 1_280, height: 6_000 });
  }

  /** Waits until the inbox shows exactly these ids, each once, in any order. */
  async shows(ids: readonly string[], timeout = TIMEOUT_MS): Promise<void> {
    const wanted = [...ids].sort();
    await expect.poll(async () => (await this.shownIds()).sort(), { timeout }).toEqual(wanted);
  }

  /** The ids of all rows, including duplicates. */
  shownIds(): Promise<string[]> {
    return this.inbox
      .locator("[data-notification]")
      .evaluateAll((rows) => rows.map((row) => row.getAttribute("data-notification") ?? ""));
  }

  /** Waits until the bell shows this count. */
  async showsUnread(count: number): Promise<void> {
    const name = count === 0 ? "Notifications, none unread" : `Notifications, ${count} unread`;
    await this.button(name).waitFor();
  }

  /** Waits until the browser has cached these notifications. */
  async caches(ids: readonly string[]): Promise<void> {
    const cached = (): Promise<string> =>
      this.page.evaluate(
        () =>
          new Promise((resolve, reject) => {
            const opening = indexedDB.open("carillon");
            opening.onerror = () => reject(opening.error);
            opening.onsuccess = () => {
              const database = opening.result;
              const all = database.transaction("inboxes").objectStore("inboxes").getAll();
              all.onsuccess = () => resolve(JSON.stringify(all.result));
              all.onerror = () => reject(all.error);
              database.close();
            };
          }),
      );
    for (const id of ids) await expect.poll(cached).toContain(id);
  }

  /** The highest number of `notification` events that any one notification caused. */
  async maxEventsPerNotification(): Promise<number> {
    const events = await this.page
      .locator(".event-list pre")
      .evaluateAll((lines) => lines.map((line) => JSON.parse(line.textContent ?? "") as Record<string, unknown>));
    const counts = new Map<string, number>();
    for (const event of events) {
      if (event["type"] !== "notification") continue;
      const { id } = event["notification"] as { id: string };
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    return Math.max(0, ...counts.values());
  }
}
