// The members of a group. The chat itself names those of a small group; those of a larger one are loaded in pages.

import { useEffect, useRef, useState } from "react";
import type { Chat, Participant } from "../chat/types.js";
import type { ChatList } from "../chat-react.js";

interface Loaded {
  readonly items: readonly Participant[];
  /** Where the list goes on; `null` at its end. */
  readonly cursor: string | null;
}

/** What `useMembers` returns. */
export interface Members {
  readonly members: readonly Participant[];
  readonly hasMore: boolean;
  readonly isLoading: boolean;
  readonly loadMore: () => void;
}

export function useMembers(chat: Chat, load: ChatList["members"]): Members {
  const { id, version, participants, memberCount } = chat;
  const isWhole = participants.length >= memberCount;
  const [{ items, cursor }, setLoaded] = useState<Loaded>({ items: [], cursor: "" });
  const [isLoading, setLoading] = useState(false);
  const last = useRef(0);

  /** Loads pages until there are `count` members, at least one page. The result of an outdated call is dropped. */
  const run = async (from: Loaded, count: number): Promise<void> => {
    last.current += 1;
    const own = last.current;
    setLoading(true);
    try {
      let { items, cursor } = from;
      do {
        const page = await load(id, cursor || undefined);
        const known = new Set(items.map(({ userId }) => userId));
        // Erased users have no id, and each is a member of its own.
        items = [...items, ...page.items.filter(({ userId }) => userId === null || !known.has(userId))];
        cursor = page.nextCursor;
      } while (cursor !== null && items.length < count);
      if (own === last.current) setLoaded({ items, cursor });
    } catch {
      // The error shows with the other errors of the chats, and the button stays for another attempt.
    }
    if (own === last.current) setLoading(false);
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: once for each version
  useEffect(() => {
    if (!isWhole) void run({ items: [], cursor: "" }, items.length);
  }, [isWhole, version]);

  return {
    members: isWhole || items.length === 0 ? participants : items,
    hasMore: !isWhole && cursor !== null,
    isLoading,
    loadMore: () => void run({ items, cursor }, 0),
  };
}
