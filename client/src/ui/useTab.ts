// The list of a tab. The server filters it, so it has what the inbox has, and not only what is loaded.

import { useMemo } from "react";
import { useCarillon } from "../hooks.js";
import { useClient } from "../provider.js";
import type { Notification, Problem, State, View } from "../types.js";
import { useView } from "../useView.js";
import type { InboxTab } from "./types.js";

/** What `useTab` returns. */
export interface TabList extends Pick<State, "notifications" | "hasMore" | "loading" | "loadingMore"> {
  readonly error: Problem | null;
  readonly loadMore: View["loadMore"];
  readonly dismissError: () => void;
}

export function useTab({ type, unread }: InboxTab): TabList {
  const client = useClient();
  const state = useCarillon((present) => present);
  const isFiltered = type !== undefined || !!unread;
  const [view, viewState] = useView(client, isFiltered ? { type, unread } : null);
  const loaded = useMemo(
    (): readonly Notification[] =>
      state.notifications.filter((one) => (type ?? one.type) === one.type && !(unread && one.readAt !== null)),
    [state.notifications, type, unread],
  );
  const isReady = viewState !== null && !viewState.loading;
  const { hasMore, loadingMore, ...list } = isFiltered && isReady ? viewState : state;
  // Until the view has its first page, the tab shows what is loaded already.
  const notifications = isFiltered && !isReady ? loaded : list.notifications;
  return {
    notifications,
    hasMore,
    loadingMore,
    loading: isFiltered ? !isReady && loaded.length === 0 : state.loading,
    error: state.error ?? viewState?.error ?? null,
    loadMore: view && isReady ? view.loadMore : client.loadMore,
    dismissError() {
      client.dismissError();
      view?.dismissError();
    },
  };
}
