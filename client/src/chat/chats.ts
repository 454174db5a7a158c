// The chats of a client's user: one list, and a thread of messages for each chat that a page shows.

import { backoffMs } from "../backoff.js";
import { asError, closed, invalidAnswer, isTemporary, toProblem } from "../errors.js";
import { createPause } from "../pause.js";
import { CHAT_REF, isObject } from "../protocol.js";
import { createStore, type OwnedStore } from "../store.js";
import type { Client, State } from "../types.js";
import { isChat, isListOf, isMessage, isSharedChat, isSummary } from "./checks.js";
import type { Host } from "./host.js";
import { createKept } from "./kept.js";
import { createLine, type Reply } from "./line.js";
import { createList, type List } from "./list.js";
import { OUTBOX } from "./outbox.js";
import { createThread, initialChat, READ, type Thread } from "./thread.js";
import type { Chat, ChatState, Chats, ChatsState, Member, OpenChat, Page } from "./types.js";

const SAVE_MS = 1_000;

const initial: ChatsState = {
  chats: [],
  unreadCount: 0,
  hasMore: false,
  loading: true,
  loadingMore: false,
  error: null,
};

/** What is shown of one chat. It outlives the session of its user. */
interface Place {
  readonly owned: OwnedStore<ChatState>;
  readonly open: OpenChat;
  /** How many listeners its store has. */
  listeners: number;
  thread: Thread | null;
}

/** What belongs to one user. */
interface Session {
  readonly host: Host;
  readonly list: List;
  stop(): void;
}

const known = new WeakMap<Client, Chats>();

/** The chats of a client, the same ones for each call. They follow its connection. */
export function chatsOf(client: Client): Chats {
  const chats = known.get(client) ?? createChats(client);
  known.set(client, chats);
  return chats;
}

