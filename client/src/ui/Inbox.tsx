// The inbox: tabs, the list, and what there is to say about it.

import { type HTMLAttributes, type ReactElement, type Ref, useId, useMemo, useRef, useState } from "react";
import { useCarillon } from "../hooks.js";
import { useClient } from "../provider.js";
import type { Notification } from "../types.js";
import { Announcer } from "./Announcer.js";
import { Failure } from "./Failure.js";
import { CheckAllIcon, CloseIcon } from "./icons.js";
import { List } from "./List.js";
import { complete, type Labels } from "./labels.js";
import type { RowSetup } from "./Row.js";
import { useStyles } from "./styles.js";
import { Tabs } from "./Tabs.js";
import type { InboxOptions, InboxProps } from "./types.js";
import { useTab } from "./useTab.js";

/** Loading rows, as many as fill a usual panel. */
const SKELETONS = [1, 2, 3, 4, 5, 6];

/** The user's notifications. */
export function Inbox({ id, className, style, role = "region", ...options }: InboxProps): ReactElement {
  return (
    <Panel
      {...options}
      root={{ id, role, style, className: className ? `carillon-inbox ${className}` : "carillon-inbox" }}
    />
  );
}

interface PanelProps extends InboxOptions {
  readonly onClose?: (() => void) | undefined;
  readonly root: HTMLAttributes<HTMLElement> & { ref?: Ref<HTMLElement> };
}

/** The inbox as an element of whatever role. */
export function Panel(props: PanelProps): ReactElement {
  const { slots, renderRow, onOpen, linkTarget, onClose, root } = props;
  useStyles();
  const ids = useId();
  const labels = complete(props.labels);
  const client = useClient();
  const { notifications, unreadCount, wsStatus, fromCache, userId } = useCarillon((state) => state);
  const tabs = props.tabs ?? [
    { key: "all", label: labels.all },
    { key: "unread", label: labels.unread, unread: true, count: unreadCount },
  ];
  const [chosen, setChosen] = useState("all");
  const tab = tabs.find(({ key }) => key === chosen) ?? tabs[0] ?? { key: "all", label: labels.all };
  const list = useTab(tab);
  // What is read under the pointer stays, although the list of what is unread no longer has it.
  // biome-ignore lint/correctness/useExhaustiveDependencies: nothing of a user is kept for the next one
  const readHere = useMemo(() => new Map<string, Notification>(), [userId]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: nothing of a user is kept for the next one
  const snoozedHere = useMemo(() => new Map<string, Date>(), [userId]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the map changes with the list
  const all = useMemo(() => [...notifications, ...readHere.values()], [notifications, list.notifications, readHere]);
  const setup = useMemo(
    (): RowSetup => ({
      labels,
      slots,
      renderRow,
      onOpen,
      linkTarget,
      read(notification) {
        readHere.set(notification.id, { ...notification, readAt: new Date().toISOString() });
        void client.markAsRead(notification.id);
      },
      unread(id) {
        readHere.delete(id);
        void client.markAsUnread(id);
      },
      remove(id) {
        readHere.delete(id);
        snoozedHere.delete(id);
        void client.deleteNotification(id);
      },
      snooze(id, until) {
        readHere.delete(id);
        snoozedHere.set(id, until);
        void client.snooze(id, until);
      },
      snoozedUntil: (id) => snoozedHere.get(id),
    }),
    [labels, slots, renderRow, onOpen, linkTarget, client, readHere, snoozedHere],
  );
  const hadFocus = useRef(false);
  const offline = wsStatus === "offline";
  const waits = list.loading && !offline;
  const note = notifications.length === 0 ? null : offline ? labels.offline : fromCache ? labels.fromCache : null;
  const panel = `${ids}panel`;

  return (
    <section aria-labelledby={`${ids}title`} aria-busy={waits} {...root}>
      <div className="carillon-head">
        <h2 id={`${ids}title`}>{slots?.title ?? labels.title}</h2>
        {slots?.header}
        <button
          type="button"
          className="carillon-button"
          aria-label={labels.markAllRead}
          title={labels.markAllRead}
          aria-disabled={unreadCount === 0}
          onClick={() => unreadCount > 0 && void client.markAllAsRead(tab.type)}
        >
          <CheckAllIcon /> <span data-wide>{labels.markAllRead}</span>
        </button>
        {onClose && (
          <button
            type="button"
            className="carillon-button"
            aria-label={labels.close}
            title={labels.close}
            onClick={onClose}
          >
            <CloseIcon />
          </button>
        )}
      </div>
      {tabs.length > 0 && (
        <Tabs label={labels.filter} tabs={tabs} active={tab.key} panel={panel} onSelect={setChosen} />
      )}
      <List
        // A list that keeps its rows in place must not keep those of another tab, or of another user.
        key={`${userId} ${tab.key}`}
        id={panel}
        labelledBy={tabs.length > 0 ? `${panel}-${tabs.indexOf(tab)}` : undefined}
        items={list.notifications}
        all={all}
        hasMore={list.hasMore}
        busy={list.loadingMore}
        onMore={list.loadMore}
        setup={setup}
        hadFocus={hadFocus}
      >
        {waits ? (
          <Loading labels={labels} />
        ) : (
          <div className="carillon-empty">
            {slots?.empty?.(tab) ?? (
              <Empty labels={labels} offline={offline} allRead={!!tab.unread && notifications.length > 0} />
            )}
          </div>
        )}
      </List>
      {/* They lie over the end of the list, so that it moves neither when they come nor when they go. */}
      <div className="carillon-notices">
        {/* The client recovers from all other problems on its own. */}
        <Failure labels={labels} error={list.error?.action ? list.error : null} onDismiss={list.dismissError} />
        <div role="status">{note && <p className="carillon-notice">{note}</p>}</div>
      </div>
      {slots?.footer}
      <Announcer labels={labels} />
    </section>
  );
}

function Loading({ labels }: { labels: Labels }): ReactElement {
  return (
    <div className="carillon-loading">
      <span className="carillon-spoken">{labels.loading}</span>
      {SKELETONS.map((n) => (
        <div key={n} className="carillon-skeleton" aria-hidden="true" />
      ))}
    </div>
  );
}

function Empty({ labels, offline, allRead }: { labels: Labels; offline: boolean; allRead: boolean }): ReactElement {
  const [text, hint] = allRead
    ? [labels.allRead, labels.allReadHint]
    : [offline ? labels.offlineEmpty : labels.empty, labels.emptyHint];
  return (
    <>
      <p>{text}</p>
      <p>{hint}</p>
    </>
  );
}
