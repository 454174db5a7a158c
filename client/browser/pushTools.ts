// Push in a browser that cannot reach its push service: the subscription is faked, and pushes come from the protocol of
// Chromium's developer tools.

import type { CDPSession, Page } from "playwright-core";

/** Runs in each page: the browser subscribes so. What it has subscribed outlives the page. */
export function fakePushManager(subscription: object): void {
  const KEY = "push subscription";
  const present = (): PushSubscription | null => {
    const kept = localStorage.getItem(KEY);
    if (kept === null) return null;
    const unsubscribe = async (): Promise<boolean> => {
      localStorage.removeItem(KEY);
      return true;
    };
    const members = JSON.parse(kept);
    return { ...members, options: {}, toJSON: () => members, unsubscribe } as unknown as PushSubscription;
  };
  PushManager.prototype.getSubscription = async () => present();
  PushManager.prototype.subscribe = async () => {
    localStorage.setItem(KEY, JSON.stringify(subscription));
    return present() as PushSubscription;
  };
}

/** Delivers pushes to the worker of an origin. */
export class PushTools {
  readonly #session: CDPSession;
  readonly #origin: string;
  readonly #registrationId: string;

  private constructor(session: CDPSession, origin: string, registrationId: string) {
    this.#session = session;
    this.#origin = origin;
    this.#registrationId = registrationId;
  }

  /** Through any page of the same browser. The worker must be registered. */
  static async attach(page: Page, origin: string): Promise<PushTools> {
    const session = await page.context().newCDPSession(page);
    const registered = new Promise<string>((resolve) => {
      session.on("ServiceWorker.workerRegistrationUpdated", ({ registrations }) => {
        const own = registrations.find(({ scopeURL }) => scopeURL.startsWith(origin));
        if (own) resolve(own.registrationId);
      });
    });
    await session.send("ServiceWorker.enable");
    return new PushTools(session, origin, await registered);
  }

  async deliver(payload: object): Promise<void> {
    const message = { origin: this.#origin, registrationId: this.#registrationId, data: JSON.stringify(payload) };
    await this.#session.send("ServiceWorker.deliverPushMessage", message);
  }
}
