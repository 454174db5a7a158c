// One notification in the inbox. All of it came over the network, so all of it is text.

import type { Notification } from "@carillon/client";
import { memo, type ReactElement } from "react";
import { ArrowIcon, CheckIcon, DeleteIcon, TraceIcon, UnreadIcon } from "./icons.js";
import { atClock, inFull, isSafeUrl } from "./words.js";

/** What a user can do with a notification. */
export interface RowActions {
  readonly read: (id: string) => void;
  readonly unread: (id: string) => void;
  readonly remove: (id: string) => void;
  readonly trace: (id: string) => void;
}

interface InboxRowProps {
  notification: Notification;
  act: RowActions;
}

export const InboxRow = memo(function InboxRow({ notification, act }: InboxRowProps): ReactElement {
  const { id, title, body, actionUrl, priority, createdAt, readAt } = notification;
  const unread = readAt === null;
  const at = new Date(createdAt);
  const loud = priority === "high" || priority === "critical";
  return (
    <li className={unread ? "row unread" : "row"} data-notification={id}>
      <span className="row-dot" aria-hidden="true" />
      <div className="row-text">
        <p className="row-title">
          {unread && <span className="for-listeners">Unread: </span>}
          {title}
        </p>
        {body && <p className="row-body">{body}</p>}
        <p className="row-foot">
          <time className="numbers" dateTime={createdAt} title={inFull(at)}>
            {atClock(at)}
          </time>
          {loud && <span className={`priority ${priority}`}>{priority}</span>}
          {actionUrl && isSafeUrl(actionUrl) && (
            <a href={actionUrl} rel="noopener noreferrer" target="_blank">
              Open<span className="for-listeners"> {title} in a new tab</span> <ArrowIcon />
            </a>
          )}
        </p>
      </div>
      <div className="row-acts">
        <button
          type="button"
          className="quiet square"
          data-act="read"
          aria-label={`${unread ? "Mark as read" : "Mark as unread"}: ${title}`}
          title={unread ? "Mark as read" : "Mark as unread"}
          onClick={() => (unread ? act.read(id) : act.unread(id))}
        >
          {unread ? <CheckIcon /> : <UnreadIcon />}
        </button>
        <button
          type="button"
          className="quiet square"
          data-act="trace"
          aria-label={`Trace: ${title}`}
          title="Trace"
          onClick={() => act.trace(id)}
        >
          <TraceIcon />
        </button>
        <button
          type="button"
          className="quiet square"
          data-act="delete"
          aria-label={`Delete: ${title}`}
          title="Delete"
          onClick={() => act.remove(id)}
        >
          <DeleteIcon />
        </button>
      </div>
    </li>
  );
});
