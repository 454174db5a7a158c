// The hooks for all but chats: a thin bridge between a client's store and React.

import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { groupByDay, type NotificationGroup } from "./grouping.js";
import { heardOf } from "./heard.js";
import { type PreferencesState, preferencesOf, type UserPreferences } from "./preferences.js";
import { useClient, useProvided } from "./provider.js";
import { shallow } from "./shallow.js";
import type {
  Client,
  EmittedEvent,
  Notification,
  Problem,
  Push,
  PushState,
  State,
  Status,
  Transport,
  ViewFilter,
} from "./types.js";
import { useView } from "./useView.js";

/** What `useNotifications` returns. */
export interface Notifications {
  /**
   * Newest first, of the filter if there is one. An unchanged notification keeps its identity, so a memoised row does
   * not render again.
   */
  readonly notifications: readonly Notification[];
  /** The notifications of the active tab, or of the filter if there is one. */
  readonly filteredNotifications: readonly Notification[];
  /** The same by day. */
  readonly groupedNotifications: readonly NotificationGroup[];
  readonly hasNotifications: boolean;
  /** Of all notifications, or of the filter's type. */
  readonly unreadCount: number;
  /** Whether nothing is known of the active tab or the filter yet. */
  readonly loading: boolean;
  readonly loadingMore: boolean;
  readonly error: Problem | null;
  readonly dismissError: () => void;
  /** `"all"`, `"unread"`, or a type; shared by all components under one provider. */
  readonly activeTab: string;
  readonly setActiveTab: (tab: string) => void;
  readonly markAsRead: Client["markAsRead"];
  readonly markAsUnread: Client["markAsUnread"];
  /** Of one type, or of all. By default, of the filter's type. */
  readonly markAllAsRead: (type?: string) => Promise<void>;
  readonly deleteNotification: Client["deleteNotification"];
  readonly snooze: Client["snooze"];
  /** Whether the active tab or the filter has more; `loadMore` loads it. */
  readonly hasMore: boolean;
  readonly loadMore: () => Promise<void>;
  readonly wsStatus: Status;
  readonly transport: Transport | null;
}

/**
 * Part of the state. While `isEqual` finds no difference, the value stays the same and nothing renders again. By
 * default it compares the members of arrays and plain objects, so a selector may make a new one each time.
 */
export function useCarillon<T>(selector: (state: State) => T, isEqual: (one: T, other: T) => boolean = shallow): T {
  const { store } = useClient();
  const kept = useRef<{ readonly value: T } | null>(null);
  const select = (state: State): T => {
    const value = selector(state);
    if (!kept.current || !isEqual(kept.current.value, value)) kept.current = { value };
    return kept.current.value;
  };
  return useSyncExternalStore(
    store.subscribe,
    () => select(store.getState()),
    () => select(store.getInitialState()),
  );
}

const nothing = async (): Promise<void> => {};

function filterOf(tab: string): ViewFilter | null {
  return tab === "all" ? null : tab === "unread" ? { unread: true } : { type: tab };
}

/**
 * The inbox and its actions. With a filter, only what fits it: the server filters, and components with equal filters
 * share one list. Without one, the active tab is such a filter for `filteredNotifications` and its pages.
 */
export function useNotifications(filter?: ViewFilter): Notifications {
  const { client, activeTab, setActiveTab } = useProvided();
  const state = useCarillon((present) => present);
  const { wsStatus, transport } = state;
  const shownFilter = filter ?? filterOf(activeTab);
  const isFiltered = shownFilter !== null;
  const { type, unread } = shownFilter ?? {};
  const [view, viewState] = useView(client, shownFilter);
  const loaded = useMemo(
    () => state.notifications.filter((item) => (type ?? item.type) === item.type && !(unread && item.readAt !== null)),
    [state.notifications, type, unread],
  );
  // A view that has nothing to show yet would be empty for a moment, while the inbox may have something.
  const isReady = viewState !== null && !viewState.loading;
  const list = isFiltered && isReady ? viewState : state;
  const filteredNotifications = isFiltered && !isReady ? loaded : list.notifications;
  const loading = isFiltered ? !isReady && loaded.length === 0 : state.loading;
  const groups = useRef<readonly NotificationGroup[]>([]);
  const groupedNotifications = useMemo(
    () => groupByDay(filteredNotifications, groups.current),
    [filteredNotifications],
  );
  useEffect(() => {
    groups.current = groupedNotifications;
  }, [groupedNotifications]);
  const ownType = filter?.type;
  const markAllAsRead = useMemo(
    // As an event handler it is called with an event, which is no type.
    () => (only?: string) => client.markAllAsRead(typeof only === "string" ? only : ownType),
    [client, ownType],
  );
  const dismissError = useMemo(
    () => () => {
      client.dismissError();
      view?.dismissError();
    },
    [client, view],
  );
  const notifications = filter ? filteredNotifications : state.notifications;

  return {
    notifications,
    filteredNotifications,
    groupedNotifications,
    hasNotifications: notifications.length > 0,
    unreadCount: filter && isReady ? viewState.unreadCount : state.unreadCount,
    loading,
    loadingMore: list.loadingMore,
    error: state.error ?? viewState?.error ?? null,
    dismissError,
    activeTab,
    setActiveTab,
    markAsRead: client.markAsRead,
    markAsUnread: client.markAsUnread,
    markAllAsRead,
    deleteNotification: client.deleteNotification,
    snooze: client.snooze,
    hasMore: list.hasMore,
    loadMore: isFiltered ? (view?.loadMore ?? nothing) : client.loadMore,
    wsStatus,
    transport,
  };
}

/** The user's preferences, and the acts that change them. */
export function usePreferences(): PreferencesState & Omit<UserPreferences, "client" | "store"> {
  const { client: _, store, ...acts } = preferencesOf(useClient());
  const state = useSyncExternalStore(store.subscribe, store.getState, store.getInitialState);
  return { ...state, ...acts };
}

/** The state of push in this browser, and how to turn it on and off. */
export function usePush(): PushState & Pick<Push, "enable" | "disable"> {
  const { store, enable, disable } = useClient().push;
  const state = useSyncExternalStore(store.subscribe, store.getState, store.getInitialState);
  return { ...state, enable, disable };
}

/**
 * The last 50 events that services emitted while the page was open, newest first, or those of one type among them.
 * They are not stored, so there are none from before the first component that uses this hook.
 */
export function useEvents(type?: EmittedEvent["type"]): readonly EmittedEvent[] {
  const { subscribe, getState, getInitialState } = heardOf(useClient());
  const { events } = useSyncExternalStore(subscribe, getState, getInitialState);
  return useMemo(() => events.filter((event) => (type ?? event.type) === event.type), [events, type]);
}