function createChats(client: Client): Chats {
  const { wire } = client;
  const { environment } = wire;
  const { store, update } = createStore<ChatsState>(initial);
  const places = new Map<string, Place>();
  const line = createLine(wire);
  const pause = createPause();
  let session: Session | null = null;
  let saveTimer: ReturnType<typeof setTimeout> | undefined;

  const isOpen = (): boolean => client.store.getState().wsStatus !== "closed";

  function createSession(userId: string): Session {
    const kept = createKept(wire);
    let isStopped = false;

    async function request(method: string, path: string, body?: unknown): Promise<unknown> {
      if (isStopped || !isOpen()) throw closed();
      const answer = await client.request(method, path, body === undefined ? {} : { body });
      // An answer for a user who has left is not shown to the next one.
      if (isStopped) throw closed();
      return answer;
    }

    async function repeat<T>(run: () => Promise<T>): Promise<T> {
      for (let failures = 1; ; failures++) {
        try {
          return await run();
        } catch (thrown) {
          const error = asError(thrown);
          if (isStopped || !isOpen()) throw closed();
          if (!isTemporary(error)) throw error;
          await pause.for(backoffMs(failures, environment.random, error.retryAfterMs));
        }
      }
    }

    const host: Host = {
      userId,
      kept,
      line,
      isOpen,
      request,
      repeat,
      call: (...call) => repeat(() => request(...call)),
      random: environment.random,
      tell: (frame) => wire.send(frame),
      stored(message) {
        list.message(message, true);
        places.get(message.chatId)?.thread?.accept(message);
      },
    };

    const list: List = createList({
      ...host,
      update(part) {
        if (isStopped) return;
        update(part);
        saveSoon();
      },
      changed(chatId, chat) {
        const place = isStopped ? undefined : places.get(chatId);
        place?.owned.update({ chat });
        if (chat) place?.thread?.changed(chat);
      },
      cleared: (chatId, isGone) => places.get(chatId)?.thread?.clear(isGone),
      heard: (chatId, seq) => places.get(chatId)?.thread?.heard(seq),
    });

    return {
      host,
      list,
      stop() {
        isStopped = true;
      },
    };
  }

  function begin(userId: string): void {
    session = createSession(userId);
    const { list, host } = session;
    list.begin();
    // Before the places, which ask for single chats that the list does not have.
    list.refresh();
    for (const place of [OUTBOX, READ]) {
      for (const name of host.kept.names(place)) placeOf(name.split(" ")[0] ?? "");
    }
    for (const [chatId, place] of places) {
      if (!place.thread) start(chatId, place);
      place.thread?.resume();
    }
  }

  function end(): void {
    session?.stop();
    session = null;
    clearTimeout(saveTimer);
    saveTimer = undefined;
    line.drop();
    pause.wake();
    for (const place of places.values()) {
      place.thread?.stop();
      place.thread = null;
      place.owned.update(initialChat);
    }
    update(initial);
  }

  function resume(): void {
    session?.list.refresh();
    for (const { thread } of places.values()) thread?.resume();
  }

  function placeOf(chatId: string): Place {
    let place = places.get(chatId);
    if (!place) {
      place = createPlace(chatId);
      places.set(chatId, place);
      start(chatId, place);
    }
    return place;
  }

  function createPlace(chatId: string): Place {
    const owned = createStore(initialChat);
    const place: Place = {
      owned,
      listeners: 0,
      thread: null,
      open: {
        store: {
          ...owned.store,
          subscribe(listener) {
            let unsubscribe: (() => void) | null = owned.store.subscribe(listener);
            if (place.listeners++ === 0) hold(chatId, place);
            return () => {
              if (unsubscribe && --place.listeners === 0) place.thread?.hold(false);
              unsubscribe?.();
              unsubscribe = null;
            };
          },
        },
        send: (...said) => place.thread?.send(...said) ?? "",
        retry: (clientId) => place.thread?.retry(clientId),
        discard: (clientId) => place.thread?.discard(clientId),
        setDraft: (text) => place.thread?.setDraft(text),
        loadMore: () => place.thread?.loadMore() ?? Promise.resolve(),
        markAsRead: (seq) => place.thread?.markAsRead(seq) ?? Promise.resolve(),
        dismissError: () => owned.update({ error: null }),
      },
    };
    return place;
  }

  function hold(chatId: string, { thread }: Place): void {
    if (!thread) return;
    thread.hold(true);
    if (!session?.list.find(chatId)) session?.list.want(chatId);
  }

  function start(chatId: string, place: Place): void {
    if (!session) return;
    const { host, list } = session;
    place.owned.update({ chat: list.find(chatId) ?? null });
    place.thread = createThread({
      ...host,
      chatId,
      chat: () => list.find(chatId),
      update(part) {
        place.owned.update(part);
        saveSoon();
      },
      markRead: (seq) => list.receipt(chatId, host.userId, seq),
      gone: () => list.remove(chatId),
    });
    if (place.listeners > 0) hold(chatId, place);
  }

  function saveSoon(): void {
    saveTimer ??= setTimeout(save, SAVE_MS);
  }

  function save(): void {
    clearTimeout(saveTimer);
    saveTimer = undefined;
    session?.list.save();
    for (const { thread } of places.values()) thread?.save();
  }

  function receive(frame: Reply): void {
    if (!session) return;
    if (String(frame["ref"]).startsWith(CHAT_REF)) return line.reply(frame);
    const { list, host } = session;
    const { type, chatId, userId, seq, message, chat, chats, on } = frame;
    if (type === "sync" && Array.isArray(chats)) {
      return list.sync(chats.filter(isSummary), frame["chatsComplete"] === true);
    }
    if (type === "chat" && isSharedChat(chat)) return list.shared(chat);
    if (typeof chatId !== "string") return;
    const thread = places.get(chatId)?.thread;
    if (type === "message" && isMessage(message) && message.chatId === chatId) {
      list.message(message, message.senderId === host.userId);
      thread?.accept(message);
    } else if (type === "chat" && frame["removed"] === true) list.remove(chatId);
    else if (type === "receipt" && Number.isSafeInteger(seq)) list.receipt(chatId, String(userId), Number(seq));
    else if (type === "typing") thread?.typing(String(userId), on === true);
    // Too large for a frame, or malformed: the server tells what there is.
    else list.want(chatId);
  }

  function follow(state: State, previous: State): void {
    if (state.userId !== previous.userId) {
      end();
      if (state.userId !== null) begin(state.userId);
    } else if (previous.wsStatus === "closed" && state.wsStatus !== "closed") resume();
    // Replies come over the socket that a frame went to.
    if (state.transport !== previous.transport || state.wsStatus !== previous.wsStatus) line.drop();
    if (state.wsStatus === "connected" || state.wsStatus === "closed") pause.wake();
    if (state.wsStatus === "closed" && saveTimer !== undefined) save();
  }

  async function act<T>(run: (present: Session) => Promise<T>): Promise<T> {
    update({ error: null });
    const present = session;
    try {
      if (!present) throw closed();
      return await run(present);
    } catch (thrown) {
      const error = asError(thrown);
      if (present === session && error.code !== "closed") update({ error: toProblem("change", error) });
      throw error;
    }
  }

  /** A caller may ignore any refusal, which shows in `error`. */
  function acts<A extends unknown[], T>(run: (present: Session, ...args: A) => Promise<T>): (...args: A) => Promise<T> {
    return (...args) => {
      const done = act((present) => run(present, ...args));
      done.catch(() => {});
      return done;
    };
  }

  async function change({ host, list }: Session, method: string, path: string, body: unknown = {}): Promise<Chat> {
    const chat = await host.call(method, `/api/chats${path}`, body);
    if (!isChat(chat)) throw invalidAnswer();
    return list.put(chat);
  }

  async function pageOf<T>({ host }: Session, path: string, cursor = ""): Promise<Page<T>> {
    const page = await host.call("GET", path + (cursor && `&cursor=${encodeURIComponent(cursor)}`));
    if (!isListOf(isObject, page)) throw invalidAnswer();
    return page as unknown as Page<T>;
  }

  wire.subscribe(receive);
  client.store.subscribe(follow);
  environment.document?.addEventListener("visibilitychange", () => {
    // Becoming hidden may be the last event before the page is discarded.
    if (environment.document?.visibilityState === "hidden" && saveTimer !== undefined) save();
  });
  const { userId } = client.store.getState();
  if (userId !== null) begin(userId);

  return {
    client,
    store,
    open: (chatId) => placeOf(chatId).open,
    loadMore: acts(({ list }) => list.loadMore()),
    create: acts((present, chat) => {
      // A repeat without an answer makes no second group.
      const clientId = crypto.getRandomValues(new Uint32Array(4)).join("-");
      return change(present, "POST", "", { ...chat, clientId });
    }),
    accept: acts((present, id) => change(present, "POST", `/${id}/accept`)),
    decline: acts((present, id) => change(present, "POST", `/${id}/decline`)),
    rename: acts((present, id, title) => change(present, "PATCH", `/${id}`, { title })),
    addMembers: acts((present, id, userIds) => change(present, "POST", `/${id}/members`, { userIds })),
    removeMembers: acts((present, id, userIds) => change(present, "POST", `/${id}/members/remove`, { userIds })),
    leave: acts(async ({ host, list }, id) => {
      await host.call("POST", `/api/chats/${id}/leave`, {});
      list.remove(id);
    }),
    hide: acts(async ({ host, list }, id) => {
      await host.call("DELETE", `/api/chats/${id}`);
      list.hide(id);
    }),
    restore: acts(async (present, id) => {
      await present.host.call("POST", `/api/chats/${id}/restore`, {});
      places.get(id)?.thread?.clear(false);
      await present.list.load(id);
    }),
    hidden: acts((present, cursor) => pageOf<Chat>(present, "/api/chats?hidden=true", cursor)),
    members: acts((present, id, cursor) => pageOf<Member>(present, `/api/chats/${id}/members?limit=200`, cursor)),
    dismissError: () => update({ error: null }),
  };
}
