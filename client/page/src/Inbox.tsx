// The inbox as a user sees it: tabs, groups by day and type, and the actions on each notification.

import type { Notification } from "@carillon/client";
import { type NotificationGroup, useCarillon, useNotifications } from "@carillon/client/react";
import { type KeyboardEvent, type ReactElement, type RefObject, useEffect, useMemo, useRef, useState } from "react";
import { FailureNote } from "./FailureNote.js";
import { type Failure, failure, fromProblem } from "./failure.js";
import { dayName, typeName } from "./format.js";
import { InboxRow, type RowActions } from "./InboxRow.js";
import { CheckAllIcon, CloseIcon, EmptyIcon, OfflineIcon } from "./icons.js";
import { type Tab, Tabs } from "./Tabs.js";
import { useTracing } from "./tracing.js";

interface InboxProps {
  user: string;
  open: boolean;
  /** Whether it covers the page instead of being next to it. */
  overlay: boolean;
  onClose: () => void;
}

export function Inbox({ user, open, overlay, onClose }: InboxProps): ReactElement {
  const inbox = useNotifications();
  const { activeTab, setActiveTab, unreadCount, notifications, groupedNotifications } = inbox;
  const fromCache = useCarillon((state) => state.fromCache);
  const { trace } = useTracing();
  const [refused, setRefused] = useState<Failure | null>(null);
  const root = useRef<HTMLElement>(null);
  const keepFocus = useKeptFocus(root, notifications, activeTab);
  const tabs = useMemo(() => tabsOf(notifications, unreadCount), [notifications, unreadCount]);

  // The tab of a type disappears with its last notification.
  useEffect(() => {
    if (!tabs.some(({ key }) => key === activeTab)) setActiveTab("all");
  }, [tabs, activeTab, setActiveTab]);

  useEffect(() => {
    if (overlay) root.current?.focus();
  }, [overlay]);

  const close = (): void => {
    onClose();
    document.getElementById("bell")?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !overlay) return;
    event.stopPropagation();
    close();
  };
  const actions = useMemo(() => {
    const showRefusal = (change: Promise<void>): void => {
      setRefused(null);
      change.catch((thrown: unknown) => setRefused(failure(thrown)));
    };
    return {
      read: (id: string) => {
        keepFocus(id, "read");
        showRefusal(inbox.markAsRead(id));
      },
      unread: (id: string) => showRefusal(inbox.markAsUnread(id)),
      remove: (id: string) => {
        keepFocus(id, "delete");
        showRefusal(inbox.deleteNotification(id));
      },
      readAll: () => showRefusal(inbox.markAllAsRead()),
      more: () => showRefusal(inbox.loadMore()),
      trace,
    };
  }, [
    inbox.markAsRead,
    inbox.markAsUnread,
    inbox.deleteNotification,
    inbox.markAllAsRead,
    inbox.loadMore,
    trace,
    keepFocus,
  ]);

  const offline = inbox.wsStatus === "offline";
  const empty = groupedNotifications.length === 0;
  return (
    <aside
      id="inbox"
      className={overlay ? "inbox overlay" : "inbox"}
      hidden={!open}
      ref={root}
      tabIndex={-1}
      aria-labelledby="inbox-title"
      aria-busy={inbox.loading}
      onKeyDown={onKeyDown}
    >
      <div className="inbox-head">
        <h2 id="inbox-title">
          Inbox <span className="inbox-of">of {user}</span>
        </h2>
        <button
          type="button"
          className="quiet"
          aria-disabled={unreadCount === 0}
          onClick={() => unreadCount > 0 && actions.readAll()}
        >
          <CheckAllIcon /> Mark all read
        </button>
        <button type="button" className="quiet square" aria-label="Close the inbox" onClick={close}>
          <CloseIcon />
        </button>
      </div>
      <Tabs label="Filter the inbox" tabs={tabs} active={activeTab} panel="inbox-panel" onSelect={setActiveTab} />
      <div
        id="inbox-panel"
        className="inbox-panel"
        role="tabpanel"
        tabIndex={-1}
        aria-labelledby={`inbox-panel-tab-${activeTab}`}
      >
        {refused && <FailureNote title="The change was refused." failure={refused} />}
        {inbox.error?.source === "cache" && (
          <FailureNote title="The inbox is not saved for offline use." failure={fromProblem(inbox.error)} />
        )}
        {empty ? (
          <EmptyInbox loading={inbox.loading} offline={offline} tab={activeTab} total={notifications.length} />
        ) : (
          groupedNotifications.map((group) => (
            <Day
              key={group.key}
              group={group}
              byType={activeTab === "all" || activeTab === "unread"}
              actions={actions}
            />
          ))
        )}
        {inbox.hasMore && (
          <button type="button" className="button more" aria-disabled={inbox.loading} onClick={actions.more}>
            {inbox.loading ? "Loading…" : "Show older"}
          </button>
        )}
      </div>
      {(offline || fromCache) && !inbox.loading && (
        <p className="note wait inbox-note" role="status" data-testid="from-cache">
          <OfflineIcon />
          <span>
            {offline
              ? "Offline: showing this browser's cache."
              : "Showing this browser's cache until the server responds."}
          </span>
        </p>
      )}
    </aside>
  );
}

