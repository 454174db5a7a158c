// Push, loaded on demand: an application that never turns it on does not download it.

import { notLoaded, toProblem, withoutAlarm } from "./errors.js";
import type { LoadedPush, PushHost } from "./push/host.js";
import { createStore, type OwnedStore } from "./store.js";
import type { Token } from "./token.js";
import type { Push, PushState } from "./types.js";

export interface LazyPush {
  readonly push: Push;
  /** A user's session begins. */
  begin(): void;
  /** A call uses this token. */
  used(token: Token): void;
  /** The user has left. */
  forget(userId: string | null): Promise<void> | undefined;
}

const initial: PushState = { status: "unknown", reason: null, busy: false, error: null };

export function createLazyPush(host: PushHost): LazyPush {
  const { notifications } = host.environment;
  const owned: OwnedStore<PushState> = createStore(initial);
  let loaded: LoadedPush | null = null;
  let loading: Promise<LoadedPush> | undefined;

  async function start(): Promise<LoadedPush> {
    try {
      const { createPush } = await import("./push/push.js");
      loaded = createPush(host, owned);
      return loaded;
    } catch {
      loading = undefined;
      owned.update({ error: toProblem("push", notLoaded()) });
      throw notLoaded();
    }
  }

  function load(): Promise<LoadedPush> {
    loading ??= start();
    return withoutAlarm(loading);
  }

  /** Without the permission there is no subscription, and nothing to do. */
  const mayBeOn = (): boolean => notifications?.permission === "granted";

  return {
    push: {
      store: {
        ...owned.store,
        subscribe(listener) {
          void load().then(
            (push) => push.want(),
            () => {},
          );
          return owned.store.subscribe(listener);
        },
      },
      enable(options) {
        // Some browsers ask only within the user's gesture, which ends with the first pause.
        const permission = notifications?.requestPermission();
        return withoutAlarm(load().then((push) => push.enable(permission, options)));
      },
      disable: () => withoutAlarm(load().then((push) => push.disable())),
    },
    begin() {
      if (mayBeOn()) void load();
    },
    used: (token) => loaded?.used(token),
    forget: (userId) => (loaded || mayBeOn() ? load().then((push) => push.forget(userId)) : undefined),
  };
}
