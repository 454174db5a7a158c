// The inbox of this page: the package's component, with a tab for each type, the type in each row, and a Trace button.

import type { Notification } from "@carillon/client";
import { useCarillon } from "@carillon/client/react";
import { Bell, BellButton, Inbox, type InboxOptions, type InboxTab, Toasts } from "@carillon/client/ui";
import { type ReactElement, useMemo } from "react";
import { typeName } from "./format.js";
import { TraceIcon } from "./icons.js";
import { useTracing } from "./tracing.js";
import { useUnreadCounts } from "./useUnreadCounts.js";

/** The inbox next to the page. */
export function Sidebar({ user, onClose }: { user: string; onClose: () => void }): ReactElement {
  const options = useOptions(user);
  const close = (): void => {
    onClose();
    document.getElementById("bell")?.focus();
  };
  return <Inbox {...options} id="inbox" className="sidebar" role="complementary" onClose={close} />;
}

/** The bell: for the sidebar if there is room for one, otherwise with the inbox over the page. */
export function PageBell({ user, sidebar }: { user: string; sidebar: SidebarState | null }): ReactElement {
  const options = useOptions(user);
  if (!sidebar) return <Bell {...options} id="bell" />;
  return (
    <BellButton id="bell" controls="inbox" expanded={sidebar.open} onClick={() => sidebar.setOpen(!sidebar.open)} />
  );
}

/** Whether the sidebar is open. */
export interface SidebarState {
  readonly open: boolean;
  readonly setOpen: (open: boolean) => void;
}

/** Arrivals, while no inbox shows them. */
export function PageToasts(): ReactElement {
  return <Toasts linkTarget="_blank" />;
}

function useOptions(user: string): InboxOptions {
  const { trace } = useTracing();
  const notifications = useCarillon((state) => state.notifications);
  const unreadCount = useCarillon((state) => state.unreadCount);
  const types = useMemo(() => [...new Set(notifications.map(({ type }) => type))].sort(), [notifications]);
  const counts = useUnreadCounts(types);
  const tabs = useMemo(() => tabsOf(types, unreadCount, counts), [types, unreadCount, counts]);
  const slots = useMemo(
    () => ({
      title: (
        <>
          Inbox <span className="inbox-of">of {user}</span>
        </>
      ),
      meta: ({ type }: Notification) => typeName(type),
      actions: ({ id, title }: Notification) => (
        <button
          type="button"
          className="carillon-button"
          data-act="trace"
          aria-label={`Trace: ${title}`}
          title="Trace"
          onClick={() => trace(id)}
        >
          <TraceIcon />
        </button>
      ),
    }),
    [user, trace],
  );
  return { tabs, slots, linkTarget: "_blank" };
}

function tabsOf(
  types: readonly string[],
  unreadCount: number,
  counts: ReadonlyMap<string, number>,
): readonly InboxTab[] {
  return [
    { key: "all", label: "All" },
    { key: "unread", label: "Unread", unread: true, count: unreadCount },
    ...types
      .map((type): InboxTab => {
        const count = counts.get(type);
        return { key: `type ${type}`, label: typeName(type), type, ...(count !== undefined && { count }) };
      })
      .sort((one, other) => one.label.localeCompare(other.label)),
  ];
}