function Day({
  group,
  byType,
  actions,
}: {
  group: NotificationGroup;
  byType: boolean;
  actions: RowActions;
}): ReactElement {
  const types = useMemo(() => Map.groupBy(group.items, ({ type }) => type), [group.items]);
  return (
    <section className="day" aria-labelledby={`day-${group.key}`}>
      <h3 id={`day-${group.key}`}>{dayName(group.date)}</h3>
      {[...types].map(([type, items]) => (
        <div className="type" key={type}>
          {byType && (
            <h4>
              {typeName(type)} <span className="numbers">{items.length}</span>
            </h4>
          )}
          <ul>
            {items.map((notification) => (
              <InboxRow key={notification.id} notification={notification} actions={actions} />
            ))}
          </ul>
        </div>
      ))}
    </section>
  );
}

interface EmptyInboxProps {
  loading: boolean;
  offline: boolean;
  tab: string;
  /** The number of notifications in all tabs. */
  total: number;
}

function EmptyInbox({ loading, offline, tab, total }: EmptyInboxProps): ReactElement {
  if (loading) {
    return (
      <div className="waiting" data-testid="loading">
        <span className="visually-hidden">Loading the inbox</span>
        {[1, 2, 3, 4].map((n) => (
          <div key={n} className="skeleton" aria-hidden="true" />
        ))}
      </div>
    );
  }
  return (
    <div className="empty" data-testid="empty">
      <EmptyIcon />
      {offline ? (
        <>
          <p>This browser has no cached inbox.</p>
          <p className="hint">The inbox appears as soon as the server responds.</p>
        </>
      ) : tab === "unread" && total > 0 ? (
        <>
          <p>All read.</p>
          <p className="hint">Read notifications are under “All”.</p>
        </>
      ) : (
        <>
          <p>No notifications yet.</p>
          <p className="hint">Send one and it rings here.</p>
        </>
      )}
    </div>
  );
}

function tabsOf(notifications: readonly Notification[], unreadCount: number): readonly Tab[] {
  const types = Map.groupBy(notifications, ({ type }) => type);
  return [
    { key: "all", name: "All" },
    { key: "unread", name: "Unread", count: unreadCount },
    // A type named `all` or `unread` gets no tab of its own, because its key would clash with the two above.
    ...[...types.keys()]
      .filter((type) => type !== "all" && type !== "unread")
      .map((type) => ({ key: type, name: typeName(type), count: types.get(type)?.length ?? 0 }))
      .sort((one, other) => one.name.localeCompare(other.name)),
  ];
}

/**
 * When the row that contains the focus disappears, moves the focus to the same button in the next row, otherwise in
 * the previous row, otherwise to the list. Without this, the browser would move it to the top of the page.
 */
function useKeptFocus(
  root: RefObject<HTMLElement | null>,
  notifications: readonly Notification[],
  tab: string,
): (id: string, button: "read" | "delete") => void {
  const pending = useRef<{ row: HTMLElement; next: Element | null; button: string } | null>(null);
  const [keep] = useState(() => (id: string, button: "read" | "delete") => {
    const rows = [...(root.current?.querySelectorAll<HTMLElement>("[data-notification]") ?? [])];
    const index = rows.findIndex((row) => row.dataset["notification"] === id);
    const row = rows[index];
    if (!row?.contains(document.activeElement)) return;
    pending.current = { row, next: rows[index + 1] ?? rows[index - 1] ?? null, button };
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the document has the new rows only after these change
  useEffect(() => {
    const move = pending.current;
    if (!move) return;
    pending.current = null;
    if (move.row.isConnected) return;
    const button = move.next?.querySelector<HTMLElement>(`[data-act=${move.button}]`);
    (button ?? root.current?.querySelector<HTMLElement>("[role=tabpanel]"))?.focus();
  }, [notifications, tab]);
  return keep;
}
