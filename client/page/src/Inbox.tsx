// The inbox as a user would see it: tabs, groups by day and type, and what may be done with each notification.

import type { Notification } from "@carillon/client";
import { type NotificationGroup, useCarillon, useNotifications } from "@carillon/client/react";
import { type KeyboardEvent, type ReactElement, type RefObject, useEffect, useMemo, useRef, useState } from "react";
import { FailureNote } from "./FailureNote.js";
import { type Failure, failure, fromProblem } from "./failure.js";
import { InboxRow, type RowActions } from "./InboxRow.js";
import { CheckAllIcon, CloseIcon, EmptyIcon, OfflineIcon } from "./icons.js";
import { type Tab, Tabs } from "./Tabs.js";
import { useTracing } from "./tracing.js";
import { dayName, typeName } from "./words.js";

interface InboxProps {
  user: string;
  open: boolean;
  /** Whether it lies over the page. */
  over: boolean;
  onClose: () => void;
}

export function Inbox({ user, open, over, onClose }: InboxProps): ReactElement {
  const inbox = useNotifications();
  const { activeTab, setActiveTab, unreadCount, notifications, groupedNotifications } = inbox;
  const fromCache = useCarillon((state) => state.fromCache);
  const { trace } = useTracing();
  const [refused, setRefused] = useState<Failure | null>(null);
  const root = useRef<HTMLElement>(null);
  const keepFocus = useFocusKeeper(root, notifications, activeTab);
  const tabs = useMemo(() => tabsOf(notifications, unreadCount), [notifications, unreadCount]);

  // A type whose last notification went has no tab any more.
  useEffect(() => {
    if (!tabs.some(({ key }) => key === activeTab)) setActiveTab("all");
  }, [tabs, activeTab, setActiveTab]);

  useEffect(() => {
    if (over) root.current?.focus();
  }, [over]);

  const close = (): void => {
    onClose();
    document.getElementById("bell")?.focus();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key !== "Escape" || !over) return;
    event.stopPropagation();
    close();
  };
  const act = useMemo(() => {
    const told = (change: Promise<void>): void => {
      setRefused(null);
      change.catch((thrown: unknown) => setRefused(failure(thrown)));
    };
    return {
      read: (id: string) => {
        keepFocus(id, "read");
        told(inbox.markAsRead(id));
      },
      unread: (id: string) => told(inbox.markAsUnread(id)),
      remove: (id: string) => {
        keepFocus(id, "delete");
        told(inbox.deleteNotification(id));
      },
      readAll: () => told(inbox.markAllAsRead()),
      more: () => told(inbox.loadMore()),
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
      className={over ? "inbox over" : "inbox"}
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
          onClick={() => unreadCount > 0 && act.readAll()}
        >
          <CheckAllIcon /> Mark all read
        </button>
        <button type="button" className="quiet square" aria-label="Close the inbox" onClick={close}>
          <CloseIcon />
        </button>
      </div>
      <Tabs label="Show" tabs={tabs} active={activeTab} panel="inbox-panel" onChoose={setActiveTab} />
      <div
        id="inbox-panel"
        className="inbox-panel"
        role="tabpanel"
        tabIndex={-1}
        aria-labelledby={`inbox-panel-tab-${activeTab}`}
      >
        {refused && <FailureNote title="That was refused." failure={refused} />}
        {inbox.error?.source === "cache" && (
          <FailureNote title="Nothing is kept for offline." failure={fromProblem(inbox.error)} />
        )}
        {empty ? (
          <Nothing loading={inbox.loading} offline={offline} tab={activeTab} inAll={notifications.length} />
        ) : (
          groupedNotifications.map((group) => (
            <Day key={group.key} group={group} byType={activeTab === "all" || activeTab === "unread"} act={act} />
          ))
        )}
        {inbox.hasMore && (
          <button type="button" className="button more" aria-disabled={inbox.loading} onClick={act.more}>
            {inbox.loading ? "Loading…" : "Show older ones"}
          </button>
        )}
      </div>
      {(offline || fromCache) && !inbox.loading && (
        <p className="note wait inbox-note" role="status" data-testid="from-cache">
          <OfflineIcon />
          <span>
            {offline
              ? "Offline: this is what this browser kept."
              : "This is what this browser kept; asking the server."}
          </span>
        </p>
      )}
    </aside>
  );
}

function Day({ group, byType, act }: { group: NotificationGroup; byType: boolean; act: RowActions }): ReactElement {
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
              <InboxRow key={notification.id} notification={notification} act={act} />
            ))}
          </ul>
        </div>
      ))}
    </section>
  );
}

interface NothingProps {
  loading: boolean;
  offline: boolean;
  tab: string;
  inAll: number;
}

function Nothing({ loading, offline, tab, inAll }: NothingProps): ReactElement {
  if (loading) {
    return (
      <div className="waiting" data-testid="loading">
        <span className="for-listeners">Loading the inbox</span>
        {[1, 2, 3, 4].map((n) => (
          <div key={n} className="bone" aria-hidden="true" />
        ))}
      </div>
    );
  }
  return (
    <div className="empty" data-testid="empty">
      <EmptyIcon />
      {offline ? (
        <>
          <p>Nothing was kept in this browser.</p>
          <p className="hint">What is in the inbox shows as soon as the server answers.</p>
        </>
      ) : tab === "unread" && inAll > 0 ? (
        <>
          <p>All read.</p>
          <p className="hint">Everything else is under “All”.</p>
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
    // A type may be called like the two above; those are reached there.
    ...[...types.keys()]
      .filter((type) => type !== "all" && type !== "unread")
      .map((type) => ({ key: type, name: typeName(type), count: types.get(type)?.length ?? 0 }))
      .sort((one, other) => one.name.localeCompare(other.name)),
  ];
}

/**
 * When a row goes with the focus in it, the focus goes to the same button of the next row, else the one before, else
 * to the list: a keyboard never falls back to the top of the page.
 */
function useFocusKeeper(
  root: RefObject<HTMLElement | null>,
  notifications: readonly Notification[],
  tab: string,
): (id: string, button: "read" | "delete") => void {
  const heir = useRef<{ row: HTMLElement; next: Element | null; button: string } | null>(null);
  const [keep] = useState(() => (id: string, button: "read" | "delete") => {
    const rows = [...(root.current?.querySelectorAll<HTMLElement>("[data-notification]") ?? [])];
    const place = rows.findIndex((row) => row.dataset["notification"] === id);
    const row = rows[place];
    if (!row?.contains(document.activeElement)) return;
    heir.current = { row, next: rows[place + 1] ?? rows[place - 1] ?? null, button };
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the rows are in the document only after these have changed
  useEffect(() => {
    const due = heir.current;
    if (!due) return;
    heir.current = null;
    if (due.row.isConnected) return;
    const button = due.next?.querySelector<HTMLElement>(`[data-act=${due.button}]`);
    (button ?? root.current?.querySelector<HTMLElement>("[role=tabpanel]"))?.focus();
  }, [notifications, tab]);
  return keep;
}
