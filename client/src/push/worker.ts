// What the service worker does with a push, with a click on what it has shown, and with a subscription that the browser
// has changed.

import { targetOf } from "../ui/links.js";
import { createCalls } from "./calls.js";
import { createDevice, type KeptPush } from "./device.js";
import {
  bytesOf,
  type Payload,
  type PushedDigest,
  type PushedNotification,
  payloadOf,
  type Shown,
  shownOf,
} from "./messages.js";
import type { SubscriptionEvent, WorkerScope } from "./scope.js";
import { createWindows } from "./windows.js";

/** The most contents that are remembered, so that none rings twice. */
const MAX_RUNG = 50;

/** Lets the worker handle the events of its scope. Events that are none of ours are left to other listeners. */
export function serve(scope: WorkerScope): void {
  const { registration } = scope;
  const device = createDevice(scope.indexedDB);
  const calls = createCalls(scope);
  const windows = createWindows(scope);
  let last: Promise<unknown> = Promise.resolve();

  /** What is subscribed. `null`: nothing is. `undefined`: the device does not tell. */
  async function find(): Promise<KeptPush | null | undefined> {
    return device.get(registration.scope).catch(() => undefined);
  }

  async function receive(payload: Payload): Promise<void> {
    const kept = await find();
    // The user has signed out, and the server does not know yet.
    if (kept === null) return unsubscribe();
    if (payload.kind === "close") return close(payload.tag);
    const tab = await windows.showing(kept);
    // It may have closed meanwhile.
    const isTaken = tab !== null && (payload.kind === "digest" || (await windows.take(tab, payload)));
    if (isTaken && tab.focused && !(await mustShow())) return;
    const whole = payload.kind === "notification" && payload.fetch ? await fetched(payload, kept) : payload;
    await show(whole, kept, isTaken);
    if (whole.kind !== "notification") return;
    const { unreadCount } = whole;
    if (unreadCount !== undefined) await scope.navigator.setAppBadge?.(unreadCount).catch(() => {});
    // An acknowledgement is of all up to it, so it may be given only where everything before has been.
    const { acknowledge, cursor } = whole;
    if (acknowledge && cursor !== undefined) await calls.post(kept, "api/ack", { cursor });
  }

  async function unsubscribe(): Promise<void> {
    await (await registration.pushManager.getSubscription())?.unsubscribe();
  }

  async function close(tag: string): Promise<void> {
    for (const notification of await registration.getNotifications({ tag })) notification.close();
  }

  /** Safari takes the permission away for a push that shows nothing, whatever tab is open. */
  async function mustShow(): Promise<boolean> {
    const subscription = await registration.pushManager.getSubscription().catch(() => null);
    return subscription !== null && new URL(subscription.endpoint).hostname.endsWith(".push.apple.com");
  }

  /** The whole notification. Without a valid token or an answer, only its title is known. */
  async function fetched(payload: PushedNotification, kept: KeptPush | undefined): Promise<PushedNotification> {
    const { tag, kind } = payload;
    const answer = await calls.get(kept, `api/notifications/${encodeURIComponent(payload.id)}`);
    return { ...payload, ...answer, tag, kind };
  }

  async function show(
    payload: PushedNotification | PushedDigest,
    kept: KeptPush | undefined,
    isShown: boolean,
  ): Promise<void> {
    const { tag, title, body } = payload;
    const shown = attached(payload);
    const present = await registration.getNotifications({ tag });
    const isThere = present.some((one) => shownOf(one)?.content === shown.content);
    const hasRung = isThere || kept?.rung.includes(shown.content) === true;
    await registration.showNotification(title, {
      tag,
      data: shown,
      ...(body && { body }),
      ...(kept?.icon && { icon: kept.icon }),
      ...(kept?.badge && { badge: kept.badge }),
      renotify: !hasRung,
      silent: hasRung || isShown,
      requireInteraction: payload.kind === "notification" && payload.priority === "critical",
    });
    // The user has closed it. Browsers want to see every push shown, so it is shown again for a moment.
    if (hasRung && !isThere) await close(tag);
    const rung = (one: KeptPush): Partial<KeptPush> => ({ rung: [...one.rung, shown.content].slice(-MAX_RUNG) });
    // A later digest may say the same of other messages.
    if (!hasRung && shown.id !== undefined) await device.change(registration.scope, rung).catch(() => {});
  }

  async function clicked({ id, actionUrl }: Shown): Promise<void> {
    const kept = (await find()) ?? undefined;
    const target = targetOf(actionUrl, scope.location.origin);
    // Following a link is reading it, as in the inbox.
    const read = target && id ? calls.post(kept, `api/notifications/${encodeURIComponent(id)}/read`) : null;
    await windows.open(target?.href ?? kept?.home ?? scope.location.origin, target !== null);
    await read;
  }

  /** Subscribes again, and tells the server. Without a valid token the next page does so. */
  async function resubscribe({ newSubscription }: SubscriptionEvent): Promise<void> {
    const kept = await find();
    if (!kept) return;
    const options = { userVisibleOnly: true, applicationServerKey: bytesOf(kept.key) };
    const subscription = newSubscription ?? (await registration.pushManager.subscribe(options));
    const answer = await calls.post(kept, "api/push/subscriptions", subscription.toJSON());
    const id = answer?.["id"];
    const { endpoint } = subscription;
    if (typeof id === "string") await device.change(kept.scope, () => ({ id, endpoint, checkedMs: Date.now() }));
  }

  /** One after another, because what shows under a tag decides how the next one is shown. */
  function inTurn(act: () => Promise<void>): Promise<void> {
    const turn = last.then(act);
    last = turn.catch(() => {});
    return turn;
  }

  scope.addEventListener("push", (event) => {
    const payload = payloadOf(event.data?.text());
    if (payload) event.waitUntil(inTurn(() => receive(payload)));
  });
  scope.addEventListener("notificationclick", (event) => {
    const shown = shownOf(event.notification);
    if (!shown) return;
    event.notification.close();
    event.waitUntil(clicked(shown));
  });
  scope.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(resubscribe(event)));
}

function attached(payload: PushedNotification | PushedDigest): Shown {
  if (payload.kind === "digest") {
    const { chatId, type, title, body, count } = payload;
    return { carillon: 1, chatId: chatId ?? null, type: type ?? null, content: JSON.stringify([title, body, count]) };
  }
  const { id, actionUrl, cursor } = payload;
  // One that comes back from a snooze has another cursor, and rings again.
  return { carillon: 1, id, actionUrl: actionUrl ?? null, content: `${id} ${cursor ?? ""}` };
}
