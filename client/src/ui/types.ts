// What an application can configure in the components.

import type { CSSProperties, MouseEvent, ReactNode } from "react";
import type { Notification } from "../types.js";
import type { Labels } from "./labels.js";
import type { Link } from "./links.js";

/** A tab of the inbox. Without `type` and `unread` it has all notifications. */
export interface InboxTab {
  readonly key: string;
  readonly label: string;
  readonly type?: string;
  readonly unread?: boolean;
  readonly count?: number;
}

/** What a row of one's own can do. */
export interface RowActions {
  markAsRead(): void;
  markAsUnread(): void;
  remove(): void;
  snooze(until: Date): void;
}

/** Content for places in the components. Each function gets the notification of its row. */
export interface Slots {
  /** Before the text, for example an avatar. */
  readonly icon?: (notification: Notification) => ReactNode;
  /** After the time. */
  readonly meta?: (notification: Notification) => ReactNode;
  /** Between the buttons of a row. */
  readonly actions?: (notification: Notification) => ReactNode;
  /** Instead of the title of the inbox. */
  readonly title?: ReactNode;
  /** Before the button that marks all as read. */
  readonly header?: ReactNode;
  /** Below the list. */
  readonly footer?: ReactNode;
  /** Instead of the message of an empty list. */
  readonly empty?: (tab: InboxTab) => ReactNode;
}

/** What the inbox of a bell and the inbox on a page share. */
export interface InboxOptions {
  /** The words. A missing label is English. */
  readonly labels?: Partial<Labels> | undefined;
  /** Default: all, and unread. An empty array shows no tabs. */
  readonly tabs?: readonly InboxTab[];
  readonly slots?: Slots;
  /** Replaces the content of a row. The link is `null` if the notification has none that is safe to follow. */
  readonly renderRow?: (notification: Notification, actions: RowActions, link: Link | null) => ReactNode;
  /** Called when a link is followed. `event.preventDefault()` leaves the navigation to the application. */
  readonly onOpen?: (notification: Notification, event: MouseEvent<HTMLAnchorElement>) => void;
  /** Where links within the origin open. Other origins always open in a new tab. */
  readonly linkTarget?: "_self" | "_blank";
}

/** The props of `<Inbox/>`. */
export interface InboxProps extends InboxOptions {
  readonly id?: string;
  readonly className?: string;
  readonly style?: CSSProperties;
  /** The landmark that the inbox is. */
  readonly role?: "region" | "complementary";
  /** Shows a button that closes the inbox. */
  readonly onClose?: () => void;
}

/** The props of `<BellButton/>`. */
export interface BellButtonProps {
  readonly labels?: Partial<Labels> | undefined;
  readonly expanded: boolean;
  readonly onClick: () => void;
  /** The id of the element that it opens. */
  readonly controls?: string;
  /** The kind of element that it opens. */
  readonly popup?: "dialog";
  readonly id?: string | undefined;
  readonly className?: string | undefined;
  /** Instead of the bell. */
  readonly icon?: ReactNode;
}

/** The props of `<Bell/>`. */
export interface BellProps extends InboxOptions {
  readonly id?: string | undefined;
  readonly className?: string | undefined;
  /** Instead of the bell. */
  readonly icon?: ReactNode;
  /** The edge of the bell with which the inbox is aligned, in the direction of writing. Default: `"end"`. */
  readonly align?: "start" | "end";
}

/** The props of `<Toasts/>`. */
export interface ToastsProps {
  readonly labels?: Partial<Labels> | undefined;
  /** How long each is shown, in milliseconds. It waits while the pointer or the focus is on one. Default: 6,000. */
  readonly showMs?: number;
  readonly onOpen?: InboxOptions["onOpen"];
  readonly linkTarget?: InboxOptions["linkTarget"];
  /** Which notifications to show. Default: all. */
  readonly filter?: (notification: Notification) => boolean;
  /** Replaces the content of a toast. */
  readonly renderToast?: (notification: Notification, link: Link | null) => ReactNode;
}
