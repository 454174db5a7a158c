// The parts of a browser that its tabs share: channels, locks and storage.

import { IDBFactory } from "fake-indexeddb";
import { Window } from "happy-dom";
import type { Environment } from "../../src/index.js";

interface Holder {
  readonly name: string;
  readonly act: () => unknown;
  readonly settle: (error?: Error) => void;
}

export class FakeBrowser {
  readonly indexedDB: IDBFactory = new IDBFactory();
  readonly localStorage: Storage = new Window({ url: "http://carillon.test" }).localStorage as unknown as Storage;
  readonly channels: Set<FakeChannel> = new Set();
  private readonly held: Map<string, Holder> = new Map();
  private waiting: Holder[] = [];

  /** The environment of one tab. */
  tab(): Pick<Environment, "BroadcastChannel" | "locks" | "indexedDB" | "localStorage"> {
    const browser = this;
    return {
      indexedDB: this.indexedDB,
      localStorage: () => this.localStorage,
      BroadcastChannel: class extends FakeChannel {
        constructor(name: string) {
          super(browser, name);
        }
      } as unknown as typeof BroadcastChannel,
      locks: { request: this.request as LockManager["request"] },
    };
  }

  private readonly request = (name: string, options: LockOptions, act: () => unknown): Promise<void> =>
    new Promise((resolve, reject) => {
      const holder: Holder = { name, act, settle: (error) => (error ? reject(error) : resolve()) };
      if (options.steal) {
        this.held.get(name)?.settle(new DOMException("stolen", "AbortError"));
        this.held.delete(name);
        this.waiting.unshift(holder);
      } else this.waiting.push(holder);
      options.signal?.addEventListener("abort", () => {
        if (!this.waiting.includes(holder)) return;
        this.waiting = this.waiting.filter((other) => other !== holder);
        holder.settle(new DOMException("aborted", "AbortError"));
      });
      queueMicrotask(() => this.grant(name));
    });

  private grant(name: string): void {
    if (this.held.has(name)) return;
    const next = this.waiting.find((holder) => holder.name === name);
    if (!next) return;
    this.waiting = this.waiting.filter((holder) => holder !== next);
    this.held.set(name, next);
    void Promise.resolve(next.act()).then(() => {
      if (this.held.get(name) !== next) return;
      this.held.delete(name);
      next.settle();
      this.grant(name);
    });
  }
}

export class FakeChannel {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readonly name: string;
  private readonly browser: FakeBrowser;

  constructor(browser: FakeBrowser, name: string) {
    this.browser = browser;
    this.name = name;
    browser.channels.add(this);
  }

  postMessage(message: unknown): void {
    if (!this.browser.channels.has(this)) throw new DOMException("closed", "InvalidStateError");
    const data = structuredClone(message);
    for (const other of this.browser.channels) {
      if (other !== this && other.name === this.name) queueMicrotask(() => other.onmessage?.({ data }));
    }
  }

  close(): void {
    this.browser.channels.delete(this);
  }
}
