// The global scope of a service worker, with tabs that answer it or do not.

import { type Mock, vi } from "vitest";
import type { WindowClient, WorkerScope } from "../../src/push/scope.js";
import { serve } from "../../src/push/worker.js";
import { type FakeNotification, type FakeOrigin, ORIGIN } from "./origin.js";

export class FakeWorker {
  readonly tabs: FakeTab[] = [];
  /** The addresses that were opened in new tabs. */
  readonly opened: string[] = [];
  readonly badges: number[] = [];
  private readonly listeners: Map<string, ((event: object) => void)[]> = new Map();

  constructor(origin: FakeOrigin, fetch: WorkerScope["fetch"]) {
    const scope = {
      registration: origin.registration,
      indexedDB: origin.indexedDB,
      location: { origin: ORIGIN },
      navigator: { setAppBadge: async (count: number) => void this.badges.push(count) },
      fetch,
      clients: {
        matchAll: async () => this.tabs,
        openWindow: async (url: string) => void this.opened.push(url),
      },
      addEventListener: (type: string, listener: (event: object) => void) => {
        this.listeners.set(type, [...(this.listeners.get(type) ?? []), listener]);
      },
    };
    serve(scope as unknown as WorkerScope);
  }

  /** Emits an event, and waits for everything that it sets going. Returns whether anything does. */
  private async emit(type: string, members: object): Promise<boolean> {
    const promises: Promise<unknown>[] = [];
    const event = { ...members, waitUntil: (promise: Promise<unknown>) => promises.push(promise) };
    for (const listener of this.listeners.get(type) ?? []) listener(event);
    await Promise.all(promises);
    return promises.length > 0;
  }

  push(payload: unknown): Promise<boolean> {
    const text = typeof payload === "string" ? payload : JSON.stringify(payload);
    return this.emit("push", { data: { text: () => text } });
  }

  click(notification: FakeNotification | undefined): Promise<boolean> {
    return this.emit("notificationclick", { notification });
  }

  subscriptionChanges(newSubscription: object | null): Promise<boolean> {
    return this.emit("pushsubscriptionchange", { newSubscription });
  }

  tab(more: Partial<FakeTab> = {}): FakeTab {
    const tab = Object.assign(new FakeTab(), more);
    this.tabs.push(tab);
    return tab;
  }
}

export class FakeTab implements WindowClient {
  url: string = `${ORIGIN}/inbox`;
  focused = true;
  visibilityState: DocumentVisibilityState = "visible";
  frameType = "top-level";
  /** What it answers. `null`: nothing. */
  answer: boolean | null = true;
  /** Whether it closes after its first answer. */
  closes = false;
  /** Whether the worker may move it. */
  isControlled = true;
  readonly messages: Record<string, unknown>[] = [];
  readonly focus: Mock<() => Promise<void>> = vi.fn(async () => {});

  async navigate(url: string): Promise<void> {
    if (!this.isControlled) throw new TypeError("this is not the client's active worker");
    this.url = url;
  }

  postMessage(message: Record<string, unknown>, [port]: readonly MessagePort[] = []): void {
    this.messages.push(message);
    if (this.answer !== null) port?.postMessage(this.answer);
    if (this.closes) this.answer = null;
  }

  /** The kinds of messages that it got. */
  get kinds(): unknown[] {
    return this.messages.map(({ kind }) => kind);
  }
}
