// The views of a client, loaded on demand: an application that shows the whole inbox only does not download them.

import { asError, toProblem, withoutAlarm } from "./errors.js";
import { createStore } from "./store.js";
import type { View, ViewFilter, ViewState } from "./types.js";
import type { HeldView, ViewSession, Views } from "./views.js";

export interface LazyViews extends Pick<Views, "attach"> {
  view(filter: ViewFilter): View;
}

const initial: ViewState = {
  notifications: [],
  unreadCount: 0,
  hasMore: false,
  loading: true,
  loadingMore: false,
  error: null,
};

export function createLazyViews(): LazyViews {
  let session: ViewSession | null = null;
  let loaded: Views | null = null;
  let loading: Promise<Views> | undefined;

  async function load(): Promise<Views> {
    const { createViews } = await import("./views.js");
    loaded = createViews(initial);
    loaded.attach(session);
    return loaded;
  }

  return {
    view(filter) {
      const { store, update } = createStore(initial);
      loading ??= load();
      const held = loading.then((views) => views.open(filter, update));
      held.catch((thrown) => {
        // The module did not load. The next view tries again.
        loading = undefined;
        update({ loading: false, error: toProblem("connection", asError(thrown)) });
      });
      const act = (name: keyof HeldView): Promise<void> => withoutAlarm(held.then(async (view) => view[name]()));
      return {
        store,
        loadMore: () => act("loadMore"),
        refresh: () => act("refresh"),
        dismissError: () => void act("dismissError"),
        release: () => void act("release"),
      };
    },
    attach(next, isOther) {
      session = next;
      loaded?.attach(next, isOther);
    },
  };
}
