// One chat's messages: puts them in order, asks for those that no frame brought, and holds what the user writes.

import { asError, invalidAnswer, toProblem } from "../errors.js";
import { isListOf, isStored } from "./checks.js";
import {
  emptyHistory,
  firstSeq,
  type History,
  isOlderThan,
  lastSeq,
  type MessagePage,
  withNewest,
  withNext,
  withOlder,
  withReread,
} from "./history.js";
import type { Host } from "./host.js";
import { COPY } from "./kept.js";
import { createOutbox } from "./outbox.js";
import type { Chat, ChatState, Message, OpenChat, ShownMessage, StoredMessage } from "./types.js";

/** How long a message may wait for the one before it. */
const GAP_MS = 250;
const MAX_GAP_ROUNDS = 7;
const PAGE = 50;
const CATCH_UP = 200;
/** All members hear of a later version at once, and read again within so long for each of them: 200 a second. */
const SPREAD_MS = 5;
/** So many older pages are read again. What is before them has to be loaded again. */
const MAX_REREAD = 5;
const MAX_COPIED = 30;
/** So many messages are remembered by their place. A provisional copy of a message may be late by less. */
const MAX_PLACED = 500;
/** Typing is over if it is not told again. */
const TYPING_MS = 5_000;
const TELL_TYPING_MS = 3_000;
const DRAFT = "draft ";
export const READ = "read ";

export const initialChat: ChatState = {
  chat: null,
  messages: [],
  hasMore: false,
  loading: true,
  loadingMore: false,
  typing: [],
  draft: "",
  error: null,
};

export interface ThreadHost extends Host {
  readonly chatId: string;
  chat(): Chat | undefined;
  update(part: Partial<ChatState>): void;
  /** Shows a read mark in the list. */
  markRead(seq: number): void;
  /** The user is not a member any more. */
  gone(): void;
}

export interface Thread extends Omit<OpenChat, "store" | "dismissError"> {
  /** Whether a page shows it: only then it asks for what is missing. */
  hold(isHeld: boolean): void;
  accept(message: Message): void;
  /** The chat has messages up to here. */
  heard(seq: number): void;
  /** The chat has this version. A later one than that of the history may have erased messages in it. */
  changed(chat: Pick<Chat, "version" | "memberCount">): void;
  typing(userId: string, isOn: boolean): void;
  /** Shows nothing of what was said. `isGone`: and asks for nothing either. */
  clear(isGone: boolean): void;
  /** The client is open again. */
  resume(): void;
  /** Keeps a copy to show offline. */
  save(): void;
  stop(): void;
}

