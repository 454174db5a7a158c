// For Vue: a composable over a client's store and views.

import {
  type ComputedRef,
  computed,
  getCurrentInstance,
  type MaybeRefOrGetter,
  onMounted,
  onScopeDispose,
  shallowRef,
  toValue,
  watch,
} from "vue";
import { hold } from "./hold.js";
import type { Client, Notification, State, View, ViewFilter, ViewState } from "./types.js";

/** What `useNotifications` returns: the state as refs, and the client's actions. */
export interface Notifications extends Pick<Client, "markAsRead" | "markAsUnread" | "deleteNotification" | "snooze"> {
  /** Newest first. */
  readonly notifications: ComputedRef<readonly Notification[]>;
  /** Of all notifications, or of the filter's type. */
  readonly unreadCount: ComputedRef<number>;
  readonly hasMore: ComputedRef<boolean>;
  /** Whether nothing is known yet. */
  readonly loading: ComputedRef<boolean>;
  readonly loadingMore: ComputedRef<boolean>;
  readonly error: ComputedRef<State["error"]>;
  readonly wsStatus: ComputedRef<State["wsStatus"]>;
  readonly transport: ComputedRef<State["transport"]>;
  /** Of one type, or of all. By default, of the filter's type. */
  readonly markAllAsRead: (type?: string) => Promise<void>;
  readonly loadMore: () => Promise<void>;
  readonly dismissError: () => void;
}

/**
 * The inbox and its actions. With a filter, only what fits it: the server filters, with pages of its own.
 * The client is connected while at least one component that uses it is mounted. On a server the state is the initial
 * one, and nothing connects.
 */
export function useNotifications(client: Client, filter?: MaybeRefOrGetter<ViewFilter | undefined>): Notifications {
  const { store } = client;
  const state = shallowRef(store.getState());
  const view = shallowRef<View | null>(null);
  const viewState = shallowRef<ViewState | null>(null);

  function closeView(): void {
    view.value?.release();
    view.value = null;
    viewState.value = null;
  }

  function openView(): void {
    closeView();
    const present = toValue(filter);
    if (!present) return;
    const opened = client.view(present);
    view.value = opened;
    viewState.value = opened.store.getState();
    opened.store.subscribe((next) => {
      if (view.value === opened) viewState.value = next;
    });
  }

  let stop = (): void => {};
  const start = (): void => {
    const release = hold(client);
    const unsubscribe = store.subscribe((next) => {
      state.value = next;
    });
    // It may have changed between setup and mounting.
    state.value = store.getState();
    const unwatch = watch(() => keyOf(toValue(filter)), openView, { immediate: true });
    stop = () => {
      unwatch();
      closeView();
      unsubscribe();
      release();
    };
  };
  // A server sets components up but never mounts or disposes of them. A scope without a component begins at once.
  if (getCurrentInstance()) onMounted(start);
  else start();
  onScopeDispose(() => stop());

  /** The view, as soon as it has something to show. Until then, what is known of the inbox is filtered here. */
  const ready = computed(() => (viewState.value?.loading === false ? viewState.value : null));
  const notifications = computed(() => {
    const { notifications } = ready.value ?? state.value;
    const present = toValue(filter);
    return ready.value || !present ? notifications : notifications.filter((item) => fits(item, present));
  });
  const isFiltered = (): boolean => toValue(filter) !== undefined;
  return {
    notifications,
    unreadCount: computed(() => (ready.value ?? state.value).unreadCount),
    hasMore: computed(() => (isFiltered() ? (ready.value?.hasMore ?? false) : state.value.hasMore)),
    loading: computed(() => (isFiltered() ? !ready.value && notifications.value.length === 0 : state.value.loading)),
    loadingMore: computed(() => (viewState.value ?? state.value).loadingMore),
    error: computed(() => state.value.error ?? viewState.value?.error ?? null),
    wsStatus: computed(() => state.value.wsStatus),
    transport: computed(() => state.value.transport),
    markAsRead: client.markAsRead,
    markAsUnread: client.markAsUnread,
    // As an event handler it is called with an event, which is no type.
    markAllAsRead: (type) => client.markAllAsRead(typeof type === "string" ? type : toValue(filter)?.type),
    deleteNotification: client.deleteNotification,
    snooze: client.snooze,
    loadMore: async () => (isFiltered() ? view.value?.loadMore() : client.loadMore()),
    dismissError() {
      client.dismissError();
      view.value?.dismissError();
    },
  };
}

/** Equal for filters that are equal, so that a getter may make a new one each time. */
function keyOf(filter: ViewFilter | undefined): string {
  return filter ? JSON.stringify([filter.type, filter.unread ?? false]) : "";
}

function fits({ type, readAt }: Notification, filter: ViewFilter): boolean {
  return (filter.type ?? type) === type && !(filter.unread && readAt !== null);
}
