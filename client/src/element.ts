// `<carillon-bell>`: the bell and its inbox for pages without a framework. Importing this entry defines the element.

import { createClient } from "./client.js";
import { type Bell, createBell } from "./element/bell.js";
import { addStyles } from "./element/styles.js";
import { hold } from "./hold.js";
import type { Client, Notification } from "./types.js";
import { complete, type Labels } from "./ui/labels.js";
import { ringOf } from "./ui/rings.js";

export { type Counted, de, en, es, type Labels } from "./ui/labels.js";

declare global {
  interface HTMLElementTagNameMap {
    "carillon-bell": CarillonBell;
  }
}

const PROPERTIES = ["client", "getToken", "labels"] as const;

// A server has no elements, and may import this entry.
const Base: typeof HTMLElement = globalThis.HTMLElement ?? (class {} as typeof HTMLElement);

/**
 * A bell that opens the inbox. Attributes: `base-url` (default: the page's own origin), `user-id`, and `align`, the
 * edge of the bell with which the inbox is aligned: `start` or `end`, the default.
 * It connects while it is in the document and has a `getToken` or a `client`.
 * When a link in the inbox is followed it dispatches `carillon-open` with the notification as `detail`;
 * `preventDefault()` leaves the navigation to the application.
 */
export class CarillonBell extends Base {
  static readonly observedAttributes: readonly string[] = ["base-url", "user-id"];

  #bell: Bell | null = null;
  #client: Client | null = null;
  /** Whether the client was made here, from the attributes. */
  #isOwn = false;
  #getToken: (() => string | Promise<string>) | null = null;
  #labels: Partial<Labels> | undefined;
  #stop: (() => void) | null = null;

  /** The client in use, for example to sign out. One that is set is used instead of an own one. */
  get client(): Client | null {
    return this.#client;
  }

  set client(client: Client | null) {
    this.#end();
    this.#client = client;
    this.#isOwn = false;
    this.#begin();
  }

  /** Returns a valid JWT, as for `createClient`. */
  get getToken(): (() => string | Promise<string>) | null {
    return this.#getToken;
  }

  set getToken(getToken: (() => string | Promise<string>) | null) {
    this.#getToken = getToken;
    this.#begin();
  }

  /** The words. A missing label is English. */
  get labels(): Partial<Labels> | undefined {
    return this.#labels;
  }

  set labels(labels: Partial<Labels> | undefined) {
    this.#labels = labels;
    this.#bell?.update();
  }

  connectedCallback(): void {
    for (const name of PROPERTIES) this.#adopt(name);
    if (!this.#bell) {
      const root = this.shadowRoot ?? this.attachShadow({ mode: "open", delegatesFocus: true });
      addStyles(root);
      this.#bell = createBell({
        client: () => this.#client,
        state: () => this.#client?.store.getState() ?? null,
        labels: () => complete(this.#labels),
        align: () => (this.getAttribute("align") === "start" ? "start" : "end"),
        open: (notification, event) => this.#open(notification, event),
      });
      root.append(this.#bell.element);
    }
    this.#bell.update();
    this.#begin();
  }

  disconnectedCallback(): void {
    this.#bell?.close();
    // An element that only moves in the document is connected again by then.
    queueMicrotask(() => {
      if (!this.isConnected) this.#end();
    });
  }

  attributeChangedCallback(): void {
    if (!this.#isOwn) return;
    this.#end();
    this.#client = null;
    this.#begin();
  }

  /** A property that was set before the element was defined hides the accessor. */
  #adopt(name: (typeof PROPERTIES)[number]): void {
    if (!Object.hasOwn(this, name)) return;
    const value = this[name];
    delete this[name];
    Object.assign(this, { [name]: value });
  }

  #begin(): void {
    if (this.#stop || !this.#bell || !this.isConnected) return;
    if (!this.#client) {
      if (!this.#getToken) return;
      const userId = this.getAttribute("user-id");
      this.#isOwn = true;
      this.#client = createClient({
        baseUrl: this.getAttribute("base-url") ?? "",
        getToken: () => this.#getToken?.() ?? "",
        ...(userId !== null && { userId }),
      });
    }
    const client = this.#client;
    const bell = this.#bell;
    const unsubscribe = client.store.subscribe(bell.update);
    const ignore = client.onEvent(
      (event) => {
        const notification = ringOf(event);
        if (notification) bell.ring(notification);
      },
      { everyTab: true },
    );
    const release = hold(client);
    bell.update();
    this.#stop = () => {
      unsubscribe();
      ignore();
      release();
    };
  }

  #end(): void {
    this.#stop?.();
    this.#stop = null;
  }

  #open(notification: Notification, event: MouseEvent): void {
    if (notification.readAt === null) void this.#client?.markAsRead(notification.id).catch(() => {});
    const isAllowed = this.dispatchEvent(
      new CustomEvent("carillon-open", { detail: notification, bubbles: true, composed: true, cancelable: true }),
    );
    if (!isAllowed) event.preventDefault();
  }
}

if (globalThis.customElements && !customElements.get("carillon-bell")) {
  customElements.define("carillon-bell", CarillonBell);
}
