// A site with push: a page with the components, the service worker of the package, and a server in memory behind both.

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import type { Browser, BrowserContext, Page, Worker } from "playwright-core";
import { build } from "vite";
import { BASE_URL, FakeServer } from "../test/harness/server.js";
import { launch, newContext } from "./browser.js";
import { fakePushManager, PushTools } from "./pushTools.js";

const SUBSCRIPTION = { endpoint: "https://push.example/1", expirationTime: null, keys: { p256dh: "p", auth: "a" } };

const root = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url));

export class PushSite {
  readonly #http: Server;
  readonly #browser: Browser;
  readonly #files: ReadonlyMap<string, string>;
  #contexts: BrowserContext[] = [];
  server: FakeServer = new FakeServer();

  private constructor(http: Server, browser: Browser, files: ReadonlyMap<string, string>) {
    this.#http = http;
    this.#browser = browser;
    this.#files = files;
    http.on("request", (request, response) => void this.#serve(request, response));
  }

  static async start(): Promise<PushSite> {
    const page = await built({
      define: { "process.env.NODE_ENV": '"production"' },
      oxc: { jsx: { runtime: "automatic", development: false } },
      build: {
        write: false,
        modulePreload: false,
        cssTarget: ["chrome123"],
        rolldownOptions: {
          input: root("browser/fixture/push.tsx"),
          output: { codeSplitting: false },
          checks: { moduleLevelDirective: false },
        },
      },
    });
    const worker = await built({ root: root(""), configFile: root("vite.worker.config.ts"), build: { write: false } });
    const http = createServer();
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    return new PushSite(
      http,
      await launch(),
      new Map([
        ["/page.js", page],
        ["/push-worker.js", worker],
      ]),
    );
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? "/", this.origin);
    const script = this.#files.get(pathname);
    if (script !== undefined) {
      response.writeHead(200, { "content-type": "text/javascript" }).end(script);
    } else if (pathname.startsWith("/api/")) {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const { authorization = "", "if-none-match": etag } = request.headers;
      const answer = await this.server.fetch(BASE_URL + request.url, {
        method: request.method ?? "GET",
        headers: { authorization, ...(etag && { "if-none-match": etag }) },
        ...(chunks.length > 0 && { body: Buffer.concat(chunks).toString() }),
      });
      const type = answer.headers.get("content-type");
      response.writeHead(answer.status, { ...(type && { "content-type": type }) }).end(await answer.text());
    } else {
      const content =
        pathname === "/blank" ? "" : '<div id="page"></div><script type="module" src="/page.js"></script>';
      response.writeHead(200, { "content-type": "text/html" });
      response.end(`<!doctype html><html lang="en"><title>Push</title><main><h1>Push</h1>${content}</main>`);
    }
  }

