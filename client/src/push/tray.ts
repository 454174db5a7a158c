// The notifications of the system, as a page deals with them: takes over what it shows itself, closes what was read
// elsewhere, and writes the number of unread ones on the icon of the application.

import { available, type Environment } from "../environment.js";
import { isObject } from "../protocol.js";
import type { CarillonEvent, Client, State } from "../types.js";
import type { KeptPush } from "./device.js";
import { type PushedNotification, type Shown, shownOf, type ToPage } from "./messages.js";

const MAX_HEARD = 200;

export interface TrayHost {
  readonly environment: Environment;
  readonly client: Client;
  /** What is subscribed for the present user. */
  kept(): KeptPush | null;
  /** Calls the listeners of this tab, those for one tab included. */
  ring(event: CarillonEvent): void;
}

export interface Tray {
  /** What is subscribed is another one now. */
  changed(): void;
  /** Closes everything of a subscription that ends. */
  clear(kept: KeptPush): void;
}

export function createTray({ environment, client, kept, ring }: TrayHost): Tray {
  const { serviceWorker } = environment;
  /** Notifications that have arrived while the page was open: whether each has rung. */
  const heard = new Map<string, boolean>();

  /** Closes what is over. What stays, if the browser fails, is closed by the user. */
  function close(scope: string, isOver: (shown: Shown) => boolean): void {
    const run = async (): Promise<void> => {
      const registration = await serviceWorker?.getRegistration(scope);
      for (const notification of (await registration?.getNotifications()) ?? []) {
        const shown = shownOf(notification);
        if (shown && isOver(shown)) notification.close();
      }
    };
    run().catch(() => {});
  }

  function closeIds(ids: readonly string[]): void {
    const own = kept();
    const over = new Set(ids);
    const { notifications } = client.store.getState();
    /** Whether a digest still tells of something: of a type, or with `null` of anything. */
    const isLeft = (type: string | null): boolean =>
      notifications.some((one) => (type ?? one.type) === one.type && one.readAt === null);
    if (!own || ids.length === 0) return;
    close(own.scope, ({ id, type = null, chatId = null }) =>
      id === undefined ? chatId === null && !isLeft(type) : over.has(id),
    );
  }

  function badge(count: number): void {
    // Not in every browser, and only for installed pages.
    const own = available<Partial<Navigator>>(() => navigator);
    void own?.setAppBadge?.(count).catch(() => {});
  }

  /** Closes what was read while no page was open. */
  function sweep({ notifications, fromCache, cursor }: State): void {
    if (fromCache || cursor === null) return;
    closeIds(notifications.flatMap(({ id, readAt }) => (readAt === null ? [] : [id])));
  }

  client.onEvent(
    (event) => {
      if (event.type === "notification") {
        heard.set(event.notification.id, !event.silent);
        if (heard.size > MAX_HEARD) for (const first of heard.keys()) if (heard.delete(first)) break;
        if (event.cursor !== null) closeIds(event.replaces ?? []);
      } else if (event.type === "changed" && event.change !== "unread") closeIds(event.ids);
    },
    { everyTab: true },
  );

  client.store.subscribe((state, previous) => {
    if (!kept()) return;
    if (state.unreadCount !== previous.unreadCount) badge(state.unreadCount);
    if (state.fromCache !== previous.fromCache || state.loading !== previous.loading) sweep(state);
  });

  // The user has read a chat on any device.
  client.wire.subscribe(({ type, userId, chatId }) => {
    const own = kept();
    if (!own || type !== "receipt" || userId !== own.userId) return;
    close(own.scope, (shown) => shown.chatId === chatId);
  });

  /** Whether what arrives shows here. */
  function isShowing({ root, userId }: Extract<ToPage, { kind: "ask" }>): boolean {
    const own = kept();
    return own?.root === root && own.userId === userId && client.store.getState().wsStatus === "connected";
  }

  /** The worker shows nothing, so it rings here, unless it has. */
  async function take({ id }: PushedNotification): Promise<void> {
    // Its frame may be late, or lost.
    if (!heard.has(id)) await client.refresh();
    const notification = client.store.getState().notifications.find((one) => one.id === id);
    if (!notification || notification.readAt !== null) return;
    if (heard.get(id) ?? !notification.silent) return;
    heard.set(id, true);
    ring({ type: "pushed", notification });
  }

  serviceWorker?.addEventListener("message", ({ data, ports }) => {
    if (!isObject(data) || data["carillon"] !== 1) return;
    const message = data as unknown as ToPage;
    switch (message.kind) {
      case "ask":
        return ports[0]?.postMessage(isShowing(message));
      case "take":
        ports[0]?.postMessage(true);
        return void take(message.payload).catch(() => {});
      case "open":
        if (new URL(message.url).origin !== location.origin) return;
        ports[0]?.postMessage(true);
        location.assign(message.url);
    }
  });
  // They are held back until then for a page that listens late.
  serviceWorker?.startMessages?.();

  return {
    changed() {
      if (!kept()) return;
      const state = client.store.getState();
      badge(state.unreadCount);
      sweep(state);
    },
    clear({ scope }) {
      badge(0);
      close(scope, () => true);
    },
  };
}
