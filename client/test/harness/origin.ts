// The parts of a browser that the pages and the worker of one origin share: the permission, the worker's registration,
// the subscription at a push service, and what is shown.

import { IDBFactory } from "fake-indexeddb";
import type { Environment } from "../../src/index.js";
import type { WorkerNotificationOptions } from "../../src/push/scope.js";

export const ORIGIN = "https://app.example";

export class FakeOrigin {
  readonly indexedDB: IDBFactory = new IDBFactory();
  permission: NotificationPermission = "default";
  /** What the user answers. */
  answer: NotificationPermission = "granted";
  /** How often the user was asked. */
  asked = 0;
  subscription: FakeSubscription | null = null;
  /** The error with which the push service refuses to subscribe. */
  refusal: Error | null = null;
  /** The push service answers when this settles. */
  hold: Promise<unknown> | null = null;
  shown: FakeNotification[] = [];
  /** The options of each call that showed something. */
  readonly rang: (WorkerNotificationOptions & { title: string })[] = [];
  scope: string | null = null;
  readonly scripts: string[] = [];
  /** The pages, as the worker's messages reach them. */
  readonly pages: EventTarget[] = [];
  private count = 0;

  readonly registration: ServiceWorkerRegistration = {
    scope: `${ORIGIN}/`,
    active: {},
    pushManager: {
      getSubscription: async () => this.subscription,
      subscribe: async ({ applicationServerKey }: { applicationServerKey: Uint8Array }) => {
        if (this.refusal) throw this.refusal;
        await this.hold;
        if (this.permission !== "granted") throw new DOMException("denied", "NotAllowedError");
        this.subscription ??= new FakeSubscription(this, `https://push.example/${++this.count}`, applicationServerKey);
        return this.subscription;
      },
    },
    getNotifications: async ({ tag }: { tag?: string } = {}) =>
      this.shown.filter((one) => (tag ?? one.tag) === one.tag),
    showNotification: async (title: string, options: WorkerNotificationOptions) => {
      await new Promise((resolve) => setImmediate(resolve));
      this.rang.push({ title, ...options });
      this.shown = this.shown.filter(({ tag }) => tag !== options.tag);
      this.shown.push(new FakeNotification(this, title, options));
    },
  } as unknown as ServiceWorkerRegistration;

  /** The titles on the screen. */
  get titles(): string[] {
    return this.shown.map(({ title }) => title);
  }

  /** The environment of one page. */
  page(): Pick<Environment, "indexedDB" | "notifications" | "serviceWorker"> {
    const origin = this;
    const page = new EventTarget();
    this.pages.push(page);
    return {
      indexedDB: this.indexedDB,
      notifications: {
        get permission() {
          return origin.permission;
        },
        async requestPermission() {
          origin.asked++;
          if (origin.permission === "default") origin.permission = origin.answer;
          return origin.permission;
        },
      } as NonNullable<Environment["notifications"]>,
      serviceWorker: Object.assign(page, {
        register: async (script: string) => {
          this.scripts.push(script);
          this.scope = this.registration.scope;
          return this.registration;
        },
        getRegistration: async (url: string) => (url === this.scope ? this.registration : undefined),
      }) as unknown as ServiceWorkerContainer,
    };
  }

  /** The worker tells a page something, and hears its answer, if there is one. */
  async tell(data: object, page = 0): Promise<unknown> {
    const { port1, port2 } = new MessageChannel();
    let answer: unknown;
    port1.onmessage = (event) => {
      answer = event.data;
    };
    this.pages[page]?.dispatchEvent(Object.assign(new Event("message"), { data, ports: [port2] }));
    for (let n = 0; n < 20; n++) await new Promise((resolve) => setImmediate(resolve));
    port1.close();
    return answer;
  }
}

export class FakeSubscription {
  readonly endpoint: string;
  readonly options: { applicationServerKey: ArrayBuffer };
  keys: object = { p256dh: "p", auth: "a" };
  private readonly origin: FakeOrigin;

  constructor(origin: FakeOrigin, endpoint: string, key: Uint8Array) {
    this.origin = origin;
    this.endpoint = endpoint;
    this.options = { applicationServerKey: Uint8Array.from(key).buffer };
  }

  /** The key that it was made with. */
  get key(): string {
    return Buffer.from(this.options.applicationServerKey).toString("base64url");
  }

  toJSON(): object {
    return { endpoint: this.endpoint, expirationTime: null, keys: this.keys };
  }

  async unsubscribe(): Promise<boolean> {
    if (this.origin.subscription === this) this.origin.subscription = null;
    return true;
  }
}

export class FakeNotification {
  readonly title: string;
  readonly tag: string;
  readonly data: unknown;
  private readonly origin: FakeOrigin;

  constructor(origin: FakeOrigin, title: string, { tag = "", data }: WorkerNotificationOptions) {
    this.origin = origin;
    this.title = title;
    this.tag = tag;
    this.data = structuredClone(data);
  }

  close(): void {
    this.origin.shown = this.origin.shown.filter((one) => one !== this);
  }
}
