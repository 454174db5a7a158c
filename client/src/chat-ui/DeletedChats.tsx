// The chats that the user has deleted, to restore them.

import { type ReactElement, useEffect, useRef, useState } from "react";
import type { Chat, PresenceMap } from "../chat/types.js";
import type { ChatList } from "../chat-react.js";
import { useToday } from "../ui/useToday.js";
import { Avatar } from "./Avatar.js";
import { whenShort } from "./format.js";
import { BackIcon } from "./icons.js";
import { chatName, useSetup } from "./setup.js";

const unknown: PresenceMap = new Map();

interface DeletedChatsProps {
  readonly titleId: string;
  readonly list: Pick<ChatList, "hidden" | "restore">;
  readonly onClose: () => void;
  readonly onOpen: (chatId: string) => void;
}

export function DeletedChats(props: DeletedChatsProps): ReactElement {
  const { titleId, list, onClose, onOpen } = props;
  const { hidden, restore } = list;
  const setup = useSetup();
  const { labels } = setup;
  const [chats, setChats] = useState<readonly Chat[]>([]);
  /** Where the list goes on; `null` at its end. */
  const [cursor, setCursor] = useState<string | null>("");
  const [busy, setBusy] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const now = useToday();

  const load = async (from: string): Promise<void> => {
    setBusy(true);
    try {
      const page = await hidden(from || undefined);
      setChats((last) => [...last.filter(({ id }) => !page.items.some((chat) => chat.id === id)), ...page.items]);
      setCursor(page.nextCursor);
    } catch {
      // The error shows with those of the chats, and the button stays for another attempt.
    }
    setBusy(false);
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: once, when it is opened
  useEffect(() => {
    heading.current?.focus();
    void load("");
  }, []);

  return (
    <>
      <div className="carillon-head">
        <button
          type="button"
          className="carillon-button"
          aria-label={labels.back}
          title={labels.back}
          onClick={onClose}
        >
          <BackIcon />
        </button>
        <h2 id={titleId} ref={heading} tabIndex={-1}>
          {labels.deletedChats}
        </h2>
      </div>
      <div className="carillon-chat-scroller">
        {chats.length === 0 && cursor === null && (
          <div className="carillon-empty">
            <p>{labels.noDeleted}</p>
          </div>
        )}
        {chats.length > 0 && (
          <ul>
            {chats.map((chat) => (
              <li key={chat.id} className="carillon-chat-row">
                <Avatar chat={chat} presence={unknown} />
                <span className="carillon-chat-about">
                  <span className="carillon-chat-name">
                    <bdi>{chatName(setup, chat)}</bdi>
                  </span>
                  <time dateTime={chat.createdAt}>{whenShort(labels.locale, chat.createdAt, now)}</time>
                </span>
                <button
                  type="button"
                  className="carillon-button"
                  data-outlined
                  aria-label={`${labels.restore}: ${chatName(setup, chat)}`}
                  onClick={() =>
                    restore(chat.id).then(
                      () => onOpen(chat.id),
                      () => {},
                    )
                  }
                >
                  {labels.restore}
                </button>
              </li>
            ))}
          </ul>
        )}
        {cursor !== null && (
          <button
            type="button"
            className="carillon-button carillon-more"
            aria-disabled={busy}
            onClick={busy ? undefined : () => void load(cursor)}
          >
            {busy ? labels.loading : labels.older}
          </button>
        )}
      </div>
    </>
  );
}
