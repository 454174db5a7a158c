// One notification. Its content comes from the network, so it is rendered as text only.

import { type MouseEvent, memo, type ReactElement, type ReactNode, useEffect, useRef, useState } from "react";
import type { Notification } from "../types.js";
import { formatsOf, named, shown } from "./format.js";
import { ArrowIcon, CheckIcon, DeleteIcon, SnoozeIcon, UnreadIcon } from "./icons.js";
import type { Labels } from "./labels.js";
import { type Link, linkOf } from "./links.js";
import { Snooze } from "./Snooze.js";
import type { InboxOptions, RowActions, Slots } from "./types.js";

/** What all rows of a list share. It keeps its identity, or every row renders again. */
export interface RowSetup {
  readonly renderRow: InboxOptions["renderRow"] | undefined;
  readonly onOpen: InboxOptions["onOpen"] | undefined;
  readonly linkTarget: InboxOptions["linkTarget"] | undefined;
  readonly labels: Labels;
  readonly slots: Slots | undefined;
  readonly read: (notification: Notification) => void;
  readonly unread: (id: string) => void;
  readonly remove: (id: string) => void;
  readonly snooze: (id: string, until: Date) => void;
  /** Until when it was snoozed, if that was done here. */
  readonly snoozedUntil: (id: string) => Date | undefined;
}

interface RowProps {
  readonly notification: Notification;
  /** It was deleted or snoozed, and only keeps its place. */
  readonly gone: boolean;
  readonly position: number;
  readonly size: number;
  readonly setup: RowSetup;
}

export const Row: (props: RowProps) => ReactNode = memo(function Row(props: RowProps): ReactElement {
  const { notification, gone, position, size, setup } = props;
  const { renderRow } = setup;
  const { id, readAt } = notification;
  const actions: RowActions = {
    markAsRead: () => setup.read(notification),
    markAsUnread: () => setup.unread(id),
    remove: () => setup.remove(id),
    snooze: (until) => setup.snooze(id, until),
  };
  return (
    <li
      className="carillon-row"
      {...(gone ? { "data-gone": id } : { "data-notification": id })}
      data-unread={(!gone && readAt === null) || undefined}
      data-custom={renderRow ? true : undefined}
      aria-posinset={position}
      aria-setsize={size}
    >
      {renderRow ? (
        renderRow(notification, actions, linkOf(notification.actionUrl))
      ) : (
        <Content notification={notification} gone={gone} actions={actions} setup={setup} />
      )}
    </li>
  );
});

interface ContentProps {
  readonly notification: Notification;
  readonly gone: boolean;
  readonly actions: RowActions;
  readonly setup: RowSetup;
}

function Content({ notification, gone, actions, setup }: ContentProps): ReactElement {
  const { labels, slots, onOpen, linkTarget } = setup;
  const { id, title, body, actionUrl, priority, createdAt, readAt } = notification;
  const link = gone ? null : linkOf(actionUrl);
  const unread = readAt === null;
  const at = new Date(createdAt);
  const formats = formatsOf(labels.locale);
  const until = setup.snoozedUntil(id);
  const goneLabel = until ? (
    <span className="carillon-snooze">
      {labels.snoozed.replace("{time}", `${formats.weekday(until)} ${formats.time(until)}`)}
    </span>
  ) : (
    labels.deleted
  );
  const open = (event: MouseEvent<HTMLAnchorElement>): void => {
    if (unread) actions.markAsRead();
    onOpen?.(notification, event);
  };
  return (
    <>
      <span className="carillon-dot" aria-hidden="true" />
      {slots?.icon && <span className="carillon-slot">{slots.icon(notification)}</span>}
      <div className="carillon-main">
        <p className="carillon-row-title">
          {unread && !gone && <span className="carillon-spoken">{labels.unread}: </span>}
          {link ? (
            <TextLink text={title} link={link} target={linkTarget} labels={labels} onClick={open} />
          ) : (
            <bdi>{shown(title)}</bdi>
          )}
        </p>
        {body && (
          <p className="carillon-body">
            <bdi>{shown(body)}</bdi>
          </p>
        )}
        <div className="carillon-foot">
          <time dateTime={createdAt} title={formats.full(at)}>
            {formats.time(at)}
          </time>
          {(priority === "high" || priority === "critical") && (
            <span className="carillon-priority" data-priority={priority}>
              {labels[priority]}
            </span>
          )}
          {slots?.meta && <span className="carillon-meta">{slots.meta(notification)}</span>}
          <span className="carillon-actions">
            {gone ? goneLabel : <Buttons notification={notification} actions={actions} setup={setup} />}
          </span>
        </div>
      </div>
    </>
  );
}

function Buttons({ notification, actions, setup: { labels, slots } }: Omit<ContentProps, "gone">): ReactElement {
  const { title, readAt } = notification;
  const unread = readAt === null;
  const toggle = unread ? labels.markRead : labels.markUnread;
  const [chooses, setChooses] = useState(false);
  const hasChosen = useRef(false);
  const snooze = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    // The choices have disappeared, and with them the focus.
    if (hasChosen.current && !chooses) snooze.current?.focus({ preventScroll: true });
    hasChosen.current = chooses;
  }, [chooses]);
  if (chooses) {
    return (
      <Snooze
        notification={notification}
        labels={labels}
        onChoose={actions.snooze}
        onCancel={() => setChooses(false)}
      />
    );
  }
  return (
    <>
      <button
        type="button"
        className="carillon-button"
        data-act="read"
        aria-label={`${toggle}: ${named(title)}`}
        title={toggle}
        onClick={unread ? actions.markAsRead : actions.markAsUnread}
      >
        {unread ? <CheckIcon /> : <UnreadIcon />}
      </button>
      {slots?.actions?.(notification)}
      <button
        ref={snooze}
        type="button"
        className="carillon-button"
        data-act="snooze"
        aria-label={`${labels.snooze}: ${named(title)}`}
        title={labels.snooze}
        onClick={() => setChooses(true)}
      >
        <SnoozeIcon />
      </button>
      <button
        type="button"
        className="carillon-button"
        data-act="delete"
        aria-label={`${labels.delete}: ${named(title)}`}
        title={labels.delete}
        onClick={actions.remove}
      >
        <DeleteIcon />
      </button>
    </>
  );
}

interface TextLinkProps {
  readonly text: string;
  readonly link: Link;
  readonly target: "_self" | "_blank" | undefined;
  readonly labels: Labels;
  readonly onClick: (event: MouseEvent<HTMLAnchorElement>) => void;
}

/** A title that is a link. Another tab gets no access to the page. */
export function TextLink({ text, link, target, labels, onClick }: TextLinkProps): ReactElement {
  const newTab = link.external || target === "_blank";
  return (
    <a
      className="carillon-link"
      href={link.href}
      {...(newTab && { target: "_blank", rel: "noopener noreferrer" })}
      data-act="open"
      onClick={onClick}
    >
      <bdi>{shown(text)}</bdi>
      {newTab && (
        <>
          <span className="carillon-spoken"> ({labels.newTab})</span>
          <ArrowIcon />
        </>
      )}
    </a>
  );
}
