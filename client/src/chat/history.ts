// The known part of a chat's messages, in order of `seq` and without a gap: pure functions.

import type { StoredMessage } from "./types.js";

export interface History {
  readonly items: readonly StoredMessage[];
  /** Whether the server has older ones. */
  readonly hasMore: boolean;
}

/** An answer to a call for messages. */
export interface MessagePage {
  readonly items: readonly StoredMessage[];
  /** Nothing further in the direction of the call. */
  readonly complete: boolean;
}

export const emptyHistory: History = { items: [], hasMore: false };

export const firstSeq = ({ items }: History): number => items[0]?.seq ?? 0;
export const lastSeq = ({ items }: History): number => items.at(-1)?.seq ?? 0;

/** The history with the newest page. If it does not reach what is known, only the page is left. */
export function withNewest(history: History, { items, complete }: MessagePage): History {
  const page: History = { items, hasMore: !complete };
  const [first, last] = [firstSeq(page), lastSeq(page)];
  // A complete page is all there is, so what is older was cleared. What is newer has arrived since.
  const known = complete ? history.items.filter(({ seq }) => seq > last) : history.items;
  const isJoined = last > 0 && (known[0]?.seq ?? last + 2) <= last + 1 && lastSeq(history) >= first - 1;
  if (!isJoined) return page;
  const older = known.filter(({ seq }) => seq < first);
  return {
    items: [...older, ...items, ...known.filter(({ seq }) => seq > last)],
    hasMore: older.length > 0 ? history.hasMore : !complete,
  };
}

/** Whether messages before those of a page are known, without a gap between, and the server has such. */
export const isOlderThan = (history: History, page: History): boolean =>
  page.hasMore && firstSeq(history) < firstSeq(page) && lastSeq(history) >= firstSeq(page) - 1;

/** The history with what was read anew up to its end. What is older than that is dropped, since it may be outdated. */
export function withReread(history: History, page: History & MessagePage): History {
  return withNewest({ ...history, items: history.items.filter(({ seq }) => seq >= firstSeq(page)) }, page);
}

/** The history with a page before it. */
export function withOlder(history: History, { items, complete }: MessagePage): History {
  const first = firstSeq(history);
  return { items: [...items.filter(({ seq }) => seq < first), ...history.items], hasMore: !complete };
}

/** The history with one more message, or `null` if others are missing in between. */
export function withNext(history: History, message: StoredMessage): History | null {
  const last = lastSeq(history);
  if (message.seq === last + 1) return { ...history, items: [...history.items, message] };
  if (message.seq > last) return null;
  // What was erased is told again under its place.
  if (!message.erased) return history;
  return { ...history, items: history.items.map((known) => (known.seq === message.seq ? message : known)) };
}