export function createThread(host: ThreadHost): Thread {
  const { chatId, kept, line, userId } = host;
  const path = `/api/chats/${chatId}`;
  const copy = kept.get(`${COPY}${chatId}`);
  let history = emptyHistory;
  /** The latest version of the chat that was told. 0 if none was. */
  let toldVersion = host.chat()?.version ?? 0;
  /** The one that had been told when the history was read. */
  let version = toldVersion;
  const copied = Number((copy as { version?: unknown } | undefined)?.version);
  if (copied >= toldVersion && isListOf(isStored, copy)) {
    version = toldVersion = copied;
    history = { items: copy.items, hasMore: true };
  }
  /** Messages that arrived before one in front of them. */
  let waiting = new Map<number, StoredMessage>();
  /**
   * Messages that are not written yet, as they came. They are not copied to the device: what Redis loses would stay
   * there, since no answer proves the loss. Those of the user are kept by the outbox, which repeats them.
   */
  let provisional: readonly Message[] = [];
  /** The places that frames and pages have told lately, by id. */
  const placed = new Map<string, number>();
  let gapTimer: ReturnType<typeof setTimeout> | undefined;
  let gapRounds = 0;
  /** Until the history is read for a later version. */
  let spreadTimer: ReturnType<typeof setTimeout> | undefined;
  let isHeld = false;
  /** Whether the history ends where the chat did when the server was last asked. */
  let isCurrent = false;
  let isAsking = false;
  let isWanted = false;
  let isStopped = false;
  let olderPage: Promise<void> | null = null;
  let hasChanged = false;
  const typers = new Map<string, ReturnType<typeof setTimeout>>();
  let toldTypingMs = 0;
  /** The read mark that the server has not confirmed yet. */
  let readSeq = Number(kept.get(READ + chatId)) || 0;
  let reading: Promise<void> | null = null;
  const shownMessages = new WeakMap<Message, ShownMessage>();

  function update(part: Partial<ChatState>): void {
    if (!isStopped) host.update(part);
  }

  function shown(message: Message): ShownMessage {
    let known = shownMessages.get(message);
    if (!known) {
      const isOwn = message.senderId === userId && message.clientId !== null;
      known = { ...message, key: isOwn ? `${message.clientId}` : message.id, state: "sent", error: null };
      shownMessages.set(message, known);
    }
    return known;
  }

  const outbox = createOutbox({ ...host, changed: render, fetch: catchUp });
  const draft = kept.get(DRAFT + chatId);

  function render(): void {
    const last = lastSeq(history);
    outbox.dropThrough(last);
    const own = new Map(outbox.all().map((item) => [item.key, item]));
    // They stay until the history has them, or if Redis lost one, until its repeat is refused.
    provisional = provisional.filter(
      (message) => (placed.get(message.id) ?? last + 1) > last && own.get(shown(message).key)?.state !== "failed",
    );
    const accepted = provisional.map(shown).map((message) => {
      const mine = own.get(message.key) ?? message;
      own.delete(message.key);
      return mine;
    });
    update({
      messages: [...history.items.map(shown), ...accepted, ...own.values()],
      hasMore: history.hasMore,
      // A provisional message does not tell whether there are others.
      loading: !isCurrent && history.items.length === 0 && outbox.all().length === 0,
    });
  }

  /** A message has a place. */
  function place(message: StoredMessage): void {
    const { id, seq, senderId, clientId } = message;
    placed.set(id, seq);
    if (placed.size > MAX_PLACED) for (const [first] of placed) if (placed.delete(first)) break;
    const isAwaited = senderId === userId && outbox.all().some((item) => item.clientId === clientId);
    if (isAwaited) outbox.stored(message);
  }

  function fail(thrown: unknown): void {
    const error = asError(thrown);
    if (isStopped || error.code === "closed") return;
    if (error.status === 404) host.gone();
    else update({ error: toProblem("change", error), loading: false });
  }

  function change(next: History): void {
    if (next === history) return;
    history = next;
    hasChanged = true;
    render();
  }

  function accept(message: StoredMessage): void {
    // Without a position nothing is known to be missing, and the page that is asked for will have it.
    if (!isCurrent && history.items.length === 0) return heard(message.seq);
    const next = withNext(history, message);
    if (!next) {
      waiting.set(message.seq, message);
      return heard(message.seq);
    }
    change(next);
    const following = waiting.get(lastSeq(history) + 1);
    if (following) accept(following);
    else watchGap();
  }

  function heard(seq: number): void {
    if (seq <= lastSeq(history)) return;
    if (isHeld) watchGap(seq);
    else isCurrent = false;
  }

  function watchGap(seq = 0): void {
    const last = lastSeq(history);
    for (const known of waiting.keys()) if (known <= last) waiting.delete(known);
    if (waiting.size === 0 && seq <= last) {
      clearTimeout(gapTimer);
      gapTimer = undefined;
      gapRounds = 0;
      return;
    }
    // If an answer does not close the gap either, the next one waits longer.
    gapTimer ??= setTimeout(
      () => {
        gapTimer = undefined;
        catchUp();
      },
      GAP_MS * 2 ** Math.min(gapRounds++, MAX_GAP_ROUNDS),
    );
  }

  async function page(query: string): Promise<History & MessagePage> {
    const answer = await host.call("GET", `${path}/messages?${query}`);
    if (!isListOf(isStored, answer)) throw invalidAnswer();
    answer.items.forEach(place);
    const complete = (answer as { complete?: unknown }).complete === true;
    return { items: answer.items, complete, hasMore: !complete };
  }

  /**
   * Asks for the messages after the last one. At the first time, or after many, for the newest ones; if the chat has a
   * later version, for all that are known.
   */
  async function ask(): Promise<void> {
    const last = lastSeq(history);
    const asked = toldVersion;
    // Whatever asked, this is the read that the timer is for.
    endSpread();
    const isOutdated = asked > version;
    if (isCurrent && last > 0 && !isOutdated) {
      const after = await page(`after=${last}&limit=${CATCH_UP}`);
      for (const message of after.items) change(withNext(history, message) ?? history);
      // If it does not begin where the history ends, what is between was cleared.
      if (after.complete && lastSeq(after) <= lastSeq(history)) return;
    }
    let newest = await page(`limit=${PAGE}`);
    for (let pages = 0; isOutdated && pages < MAX_REREAD && isOlderThan(history, newest); pages++) {
      const older = await page(`before=${firstSeq(newest)}&limit=${CATCH_UP}`);
      newest = { ...older, items: [...older.items, ...newest.items] };
    }
    isCurrent = true;
    // The first version that is told may have become that of the history meanwhile.
    version = Math.max(version, asked);
    change(isOutdated ? withReread(history, newest) : withNewest(history, newest));
    render();
    const next = waiting.get(lastSeq(history) + 1);
    if (next) accept(next);
  }

  function endSpread(): void {
    clearTimeout(spreadTimer);
    spreadTimer = undefined;
  }

  function onSpread(): void {
    endSpread();
    catchUp();
  }

  function catchUp(): void {
    isWanted = true;
    if (!isAsking) void keepAsking();
  }

  async function keepAsking(): Promise<void> {
    isAsking = true;
    while (isWanted && !isStopped && host.isOpen()) {
      isWanted = false;
      try {
        await ask();
        watchGap();
      } catch (thrown) {
        fail(thrown);
      }
    }
    isAsking = false;
  }

  async function loadOlder(): Promise<void> {
    update({ loadingMore: true });
    try {
      const before = firstSeq(history);
      const asked = toldVersion;
      const older = await page(`before=${before}&limit=${PAGE}`);
      // The history may have begun anew meanwhile, or been read for a later version.
      if (firstSeq(history) === before && version <= asked) change(withOlder(history, older));
    } finally {
      update({ loadingMore: false });
    }
  }

  async function keepReading(): Promise<void> {
    try {
      for (let seq = 0; seq < readSeq; ) {
        seq = readSeq;
        kept.set(READ + chatId, seq);
        const reply = await line.ask({ action: "readChat", chatId, seq });
        if (reply?.["type"] !== "ok") await host.call("POST", `${path}/read`, { seq });
      }
    } catch (thrown) {
      // It is sent again when the client is open again.
      if (asError(thrown).code === "closed") throw thrown;
      stopReading();
      throw thrown;
    }
    stopReading();
  }

  function stopReading(): void {
    readSeq = 0;
    kept.set(READ + chatId, undefined);
  }

  function read(): Promise<void> {
    reading ??= act(keepReading()).finally(() => {
      reading = null;
    });
    // A caller may ignore it.
    reading.catch(() => {});
    return reading;
  }

  function typing(who: string, isOn: boolean): void {
    if (!isOn && !typers.has(who)) return;
    clearTimeout(typers.get(who));
    typers.delete(who);
    if (isOn) typers.set(who, setTimeout(typing, TYPING_MS, who, false));
    update({ typing: [...typers.keys()] });
  }

  function tellTyping(on: boolean): void {
    const sinceMs = Date.now() - toldTypingMs;
    if (on ? sinceMs < TELL_TYPING_MS : sinceMs >= TYPING_MS) return;
    toldTypingMs = on ? Date.now() : 0;
    host.tell({ action: "typing", chatId, on });
  }

  function setDraft(text: string): void {
    kept.set(DRAFT + chatId, text || undefined);
    update({ draft: text });
  }

  function act(promise: Promise<void>): Promise<void> {
    promise.catch(fail);
    return promise;
  }

  update({ draft: typeof draft === "string" ? draft : "" });
  render();

  return {
    accept(message) {
      if (message.senderId !== null) typing(message.senderId, false);
      if (isStored(message)) {
        place(message);
        return accept(message);
      }
      // A copy, or a reply, that comes after the place is late.
      if (placed.has(message.id)) return;
      if (message.senderId === userId) outbox.stored(message);
      if (!provisional.some(({ id }) => id === message.id)) provisional = [...provisional, message];
      render();
    },
    heard,
    changed({ version: told, memberCount }) {
      if (told <= toldVersion) return;
      // A history without a version was read, or is being read, at the same time as the chat.
      if (toldVersion === 0) version = told;
      toldVersion = told;
      if (isHeld && told > version) spreadTimer ??= setTimeout(onSpread, host.random() * SPREAD_MS * memberCount);
    },
    typing,
    hold(is) {
      isHeld = is;
      if (is) {
        if (!isCurrent || toldVersion > version) catchUp();
        return;
      }
      endSpread();
      for (const who of typers.keys()) typing(who, false);
      if (history.items.length > PAGE) change({ items: history.items.slice(-PAGE), hasMore: true });
    },
    clear(isGone) {
      history = emptyHistory;
      waiting = new Map();
      provisional = [];
      isCurrent = isGone;
      endSpread();
      kept.set(`${COPY}${chatId}`, undefined);
      hasChanged = false;
      render();
      if (isHeld && !isGone) catchUp();
    },
    resume() {
      // Only the newest page tells whether another device has cleared the chat meanwhile.
      isCurrent = false;
      if (isHeld && !isAsking) catchUp();
      void outbox.deliver();
      if (readSeq > 0) void read();
    },
    save() {
      // What is outdated is not kept.
      if (!hasChanged || toldVersion > version) return;
      kept.set(`${COPY}${chatId}`, { version, items: history.items.slice(-MAX_COPIED) });
      hasChanged = false;
    },
    stop() {
      isStopped = true;
      clearTimeout(gapTimer);
      endSpread();
      for (const timer of typers.values()) clearTimeout(timer);
      outbox.stop();
    },
    send(body, data = {}, { accept } = {}) {
      setDraft("");
      toldTypingMs = 0;
      const clientId = outbox.add(body, data, accept);
      void outbox.deliver();
      return clientId;
    },
    retry(clientId) {
      outbox.retry(clientId);
      void outbox.deliver();
    },
    discard: outbox.discard,
    setDraft(text) {
      setDraft(text);
      tellTyping(text !== "");
    },
    loadMore() {
      if (!history.hasMore) return Promise.resolve();
      olderPage ??= act(loadOlder()).finally(() => {
        olderPage = null;
      });
      return olderPage;
    },
    markAsRead(seq = Math.max(lastSeq(history), host.chat()?.lastSeq ?? 0)) {
      const { unread = 1, readSeq: known = 0 } = host.chat() ?? {};
      if (seq <= Math.max(readSeq, unread === 0 ? known : 0)) return reading ?? Promise.resolve();
      host.markRead(seq);
      readSeq = seq;
      return read();
    },
  };
}
