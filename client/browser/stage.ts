// What the tests are told in: a stage with one gateway and one browser, and visits of users to the page.

import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  chromium,
  type Locator,
  type Page,
} from "playwright-core";
import { expect } from "vitest";
import { Gateway } from "./gateway.js";

const PATH = "/test/redis-notification";
/** Long enough for a reconnect that has backed off, short enough to fail within a test. */
export const PATIENCE_MS = 45_000;

export class Stage {
  readonly gateway: Gateway;
  readonly #browser: Browser;
  #contexts: BrowserContext[] = [];

  private constructor(gateway: Gateway, browser: Browser) {
    this.gateway = gateway;
    this.#browser = browser;
  }

  static async set(env: Record<string, string> = {}): Promise<Stage> {
    const gateway = await Gateway.begin(env);
    try {
      const browser = await chromium.launch({
        executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
        args: ["--no-sandbox", "--disable-background-networking"],
      });
      return new Stage(gateway, browser);
    } catch (problem) {
      await gateway.end();
      throw problem;
    }
  }

  /** A user nobody else is. */
  user(name: string): string {
    return `${name}-${crypto.randomUUID().slice(0, 8)}`;
  }

  /** Opens the page in a browser that has never been there, and waits until it is connected. */
  async visit(user: string, options: BrowserContextOptions = {}): Promise<Visit> {
    const context = await this.#browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
    this.#contexts.push(context);
    return Visit.open(context, this.gateway, user);
  }

  /** Everything is well again, and everybody gone. */
  async clear(): Promise<void> {
    await Promise.all(this.#contexts.map((context) => context.close()));
    this.#contexts = [];
    this.gateway.wire.mend();
    this.gateway.wire.letSockets();
  }

  async strike(): Promise<void> {
    await this.clear();
    await this.#browser.close();
    await this.gateway.end();
  }
}

/** One tab that looks at the page. */
export class Visit {
  readonly page: Page;
  /** What the browser complained about: thrown errors, breaches of the policy. */
  readonly complaints: string[] = [];
  readonly #gateway: Gateway;
  readonly #user: string;

  private constructor(page: Page, gateway: Gateway, user: string) {
    this.page = page;
    this.#gateway = gateway;
    this.#user = user;
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("console", (message) => {
      const text = message.text();
      // A refused or cut call is in the console too, which is no complaint about the page.
      if (message.type() === "error" && !/Failed to load resource|WebSocket connection to/.test(text)) {
        this.complaints.push(text);
      }
    });
  }

  static async open(context: BrowserContext, gateway: Gateway, user: string): Promise<Visit> {
    const visit = new Visit(await context.newPage(), gateway, user);
    await visit.page.goto(`${gateway.url}${PATH}?user=${encodeURIComponent(user)}`);
    await visit.is("Connected");
    return visit;
  }

  /** A second tab of the same browser. */
  nextTab(): Promise<Visit> {
    return Visit.open(this.page.context(), this.#gateway, this.#user);
  }

  get inbox(): Locator {
    return this.page.getByRole("complementary", { name: /^Inbox/ });
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

  /** The header says so. */
  async is(status: string): Promise<void> {
    await this.page.getByTestId("status").getByText(status, { exact: true }).waitFor({ timeout: PATIENCE_MS });
  }

  /** Shows exactly these, each once, whatever the order. */
  async shows(ids: readonly string[], timeout = PATIENCE_MS): Promise<void> {
    const wanted = [...ids].sort();
    await expect.poll(async () => (await this.shown()).sort(), { timeout }).toEqual(wanted);
  }

  /** The ids in all rows; one that stands there twice is there twice. */
  shown(): Promise<string[]> {
    return this.inbox
      .locator("[data-notification]")
      .evaluateAll((rows) => rows.map((row) => row.getAttribute("data-notification") ?? ""));
  }

  async countsUnread(count: number): Promise<void> {
    const name = count === 0 ? "Notifications, none unread" : `Notifications, ${count} unread`;
    await this.button(name).waitFor({ timeout: PATIENCE_MS });
  }

  /** The browser holds these for a visit without a network. */
  async keeps(ids: readonly string[]): Promise<void> {
    const kept = (): Promise<string> =>
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
    for (const id of ids) await expect.poll(kept).toContain(id);
  }

  /** How often each notification was told as an event: the most any was. */
  async toldAtMost(): Promise<number> {
    const told = await this.page
      .locator(".event-list pre")
      .evaluateAll((lines) => lines.map((line) => JSON.parse(line.textContent ?? "") as Record<string, unknown>));
    const times = new Map<string, number>();
    for (const event of told) {
      if (event["type"] !== "notification") continue;
      const { id } = event["notification"] as { id: string };
      times.set(id, (times.get(id) ?? 0) + 1);
    }
    return Math.max(0, ...times.values());
  }
}
