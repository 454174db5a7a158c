// The browser's side of a subscription: its worker, its push service, and the key that it was made with.

import type { Environment } from "../environment.js";
import { CarillonError } from "../errors.js";
import { bytesOf } from "./messages.js";

/** Registers a worker, and waits until it can be subscribed. */
export async function register({ serviceWorker }: Environment, script: string): Promise<ServiceWorkerRegistration> {
  try {
    const registration = await serviceWorker?.register(script);
    if (!registration) throw new Error("no service workers");
    await activated(registration);
    return registration;
  } catch (thrown) {
    throw new CarillonError("worker_failed", `the worker did not start: ${thrown}`);
  }
}

/** `navigator.serviceWorker.ready` would wait for ever for a worker whose scope does not contain the page. */
function activated({ active, installing, waiting }: ServiceWorkerRegistration): Promise<void> {
  const worker = installing ?? waiting;
  if (active || !worker) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (worker.state === "activated") resolve();
      else if (worker.state === "redundant") reject(new Error("it was not installed"));
    };
    worker.addEventListener("statechange", look);
    look();
  });
}

/** The subscription with this key. One with another key cannot be used any more. */
export async function subscribe(registration: ServiceWorkerRegistration, key: string): Promise<PushSubscription> {
  const { pushManager } = registration;
  try {
    const present = await pushManager.getSubscription();
    if (present && keyOf(present, key) === key) return present;
    await present?.unsubscribe();
    return await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytesOf(key) });
  } catch (thrown) {
    throw new CarillonError("push_refused", `the browser did not subscribe: ${thrown}`);
  }
}

/** Ends a subscription, unless another one has taken its place. */
export async function unsubscribe(
  registration: ServiceWorkerRegistration | undefined,
  endpoint: string,
): Promise<void> {
  const present = await registration?.pushManager.getSubscription();
  if (present?.endpoint === endpoint) await present.unsubscribe();
}

/** The key of a subscription, in base64url. A browser that does not tell gets the benefit of the doubt. */
export function keyOf({ options }: PushSubscription, fallback: string): string {
  const bytes = options?.applicationServerKey;
  if (!bytes) return fallback;
  const text = btoa(String.fromCharCode(...new Uint8Array(bytes)));
  return text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
