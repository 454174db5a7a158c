// The list of chats: applies frames and syncs, and asks for the chats of which it does not know enough.

import { asError, invalidAnswer, toProblem } from "../errors.js";
import { isObject } from "../protocol.js";
import { isChat, isListOf, type SharedChat, type Summary } from "./checks.js";
import type { Host } from "./host.js";
import { COPY } from "./kept.js";
import { compareActivity, merge, withMessage, withRead, withReceipt, withShared } from "./merge.js";
import type { Chat, ChatsState, Message } from "./types.js";

const PAGE = 50;
/** For more chats than this the list is asked for instead. */
const MAX_SINGLE = 5;
const LIST = `${COPY}list`;

export interface ListHost extends Host {
  update(part: Partial<ChatsState>): void;
  changed(chatId: string, chat: Chat | null): void;
  /** What was said in the chat shows no more. */
  cleared(chatId: string, isGone: boolean): void;
  heard(chatId: string, seq: number): void;
}

export interface List {
  begin(): void;
  find(chatId: string): Chat | undefined;
  /** Asks for the list. */
  refresh(): void;
  /** Asks for one chat. */
  want(chatId: string): void;
  load(chatId: string): Promise<void>;
  loadMore(): Promise<void>;
  sync(summaries: readonly Summary[], isComplete: boolean): void;
  shared(chat: SharedChat): void;
  message(message: Message, isOwn: boolean): void;
  receipt(chatId: string, userId: string, seq: number): void;
  put(chat: Chat): Chat;
  hide(chatId: string): void;
  remove(chatId: string): void;
  save(): void;
}

