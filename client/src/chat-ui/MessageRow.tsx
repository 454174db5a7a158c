// One message. Its text comes from the network, so it is rendered as text only.

import { memo, type ReactElement, type ReactNode } from "react";
import type { ShownMessage } from "../chat/types.js";
import { formatsOf } from "../ui/format.js";
import { counted } from "../ui/labels.js";
import { ReadIcon, SendingIcon, SentIcon } from "./icons.js";
import { type Setup, userName } from "./setup.js";

interface MessageRowProps {
  readonly setup: Setup;
  readonly message: ShownMessage;
  /** Whether the message before it has another sender. */
  readonly isFirst: boolean;
  readonly isGroup: boolean;
  /** How many others have read it, and whether all of them have. */
  readonly readers: number;
  readonly isRead: boolean;
  readonly retry: (clientId: string) => void;
  readonly discard: (clientId: string) => void;
}

export const MessageRow: (props: MessageRowProps) => ReactNode = memo(function MessageRow(
  props: MessageRowProps,
): ReactElement {
  const { setup, message, isFirst, isGroup, retry, discard } = props;
  const { labels, me } = setup;
  const { key, senderId, body, createdAt, erased, state, error, clientId } = message;
  const isOwn = senderId !== null && senderId === me;
  const at = new Date(createdAt);
  const formats = formatsOf(labels.locale);
  const hasName = isGroup && isFirst && !isOwn;
  const name = isOwn ? labels.you : userName(setup, senderId);
  return (
    <li
      className="carillon-message"
      data-message={key}
      data-own={isOwn || undefined}
      data-first={isFirst || undefined}
      data-state={state}
    >
      {hasName && (
        <p className="carillon-sender">
          <bdi>{name}</bdi>
        </p>
      )}
      <div className="carillon-bubble">
        {!hasName && (
          <span className="carillon-spoken">
            <bdi>{name}</bdi>:{" "}
          </span>
        )}
        <p className="carillon-text" data-erased={erased || undefined}>
          {erased ? labels.erasedMessage : <bdi>{body}</bdi>}
        </p>
        <span className="carillon-stamp">
          <time dateTime={createdAt} title={formats.full(at)}>
            {formats.time(at)}
          </time>
          {isOwn && <State {...props} />}
        </span>
      </div>
      {state === "failed" && clientId !== null && (
        <div className="carillon-failed">
          <span>
            {labels.failed} {error && <code>{error.code}</code>}
          </span>
          <button type="button" className="carillon-button" onClick={() => retry(clientId)}>
            {labels.retry}
          </button>
          <button type="button" className="carillon-button" onClick={() => discard(clientId)}>
            {labels.discard}
          </button>
        </div>
      )}
    </li>
  );
});

/** How far a message has come: one that only Redis has is still on its way. All signs are equally wide, so that nothing moves when it gets further. */
function State({ setup: { labels }, message, isGroup, readers, isRead }: MessageRowProps): ReactNode {
  if (message.state === "failed") return null;
  const [text, Icon] =
    message.seq === null
      ? [labels.sending, SendingIcon]
      : readers > 0
        ? [isGroup ? counted(labels, labels.readBy, readers) : labels.read, isRead ? ReadIcon : SentIcon]
        : [labels.sent, SentIcon];
  return (
    <span className="carillon-state" data-read={isRead || undefined} title={text}>
      <Icon />
      <span className="carillon-spoken">{text}</span>
    </span>
  );
}
