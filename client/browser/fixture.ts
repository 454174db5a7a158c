// Opens the page of `fixture/` in a browser, with the strictest content security policy that lets its script run.

import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, BrowserContextOptions, Locator, Page } from "playwright-core";
import { build } from "vite";
import type { Sent } from "../test/harness/inbox.js";
import type { FakeServer } from "../test/harness/server.js";
import { launch, newContext } from "./browser.js";

const ORIGIN = "http://127.0.0.1:9";

export class Fixture {
  readonly #browser: Browser;
  readonly #script: string;
  #contexts: BrowserContext[] = [];

  private constructor(browser: Browser, script: string) {
    this.#browser = browser;
    this.#script = script;
  }

  static async start(): Promise<Fixture> {
    const built = await build({
      configFile: false,
      logLevel: "warn",
      // Vitest sets another mode, which would build React for development.
      define: { "process.env.NODE_ENV": '"production"' },
      oxc: { jsx: { runtime: "automatic", development: false } },
      build: {
        write: false,
        modulePreload: false,
        cssTarget: ["chrome123"],
        rolldownOptions: {
          input: fileURLToPath(new URL("fixture/main.tsx", import.meta.url)),
          output: { codeSplitting: false },
          checks: { moduleLevelDirective: false },
        },
      },
    });
    const [chunk] = "output" in built ? built.output : [];
    if (chunk?.type !== "chunk") throw new Error("the fixture has no script");
    return new Fixture(await launch(), chunk.code);
  }

  /** Opens the page. `query` chooses components, language and the number of notifications. */
  async open(query: Readonly<Record<string, string>>, options: BrowserContextOptions = {}): Promise<Opened> {
    const context = await newContext(this.#browser, options);
    this.#contexts.push(context);
    const headers = { "Content-Security-Policy": "default-src 'none'; script-src 'self'" };
    const html = `<!doctype html><html lang="${query["labels"] ?? "en"}" dir="${query["dir"] ?? "ltr"}"><title>Fixture</title>
      <meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
      <main><h1>Fixture</h1><div id="page"></div></main><script type="module" src="/page.js"></script>`;
    await context.route(/./, (route) =>
      new URL(route.request().url()).pathname === "/page.js"
        ? route.fulfill({ contentType: "text/javascript", body: this.#script })
        : route.fulfill({ contentType: "text/html", headers, body: html }),
    );
    const opened = new Opened(await context.newPage());
    await opened.page.goto(`${ORIGIN}/?${new URLSearchParams(query)}`);
    return opened;
  }

  /** Closes all pages. */
  async reset(): Promise<void> {
    await Promise.all(this.#contexts.map((context) => context.close()));
    this.#contexts = [];
  }

  async stop(): Promise<void> {
    await this.#browser.close();
  }
}

/** One page, and the server in it. */
export class Opened {
  readonly page: Page;
  /** Errors that the browser reported: uncaught errors and violations of the content security policy. */
  readonly errors: string[] = [];

  constructor(page: Page) {
    this.page = page;
    page.on("pageerror", (error) => this.errors.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") this.errors.push(message.text());
    });
  }

  get bell(): Locator {
    return this.page.locator(".carillon-bell");
  }

  get panel(): Locator {
    return this.page.getByRole("dialog");
  }

  row(title: string): Locator {
    return this.page.locator("[data-notification]").filter({ hasText: title });
  }

  /** The list's row of a chat. */
  chat(name: string): Locator {
    return this.page.locator("[data-chat]").filter({ hasText: name }).locator("button").first();
  }

  /** A message as the reader sees it, by its text. */
  message(text: string): Locator {
    return this.page.locator(".carillon-message").filter({ hasText: text });
  }

  /** A user says something in the chat with bob. */
  async say(user: string, body: string): Promise<void> {
    await this.page.evaluate(
      ([by, text]) => void (globalThis as unknown as { server: FakeServer }).server.chats.say("c1", by, text),
      [user, body] as const,
    );
  }

  async send(sent: Sent): Promise<void> {
    await this.page.evaluate((sent) => {
      (globalThis as unknown as { server: FakeServer }).server.send(sent);
    }, sent);
  }
}
