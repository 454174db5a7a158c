// The messages of an open chat, by day, with older pages above and a button for what arrived meanwhile.

import {
  Fragment,
  memo,
  type ReactElement,
  type ReactNode,
  useEffect,
  useId,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import type { Chat } from "../chat/types.js";
import type { ChatThread } from "../chat-react.js";
import { formatsOf } from "../ui/format.js";
import { counted } from "../ui/labels.js";
import { useToday } from "../ui/useToday.js";
import { daysOf } from "./days.js";
import { DownIcon } from "./icons.js";
import { MessageRow } from "./MessageRow.js";
import { othersOf, useSetup } from "./setup.js";
import { useInSight } from "./useInSight.js";
import { useScroll } from "./useScroll.js";

/** The distance from the beginning at which the next page is loaded. */
const AHEAD_PX = 400;

type Shown = "messages" | "hasMore" | "loading" | "loadingMore" | "unread";
type Acts = "loadMore" | "markAsRead" | "retry" | "discard";

interface MessagesProps extends Pick<ChatThread, Shown | Acts> {
  readonly chat: Chat;
}

// Not with every letter of the draft.
export const Messages: (props: MessagesProps) => ReactNode = memo(function Messages(
  props: MessagesProps,
): ReactElement {
  const setup = useSetup();
  const { labels, me } = setup;
  const { chat, messages, hasMore, loading, loadingMore, loadMore, markAsRead, unread, retry, discard } = props;
  const ids = useId();
  const scroller = useRef<HTMLElement>(null);
  const now = useToday();
  const days = useMemo(() => daysOf(messages), [messages]);
  const lastSeq = messages.reduce((last, { seq }) => seq ?? last, 0);
  /** Where the unread messages began when the chat was opened. */
  const [newAfter] = useState(() => (chat.unread > 0 ? Math.max(chat.readSeq, chat.lastSeq - chat.unread) : null));
  const firstNew = newAfter === null ? undefined : messages.find(({ seq }) => seq !== null && seq > newAfter)?.key;
  const { isAtEnd, onScroll, toEnd } = useScroll(scroller, messages.length > 0, (element) =>
    element.querySelector("[data-new]"),
  );

  // What the user writes is to be seen at once.
  const last = messages.at(-1);
  const lastOwn = last?.state === "sending" ? last.key : undefined;
  useLayoutEffect(() => {
    if (lastOwn !== undefined) toEnd();
  }, [lastOwn, toEnd]);

  const isInSight = useInSight(scroller);
  const [seenSeq, setSeenSeq] = useState(newAfter ?? lastSeq);
  useEffect(() => {
    if (!isAtEnd) return;
    setSeenSeq((last) => Math.max(last, lastSeq));
    if (isInSight && unread > 0 && lastSeq > 0) void markAsRead(lastSeq);
  }, [isAtEnd, isInSight, lastSeq, unread, markAsRead]);
  const waiting = messages.filter(({ seq, senderId }) => seq !== null && seq > seenSeq && senderId !== me).length;

  const failed = useRef(false);
  const more = (): void => {
    failed.current = false;
    loadMore().catch(() => {
      // The button stays for another attempt. Scrolling on does not repeat what has just failed.
      failed.current = true;
    });
  };
  const moreIfNear = (): void => {
    const isNear = (scroller.current?.scrollTop ?? AHEAD_PX) < AHEAD_PX;
    if (isNear && hasMore && !loadingMore && !failed.current && messages.length > 0) more();
  };

  const isGroup = chat.kind === "group";
  const others = othersOf(chat, me);
  const readSeqs = chat.participants.filter(({ userId }) => userId !== me).map(({ readSeq }) => readSeq);
  let previous: string | null | undefined;

  return (
    <div className="carillon-messages">
      <section
        ref={scroller}
        className="carillon-chat-scroller"
        aria-label={labels.messages}
        aria-busy={loading || loadingMore}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls can be scrolled by keyboard
        tabIndex={0}
        onScroll={() => {
          onScroll();
          moreIfNear();
        }}
      >
        {hasMore && messages.length > 0 && (
          <button
            type="button"
            className="carillon-button carillon-more"
            aria-disabled={loadingMore}
            onClick={loadingMore ? undefined : more}
          >
            {loadingMore ? labels.loading : labels.older}
          </button>
        )}
        {loading && <p className="carillon-spoken">{labels.loading}</p>}
        {days.map((day, index) => (
          <section key={day.key} className="carillon-chat-day" aria-labelledby={`${ids}${index}`}>
            <h3 id={`${ids}${index}`}>{formatsOf(labels.locale).day(day.date, now)}</h3>
            <ol aria-labelledby={`${ids}${index}`}>
              {day.messages.map((message) => {
                const { key, seq, senderId } = message;
                const isFirst = previous !== senderId || key === firstNew;
                previous = senderId;
                const readers = seq === null ? 0 : readSeqs.filter((readSeq) => readSeq >= seq).length;
                return (
                  <Fragment key={key}>
                    {key === firstNew && (
                      <li className="carillon-new" data-new>
                        {labels.newMessages}
                      </li>
                    )}
                    <MessageRow
                      setup={setup}
                      message={message}
                      isFirst={isFirst}
                      isGroup={isGroup}
                      readers={readers}
                      isRead={readers > 0 && readers === others.length}
                      retry={retry}
                      discard={discard}
                    />
                  </Fragment>
                );
              })}
            </ol>
          </section>
        ))}
      </section>
      {waiting > 0 && !isAtEnd && (
        <button
          type="button"
          className="carillon-button carillon-waiting"
          onClick={() => {
            toEnd();
            // The button disappears, and with it the focus.
            scroller.current?.focus({ preventScroll: true });
          }}
        >
          <DownIcon /> {counted(labels, labels.waiting, waiting)}
        </button>
      )}
    </div>
  );
});
