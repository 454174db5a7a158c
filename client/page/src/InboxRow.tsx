// One notification in the inbox. Its content comes from the network, so it is rendered as text only.

import type { Notification } from "@carillon/client";
import { memo, type ReactElement } from "react";
import { atClock, inFull } from "./format.js";
import { ArrowIcon, CheckIcon, DeleteIcon, TraceIcon, UnreadIcon } from "./icons.js";
import { isSafeUrl } from "./links.js";

/** What a user can do with a notification. */
export interface RowActions {
  readonly read: (id: string) => void;
  readonly unread: (id: string) => void;
  readonly remove: (id: string) => void;
  readonly trace: (id: string) => void;
}

interface InboxRowProps {
  notification: Notification;
  actions: RowActions;
}

export const InboxRow = memo(function InboxRow({ notification, actions }: InboxRowProps): ReactElement {
  const { id, title, body, actionUrl, priority, createdAt, readAt } = notification;
  const unread = readAt === null;
  const at = new Date(createdAt);
  const urgent = priority === "high" || priority === "critical";
  return (
    <li className={unread ? "row unread" : "row"} data-notification={id}>
      <span className="row-dot" aria-hidden="true" />
      <div className="row-text">
        <p className="row-title">
          {unread && <span className="visually-hidden">Unread: </span>}
          {title}
        </p>
        {body && <p className="row-body">{body}</p>}
        <p className="row-foot">
          <time className="numbers" dateTime={createdAt} title={inFull(at)}>
            {atClock(at)}
          </time>
          {urgent && <span className={`priority ${priority}`}>{priority}</span>}
          {actionUrl && isSafeUrl(actionUrl) && (
            <a href={actionUrl} rel="noopener noreferrer" target="_blank">
              Open<span className="visually-hidden"> {title} in a new tab</span> <ArrowIcon />
            </a>
          )}
        </p>
      </div>
      <div className="row-actions">
        <button
          type="button"
          className="quiet square"
          data-act="read"
          aria-label={`${unread ? "Mark as read" : "Mark as unread"}: ${title}`}
          title={unread ? "Mark as read" : "Mark as unread"}
          onClick={() => (unread ? actions.read(id) : actions.unread(id))}
        >
          {unread ? <CheckIcon /> : <UnreadIcon />}
        </button>
        <button
          type="button"
          className="quiet square"
          data-act="trace"
          aria-label={`Trace: ${title}`}
          title="Trace"
          onClick={() => actions.trace(id)}
        >
          <TraceIcon />
        </button>
        <button
          type="button"
          className="quiet square"
          data-act="delete"
          aria-label={`Delete: ${title}`}
          title="Delete"
          onClick={() => actions.remove(id)}
        >
          <DeleteIcon />
        </button>
      </div>
    </li>
  );
});
