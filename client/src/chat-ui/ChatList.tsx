// The list of chats: newest activity first, with what is unread, requests to answer, and the way to deleted chats.

import { type KeyboardEvent, type ReactElement, type ReactNode, useRef, useState } from "react";
import type { Chat, PresenceMap } from "../chat/types.js";
import type { ChatList as Listed } from "../chat-react.js";
import { named } from "../ui/format.js";
import { counted } from "../ui/labels.js";
import { useToday } from "../ui/useToday.js";
import { Avatar } from "./Avatar.js";
import { whenShort } from "./format.js";
import { chatName, type Setup, userName, useSetup } from "./setup.js";
import { useHeldOrder } from "./useHeldOrder.js";

const SKELETONS = [1, 2, 3, 4, 5];
/** The distance from the end at which the next page is loaded. */
const AHEAD_PX = 300;

interface ChatListProps {
  readonly list: Listed;
  readonly presence: PresenceMap;
  readonly openId: string | null;
  readonly onDeleted: () => void;
  readonly waits: boolean;
  readonly offline: boolean;
}

export function ChatList({ list, presence, openId, onDeleted, waits, offline }: ChatListProps): ReactElement {
  const { labels, slots } = useSetup();
  const [pointer, setPointer] = useState(false);
  const chats = useHeldOrder(list.chats, pointer);
  const now = useToday();
  const failed = useRef(false);
  const more = (): void => {
    failed.current = false;
    list.loadMore().catch(() => {
      // The button stays for another attempt. Scrolling on does not repeat what has just failed.
      failed.current = true;
    });
  };
  const isUnknown = list.loading && offline;
  return (
    <>
      <div
        className="carillon-chat-scroller"
        onPointerEnter={() => setPointer(true)}
        onPointerLeave={() => setPointer(false)}
        onScroll={({ currentTarget: { scrollHeight, clientHeight, scrollTop } }) => {
          const isNear = scrollHeight - clientHeight - scrollTop < AHEAD_PX;
          if (isNear && list.hasMore && !list.loadingMore && !failed.current) more();
        }}
      >
        {chats.length === 0 && (waits ? <Loading /> : (slots?.empty ?? <Empty offline={isUnknown} />))}
        {chats.length > 0 && (
          <ul onKeyDown={moveFocus}>
            {chats.map((chat) => (
              <Row key={chat.id} chat={chat} presence={presence} isOpen={chat.id === openId} now={now} list={list} />
            ))}
          </ul>
        )}
        {list.hasMore && chats.length > 0 && (
          <button
            type="button"
            className="carillon-button carillon-more"
            aria-disabled={list.loadingMore}
            onClick={list.loadingMore ? undefined : more}
          >
            {list.loadingMore ? labels.loading : labels.older}
          </button>
        )}
        {!list.loading && !list.hasMore && (
          <button
            type="button"
            className="carillon-button carillon-chat-deleted"
            data-opens="DeletedChats"
            onClick={onDeleted}
          >
            {labels.deletedChats}
          </button>
        )}
      </div>
      <div className="carillon-chat-note" {...(openId === null && { role: "status" })}>
        {offline && !isUnknown && <p className="carillon-notice">{labels.saved}</p>}
      </div>
    </>
  );
}

/** Moves the focus from row to row. */
function moveFocus(event: KeyboardEvent<HTMLElement>): void {
  const rows = [...event.currentTarget.querySelectorAll<HTMLElement>("[data-chat] > button")];
  const row = (event.target as HTMLElement).closest("[data-chat]")?.querySelector<HTMLElement>("button");
  const index = row ? rows.indexOf(row) : -1;
  const next = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (next === undefined || index < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  rows[next]?.focus();
}

interface RowProps {
  readonly chat: Chat;
  readonly presence: PresenceMap;
  readonly isOpen: boolean;
  readonly now: Date;
  readonly list: Pick<Listed, "accept" | "decline">;
}

function Row({ chat, presence, isOpen, now, list }: RowProps): ReactElement {
  const setup = useSetup();
  const { labels, me, open } = setup;
  const { id, unread, status, createdBy, lastMessage, createdAt } = chat;
  const name = chatName(setup, chat);
  const isRequest = status === "PENDING" && createdBy !== me;
  const at = lastMessage?.createdAt ?? createdAt;
  return (
    <li data-chat={id} data-unread={unread > 0 || undefined}>
      <button type="button" className="carillon-chat-row" aria-current={isOpen || undefined} onClick={() => open(id)}>
        <Avatar chat={chat} presence={presence} />
        <span className="carillon-chat-about">
          <span className="carillon-chat-line">
            <span className="carillon-chat-name">
              <bdi>{name}</bdi>
            </span>{" "}
            <time dateTime={at}>{whenShort(labels.locale, at, now)}</time>
          </span>
          <span className="carillon-chat-line">
            <span className="carillon-chat-last">
              <Last setup={setup} chat={chat} />
            </span>{" "}
            {isRequest && <span className="carillon-chat-request">{labels.request}</span>}
            {unread > 0 && (
              <span className="carillon-chat-count">
                <span aria-hidden="true">{unread > 99 ? "99+" : unread}</span>
                <span className="carillon-spoken">{counted(labels, labels.unread, unread)}</span>
              </span>
            )}
          </span>
        </span>
      </button>
      {isRequest && (
        <div className="carillon-chat-answer">
          <button
            type="button"
            className="carillon-button"
            data-primary
            aria-label={`${labels.accept}: ${name}`}
            onClick={() => void list.accept(id)}
          >
            {labels.accept}
          </button>
          <button
            type="button"
            className="carillon-button"
            aria-label={`${labels.decline}: ${name}`}
            onClick={() => void list.decline(id)}
          >
            {labels.decline}
          </button>
        </div>
      )}
    </li>
  );
}

/** The beginning of the last message, with its sender where that is not clear. */
function Last({ setup, chat }: { setup: Setup; chat: Chat }): ReactNode {
  const { labels, me } = setup;
  const { lastMessage, kind } = chat;
  if (!lastMessage) return labels.noMessages;
  const { senderId, body, erased } = lastMessage;
  const sender = senderId === me ? labels.you : kind === "group" ? userName(setup, senderId) : null;
  return (
    <>
      {sender !== null && <bdi>{sender}: </bdi>}
      <bdi>{erased ? labels.erasedMessage : named(body)}</bdi>
    </>
  );
}

function Loading(): ReactElement {
  const { labels } = useSetup();
  return (
    <div className="carillon-loading">
      <span className="carillon-spoken">{labels.loading}</span>
      {SKELETONS.map((n) => (
        <div key={n} className="carillon-skeleton" aria-hidden="true" />
      ))}
    </div>
  );
}

function Empty({ offline }: { offline: boolean }): ReactElement {
  const { labels } = useSetup();
  return (
    <div className="carillon-empty">
      <p>{offline ? labels.offlineEmpty : labels.empty}</p>
      <p>{labels.emptyHint}</p>
    </div>
  );
}
