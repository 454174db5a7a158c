// One open chat: who it is with, its messages, and what the user can do in it.

import { type ReactElement, type ReactNode, type RefObject, useEffect, useId, useRef, useState } from "react";
import type { Chat, PresenceMap } from "../chat/types.js";
import type { ChatList, ChatThread } from "../chat-react.js";
import { useChat } from "../chat-react.js";
import { counted } from "../ui/labels.js";
import { useToday } from "../ui/useToday.js";
import { Avatar } from "./Avatar.js";
import { Composer } from "./Composer.js";
import { whenSeen } from "./format.js";
import { BackIcon, DeleteIcon, InfoIcon } from "./icons.js";
import { filled } from "./labels.js";
import { Messages } from "./Messages.js";
import { Notice } from "./Notice.js";
import { chatName, partnerOf, type Setup, userName, useSetup } from "./setup.js";
import type { OnDemand } from "./useOnDemand.js";

/** Before a chat is accepted, its creator can send this many. */
const MAX_PENDING = 3;

interface ConversationProps {
  readonly chatId: string;
  readonly list: ChatList;
  readonly presence: PresenceMap;
  /** Whether the user has just opened it, and the focus should follow. */
  readonly takesFocus: RefObject<boolean>;
  readonly offline: boolean;
  readonly onDemand: OnDemand;
  /** To the list. A chat that is gone does not stay open beside it. */
  readonly onBack: (isGone?: boolean) => void;
}

export function Conversation(props: ConversationProps): ReactElement {
  const { chatId, list, presence, takesFocus, offline, onBack } = props;
  const { parts, load } = props.onDemand;
  const setup = useSetup();
  const { labels, slots } = setup;
  const thread = useChat(chatId);
  const { chat } = thread;
  const id = useId();
  const heading = useRef<HTMLHeadingElement>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const name = chat ? chatName(setup, chat) : "";
  const isShown = chat !== null && !chat.hidden;
  const [showsGroup, setShowsGroup] = useState(false);
  const groupButton = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (!takesFocus.current) return;
    takesFocus.current = false;
    // On a touch screen the field would open a keyboard over the messages.
    const isTouch = matchMedia("(pointer: coarse)").matches;
    ((!isTouch && field.current) || heading.current)?.focus({ preventScroll: true });
  }, [takesFocus]);

  return (
    <section
      className="carillon-conversation"
      aria-labelledby={`${id}name`}
      onKeyDown={(event) => {
        if (event.key !== "Escape" || event.nativeEvent.isComposing) return;
        event.stopPropagation();
        if (!showsGroup) return onBack();
        setShowsGroup(false);
        groupButton.current?.focus();
      }}
    >
      <div className="carillon-head">
        <button
          type="button"
          className="carillon-button carillon-back"
          aria-label={labels.back}
          title={labels.back}
          onClick={() => onBack()}
        >
          <BackIcon />
        </button>
        {chat && <Avatar chat={chat} presence={presence} />}
        <div className="carillon-with">
          <h2 id={`${id}name`} ref={heading} tabIndex={-1}>
            {chat ? <bdi>{name}</bdi> : thread.loading ? labels.loading : labels.gone}
          </h2>
          {isShown && <About chat={chat} presence={presence} />}
        </div>
        {chat && slots?.actions?.(chat)}
        {isShown && chat.kind === "group" && (
          <button
            ref={groupButton}
            type="button"
            className="carillon-button"
            aria-expanded={showsGroup}
            aria-label={`${labels.group}: ${name}`}
            title={labels.group}
            onClick={() => (showsGroup ? setShowsGroup(false) : load(() => setShowsGroup(true)))}
          >
            <InfoIcon />
          </button>
        )}
        {isShown && (
          <button
            type="button"
            className="carillon-button"
            aria-label={`${labels.delete}: ${name}`}
            title={labels.delete}
            onClick={() => {
              // The button disappears, and with it the focus.
              heading.current?.focus({ preventScroll: true });
              void list.hide(chatId);
            }}
          >
            <DeleteIcon />
          </button>
        )}
      </div>
      {!chat && <div className="carillon-empty">{!thread.loading && <p>{labels.gone}</p>}</div>}
      {chat?.hidden && (
        <div className="carillon-empty">
          <p>{labels.deleted}</p>
          <p>{labels.deletedHint}</p>
          <button
            type="button"
            className="carillon-button"
            data-primary
            onClick={() => {
              heading.current?.focus({ preventScroll: true });
              void list.restore(chatId);
            }}
          >
            {labels.restore}
          </button>
        </div>
      )}
      {isShown && showsGroup && parts && <parts.GroupDetails chat={chat} list={list} onLeft={() => onBack(true)} />}
      {isShown && !showsGroup && (
        <>
          {/* Once all is known, so that it begins where the unread messages do. */}
          {thread.loading ? (
            <div className="carillon-messages" />
          ) : (
            <Messages
              chat={chat}
              messages={thread.messages}
              hasMore={thread.hasMore}
              loading={thread.loading}
              loadingMore={thread.loadingMore}
              unread={thread.unread}
              loadMore={thread.loadMore}
              markAsRead={thread.markAsRead}
              retry={thread.retry}
              discard={thread.discard}
            />
          )}
          <p className="carillon-typing">
            {/* Typing comes and goes too often to be spoken. */}
            <span role="status">{offline && labels.saved}</span>
            {!offline && typing(setup, thread)}
          </p>
          <Answer chat={chat} name={name} list={list} thread={thread} field={field} />
        </>
      )}
      <Notice error={thread.error} onDismiss={thread.dismissError} />
    </section>
  );
}