export function createList(host: ListHost): List {
  const { kept, userId } = host;
  const chats = new Map<string, Chat>();
  /** The unread messages of chats that are not listed yet. */
  let others = new Map<string, number>();
  /** When a chat came, went or was hidden. An answer to an earlier call does not know of it. */
  const moved = new Map<string, number>();
  let clock = 0;
  let nextCursor: string | null = null;
  let isLoaded = false;
  let isListWanted = false;
  const wanted = new Set<string>();
  let isAsking = false;

  function show(): void {
    const shown = [...chats.values()].filter(({ hidden }) => !hidden).sort(compareActivity);
    const counts = [...shown.map(({ unread }) => unread), ...others.values()];
    host.update({
      chats: shown,
      unreadCount: counts.reduce((sum, unread) => sum + unread, 0),
      hasMore: nextCursor !== null,
      loading: !isLoaded && shown.length === 0,
    });
  }

  function set(chat: Chat): Chat {
    const known = chats.get(chat.id);
    chats.set(chat.id, chat);
    // Some of its messages may be erased. A thread that shows them writes a copy again.
    if (known && chat.version > known.version) kept.set(`${COPY}${chat.id}`, undefined);
    others.delete(chat.id);
    host.changed(chat.id, chat);
    show();
    return chat;
  }

  function move(chatId: string): void {
    moved.set(chatId, ++clock);
  }

  /** Takes what the server said in answer to a call that was made at `at`. */
  function take(chat: Chat, at: number): void {
    const known = chats.get(chat.id);
    const isOutdated = (moved.get(chat.id) ?? 0) > at;
    if (!known && isOutdated) return;
    const { hidden } = set({ ...merge(known, chat), hidden: known && isOutdated ? known.hidden : chat.hidden });
    if (hidden && known && !known.hidden) host.cleared(chat.id, false);
    host.heard(chat.id, chat.lastSeq);
  }

  function remove(chatId: string): void {
    move(chatId);
    chats.delete(chatId);
    others.delete(chatId);
    host.changed(chatId, null);
    host.cleared(chatId, true);
    show();
  }

  async function loadPage(cursor: string | null): Promise<readonly Chat[]> {
    const at = clock;
    const query = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const page = await host.call("GET", `/api/chats?limit=${PAGE}${query}`);
    if (!isListOf(isChat, page)) throw invalidAnswer();
    const { items } = page;
    nextCursor = ((page as { nextCursor?: unknown }).nextCursor as string | null) ?? null;
    const listed = new Set(items.map(({ id }) => id));
    const last = items.at(-1);
    if (cursor === null) {
      for (const chat of chats.values()) {
        if (listed.has(chat.id) || chat.hidden || (moved.get(chat.id) ?? 0) > at) continue;
        // It would be on this page if it were still to be seen.
        if (nextCursor === null || (last && compareActivity(chat, last) < 0)) wanted.add(chat.id);
      }
    }
    isLoaded = true;
    for (const chat of items) {
      wanted.delete(chat.id);
      take(chat, at);
    }
    show();
    return items;
  }

  async function load(chatId: string): Promise<void> {
    wanted.delete(chatId);
    const at = clock;
    try {
      const chat = await host.call("GET", `/api/chats/${encodeURIComponent(chatId)}`);
      if (!isChat(chat)) throw invalidAnswer();
      take(chat, at);
    } catch (thrown) {
      if (asError(thrown).status !== 404) throw thrown;
      if ((moved.get(chatId) ?? 0) <= at) remove(chatId);
    }
  }

  async function ask(): Promise<void> {
    isAsking = true;
    try {
      while (host.isOpen() && (isListWanted || wanted.size > 0)) {
        if (isListWanted || wanted.size > MAX_SINGLE) {
          isListWanted = false;
          await loadPage(null);
        }
        for (const chatId of [...wanted]) await load(chatId);
      }
    } catch (thrown) {
      const error = asError(thrown);
      if (error.code !== "closed") host.update({ error: toProblem("connection", error), loading: false });
    }
    isAsking = false;
  }

  function keepAsking(): void {
    if (!isAsking) void ask();
  }

  function want(chatId: string): void {
    wanted.add(chatId);
    keepAsking();
  }

  async function countOthers(): Promise<void> {
    const answer = await host.call("GET", "/api/chats/unread").catch(() => null);
    const counts = isObject(answer) && isObject(answer["chats"]) ? answer["chats"] : {};
    for (const [chatId, unread] of Object.entries(counts)) {
      if (!chats.has(chatId)) others.set(chatId, Number(unread) || 0);
    }
    show();
  }

  return {
    begin() {
      const copy = kept.get(LIST);
      if (isListOf(isChat, copy)) for (const chat of copy.items) set(chat);
    },
    find: (chatId) => chats.get(chatId),
    refresh() {
      isListWanted = true;
      keepAsking();
      void countOthers();
    },
    want,
    load,
    async loadMore() {
      host.update({ loadingMore: true });
      try {
        const before = chats.size;
        // Chats that came to the top since are known already.
        while (nextCursor !== null && chats.size === before) await loadPage(nextCursor);
      } finally {
        host.update({ loadingMore: false });
      }
    },
    sync(summaries, isComplete) {
      const ranks = new Map(summaries.map(({ chatId }, rank) => [chatId, rank]));
      const ranksShown = [...chats.values()].map(({ id, hidden }) => (hidden ? -1 : (ranks.get(id) ?? -1)));
      const lowest = nextCursor === null ? summaries.length : Math.max(-1, ...ranksShown);
      for (const [rank, { chatId, lastSeq, readSeq, unread, status, version }] of summaries.entries()) {
        const known = chats.get(chatId);
        if (!known || known.hidden) {
          if (!known) others.set(chatId, unread);
          if (rank < lowest) wanted.add(chatId);
        } else if (lastSeq > known.lastSeq || version > known.version || status !== known.status) wanted.add(chatId);
        else if (readSeq > known.readSeq || unread < known.unread) set(withRead(known, readSeq, lastSeq - unread));
        host.heard(chatId, lastSeq);
      }
      if (isComplete) {
        for (const { id, hidden } of chats.values()) if (!hidden && !ranks.has(id)) wanted.add(id);
        others = new Map([...others].filter(([chatId]) => ranks.has(chatId)));
      }
      show();
      keepAsking();
    },
    shared(chat) {
      const known = chats.get(chat.id);
      if (!known || chat.lastSeq > known.lastSeq) return want(chat.id);
      set(withShared(known, chat));
      // The frame leaves the last message out. It can be erased only if its sender is a member no more.
      const senderId = known.lastMessage?.senderId;
      const isMember = chat.participants.some((member) => member.userId === senderId);
      if (senderId && !isMember && chat.version > known.version) want(chat.id);
    },
    message(message, isOwn) {
      const known = chats.get(message.chatId);
      if (!known) return want(message.chatId);
      const chat = withMessage(known, message, isOwn);
      if (known.hidden && !chat.hidden) move(chat.id);
      set(chat);
    },
    receipt(chatId, reader, seq) {
      const known = chats.get(chatId);
      if (!known) return;
      const chat = { ...known, participants: withReceipt(known.participants, reader, seq) };
      set(reader === userId ? withRead(chat, seq, seq) : chat);
    },
    put(chat) {
      move(chat.id);
      return set({ ...merge(chats.get(chat.id), chat), hidden: chat.hidden });
    },
    hide(chatId) {
      const known = chats.get(chatId);
      move(chatId);
      if (known) set({ ...known, hidden: true, unread: 0, readSeq: known.lastSeq, lastMessage: null });
      host.cleared(chatId, false);
    },
    remove,
    save: () => kept.set(LIST, { items: [...chats.values()].sort(compareActivity).slice(0, PAGE) }),
  };
}