  /** Opens the page in a browser without stored data, in which the user has allowed notifications. */
  async visit(): Promise<PushVisit> {
    this.server = new FakeServer();
    const context = await newContext(this.#browser, {});
    this.#contexts.push(context);
    await context.grantPermissions(["notifications"], { origin: this.origin });
    await context.addInitScript(fakePushManager, SUBSCRIPTION);
    return PushVisit.open(context, this.origin);
  }

  async reset(): Promise<void> {
    await Promise.all(this.#contexts.map((context) => context.close()));
    this.#contexts = [];
  }

  async stop(): Promise<void> {
    await this.#browser.close();
    this.#http.closeAllConnections();
    this.#http.close();
  }
}

async function built(config: Parameters<typeof build>[0]): Promise<string> {
  const result = await build({ configFile: false, logLevel: "warn", ...config });
  const [bundle] = Array.isArray(result) ? result : [result];
  const [chunk] = bundle && "output" in bundle ? bundle.output : [];
  if (chunk?.type !== "chunk") throw new Error("there is no script");
  return chunk.code;
}

/** What the system shows. */
export interface OnScreen {
  readonly title: string;
  readonly body: string;
  readonly tag: string;
}

/** A browser with the page open. */
export class PushVisit {
  readonly page: Page;
  /** Errors that the browser reported. */
  readonly errors: string[] = [];
  readonly #origin: string;
  #tools: PushTools | null = null;

  private constructor(page: Page, origin: string) {
    this.page = page;
    this.#origin = origin;
    page.on("pageerror", (error) => this.errors.push(String(error)));
  }

  static async open(context: BrowserContext, origin: string, path = "/inbox"): Promise<PushVisit> {
    const visit = new PushVisit(await context.newPage(), origin);
    await visit.page.goto(origin + path);
    return visit;
  }

  /** Another tab of the same browser. */
  openTab(path: string): Promise<PushVisit> {
    return PushVisit.open(this.page.context(), this.#origin, path);
  }

  /** Turns push on as a user does. */
  async turnOn(): Promise<void> {
    const box = this.page.getByRole("checkbox", { name: "Show notifications while the page is closed" });
    await box.click();
    await this.page.waitForFunction(
      () => (document.querySelector(".carillon-preferences input") as HTMLInputElement).checked,
    );
  }

  get worker(): Worker {
    const [worker] = this.page.context().serviceWorkers();
    if (!worker) throw new Error("there is no worker");
    return worker;
  }

  /** The addresses of the tabs, as the worker sees them. */
  tabs(): Promise<string[]> {
    return this.worker.evaluate(async () => {
      const { clients } = globalThis as unknown as ServiceWorkerScope;
      return (await clients.matchAll({ includeUncontrolled: true })).map(({ url }) => url);
    });
  }

  /**
   * The push service delivers a push. Waits until the worker is done with it, because Chromium forgets a notification that
   * is asked for between being stored and being on the screen.
   */
  async push(payload: object): Promise<void> {
    this.#tools ??= await PushTools.attach(this.page, this.#origin);
    await this.worker.evaluate(() => {
      const scope = globalThis as unknown as ServiceWorkerScope;
      scope.handled = new Promise((resolve) => {
        scope.PushEvent.prototype.waitUntil = function (act) {
          scope.ExtendableEvent.prototype.waitUntil.call(this, act);
          act.then(resolve, resolve);
        };
      });
    });
    await this.#tools.deliver(payload);
    await this.worker.evaluate(() => (globalThis as unknown as ServiceWorkerScope).handled);
  }

  /** What the system shows of this site. */
  shown(): Promise<OnScreen[]> {
    return this.page.evaluate(async () => {
      const registration = await navigator.serviceWorker.getRegistration("/");
      const all = (await registration?.getNotifications()) ?? [];
      return all.map(({ title, body, tag }) => ({ title, body, tag }));
    });
  }

  /** The user clicks on what the system shows. */
  async click(tag: string): Promise<void> {
    await this.worker.evaluate(async (wanted) => {
      const scope = globalThis as unknown as ServiceWorkerScope;
      const [notification] = await scope.registration.getNotifications({ tag: wanted });
      scope.dispatchEvent(new scope.NotificationEvent("notificationclick", { notification }));
    }, tag);
  }
}

interface ExtendableEvent extends Event {
  waitUntil(act: Promise<unknown>): void;
}

/** The part of a worker's global scope that the tests use. */
interface ServiceWorkerScope extends EventTarget {
  readonly ExtendableEvent: { readonly prototype: ExtendableEvent };
  readonly PushEvent: { readonly prototype: ExtendableEvent };
  /** Resolves when the next push has been handled. Set by the tests. */
  handled: Promise<unknown>;
  readonly clients: { matchAll(options: { includeUncontrolled: true }): Promise<{ readonly url: string }[]> };
  readonly registration: ServiceWorkerRegistration;
  readonly NotificationEvent: new (type: string, init: { notification: Notification | undefined }) => Event;
}