function typing(setup: Setup, { typing: users }: ChatThread): string {
  const { labels } = setup;
  const [first, second] = users;
  if (first === undefined) return "";
  if (second !== undefined) return counted(labels, labels.typingMany, users.length);
  return filled(labels.typing, { name: userName(setup, first) });
}

/** What there is to know of the other side. */
function About({ chat, presence }: { chat: Chat; presence: PresenceMap }): ReactNode {
  const { labels, me } = useSetup();
  const now = useToday();
  if (chat.kind === "group") return <p>{counted(labels, labels.members, chat.memberCount)}</p>;
  const known = presence.get(partnerOf(chat, me) ?? "");
  if (!known || known.online === null) return chat.status === "ACCEPTED" && <p />;
  if (known.online) return <p>{labels.online}</p>;
  const { lastSeenAt } = known;
  const time = lastSeenAt === null ? "" : whenSeen(labels.locale, lastSeenAt, now);
  return <p>{time === "" ? labels.offline : filled(labels.lastSeen, { time })}</p>;
}

interface AnswerProps {
  readonly chat: Chat;
  readonly name: string;
  readonly list: Pick<ChatList, "accept" | "decline">;
  readonly thread: ChatThread;
  readonly field: RefObject<HTMLTextAreaElement | null>;
}

/** Where the user writes, or answers a request. */
function Answer({ chat, name, list, thread, field }: AnswerProps): ReactElement {
  const { labels, me } = useSetup();
  const { id, status, createdBy, lastSeq } = chat;
  const isCreator = createdBy === me;
  const canAnswer = status !== "ACCEPTED" && !isCreator;
  const isFull = status === "PENDING" && lastSeq >= MAX_PENDING;
  const note =
    status === "DECLINED"
      ? labels.declined
      : status === "ACCEPTED"
        ? null
        : filled(isCreator ? (isFull ? labels.pendingFull : labels.pending) : labels.requestFrom, { name });
  const canWrite = status === "ACCEPTED" || (status === "PENDING" && isCreator && !isFull);
  return (
    <>
      {note !== null && (
        <div className="carillon-answer">
          <p>{note}</p>
          {canAnswer && (
            <button type="button" className="carillon-button" data-primary onClick={() => void list.accept(id)}>
              {labels.accept}
            </button>
          )}
          {canAnswer && status === "PENDING" && (
            <button type="button" className="carillon-button" data-outlined onClick={() => void list.decline(id)}>
              {labels.decline}
            </button>
          )}
        </div>
      )}
      {canWrite && <Composer name={name} thread={thread} field={field} />}
    </>
  );
}
