// The hooks: a thin bridge between a client's store and React.

import {
  createContext,
  type ReactElement,
  type ReactNode,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";
import { groupByDay, type NotificationGroup } from "./grouping.js";
import type { Client, Notification, Problem, State, Status, Transport } from "./types.js";

export type { NotificationGroup } from "./grouping.js";

/** What `useNotifications` returns. */
export interface Notifications {
  /** Newest first. An unchanged notification keeps its identity, so a memoised row does not render again. */
  readonly notifications: readonly Notification[];
  /** The notifications of the active tab. */
  readonly filteredNotifications: readonly Notification[];
  /** The notifications of the active tab, by day. */
  readonly groupedNotifications: readonly NotificationGroup[];
  readonly hasNotifications: boolean;
  readonly unreadCount: number;
  readonly loading: boolean;
  readonly error: Problem | null;
  /** `"all"`, `"unread"`, or a type; shared by all components under one provider. */
  readonly activeTab: string;
  readonly setActiveTab: (tab: string) => void;
  readonly markAsRead: Client["markAsRead"];
  readonly markAsUnread: Client["markAsUnread"];
  readonly markAllAsRead: () => Promise<void>;
  readonly deleteNotification: Client["deleteNotification"];
  readonly hasMore: boolean;
  readonly loadMore: () => Promise<void>;
  readonly wsStatus: Status;
  readonly transport: Transport | null;
}

interface Provided {
  readonly client: Client;
  readonly activeTab: string;
  readonly setActiveTab: (tab: string) => void;
}

const Context = createContext<Provided | null>(null);

/** The number of mounted providers of each client. */
const holders = new WeakMap<Client, number>();

function hold(client: Client): () => void {
  const count = (by: number): number => {
    const held = (holders.get(client) ?? 0) + by;
    holders.set(client, held);
    return held;
  };
  count(1);
  client.connect();
  return () => {
    if (count(-1) === 0) client.close();
  };
}

/** Keeps the client connected while at least one provider of it is mounted. */
export function CarillonProvider({ client, children }: { client: Client; children?: ReactNode }): ReactElement {
  const [activeTab, setActiveTab] = useState("all");
  useEffect(() => hold(client), [client]);
  const provided = useMemo(() => ({ client, activeTab, setActiveTab }), [client, activeTab]);
  return <Context.Provider value={provided}>{children}</Context.Provider>;
}

function useProvided(): Provided {
  const provided = useContext(Context);
  if (!provided) throw new Error("no CarillonProvider above this component");
  return provided;
}

/** The client of the nearest provider. */
export function useClient(): Client {
  return useProvided().client;
}

/** Part of the state. The selector must return the same value for the same state. */
export function useCarillon<T>(selector: (state: State) => T): T {
  const { store } = useClient();
  return useSyncExternalStore(
    store.subscribe,
    () => selector(store.getState()),
    () => selector(store.getInitialState()),
  );
}

function isIn(tab: string, notification: Notification): boolean {
  return tab === "unread" ? notification.readAt === null : notification.type === tab;
}

/** The inbox and its actions. */
export function useNotifications(): Notifications {
  const { client, activeTab, setActiveTab } = useProvided();
  const { notifications, unreadCount, loading, error, hasMore, wsStatus, transport } = useCarillon((state) => state);
  const filteredNotifications = useMemo(
    () => (activeTab === "all" ? notifications : notifications.filter((notification) => isIn(activeTab, notification))),
    [notifications, activeTab],
  );
  const groups = useRef<readonly NotificationGroup[]>([]);
  const groupedNotifications = useMemo(
    () => groupByDay(filteredNotifications, groups.current),
    [filteredNotifications],
  );
  useEffect(() => {
    groups.current = groupedNotifications;
  }, [groupedNotifications]);
  const markAllAsRead = useMemo(() => () => client.markAllAsRead(), [client]);

  return {
    notifications,
    filteredNotifications,
    groupedNotifications,
    hasNotifications: notifications.length > 0,
    unreadCount,
    loading,
    error,
    activeTab,
    setActiveTab,
    markAsRead: client.markAsRead,
    markAsUnread: client.markAsUnread,
    markAllAsRead,
    deleteNotification: client.deleteNotification,
    hasMore,
    loadMore: client.loadMore,
    wsStatus,
    transport,
  };
}
