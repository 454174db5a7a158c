// What is known of a chat grows only: answers and frames in any order lead to the same.

import { describe, expect, test } from "vitest";
import { emptyHistory, type History, withNewest, withNext, withOlder, withReread } from "../../src/chat/history.js";
import { compareActivity, merge, withMessage, withRead, withShared } from "../../src/chat/merge.js";
import type { Chat, StoredMessage } from "../../src/chat/types.js";

const message = (seq: number, more: Partial<StoredMessage> = {}): StoredMessage => ({
  id: `m${seq}`,
  chatId: "c",
  seq,
  senderId: "bob",
  clientId: `b${seq}`,
  body: `${seq}`,
  data: {},
  createdAt: new Date(seq).toISOString(),
  durability: "durable",
  ...more,
});

const chat = (more: Partial<Chat> = {}): Chat => ({
  id: "c",
  kind: "direct",
  title: null,
  status: "ACCEPTED",
  participants: [],
  memberCount: 2,
  createdBy: "alice",
  createdAt: new Date(0).toISOString(),
  version: 1,
  lastMessage: null,
  lastSeq: 0,
  readSeq: 0,
  unread: 0,
  hidden: false,
  ...more,
});

const seqs = ({ items }: History): number[] => items.map(({ seq }) => seq);
const from = (first: number, last: number): StoredMessage[] =>
  Array.from({ length: last - first + 1 }, (_, index) => message(first + index));

describe("a chat", () => {
  test("is not taken back by an answer that was under way", () => {
    const old = chat({ lastMessage: message(1), lastSeq: 1, unread: 1 });
    const now = withRead(withMessage(old, message(2), false), 2, 2);
    expect(now).toMatchObject({ lastSeq: 2, readSeq: 2, unread: 0 });
    expect(merge(now, old)).toEqual(now);
    expect(merge(old, now)).toEqual(now);
  });

  test("counts what is unread the same in every order", () => {
    const start = chat({ lastSeq: 3, readSeq: 1, unread: 2, lastMessage: message(3) });
    const one = withRead(withMessage(start, message(4), false), 3, 3);
    const other = withMessage(withRead(start, 3, 3), message(4), false);
    expect(one).toEqual(other);
    expect(one.unread).toBe(1);
    expect(withMessage(one, message(5), true)).toMatchObject({ unread: 0, readSeq: 5 });
  });

  test("counts nothing that was cleared", () => {
    // Cleared at 5, so only the sixth message is unread although nothing was read.
    const cleared = chat({ lastSeq: 6, readSeq: 0, unread: 1, lastMessage: message(6) });
    expect(withMessage(cleared, message(7), false).unread).toBe(2);
  });

  test("keeps the later version, and the later read mark of each member", () => {
    const owner = { userId: "alice", role: "owner" as const };
    const known = chat({ version: 3, title: "new", participants: [{ ...owner, readSeq: 5 }] });
    expect(withShared(known, chat({ version: 2, title: "old" }))).toBe(known);
    const later = withShared(known, chat({ version: 4, title: "newer", participants: [{ ...owner, readSeq: 2 }] }));
    expect(later).toMatchObject({ title: "newer", participants: [{ readSeq: 5 }] });
  });

  test("loses its last message to an erasure, whatever comes late", () => {
    const said = chat({ version: 4, lastSeq: 2, lastMessage: message(2) });
    const gone = message(2, { senderId: null, body: "", erased: true });
    const erased = chat({ version: 5, lastSeq: 2, lastMessage: gone });
    expect(merge(said, erased).lastMessage).toEqual(gone);
    expect(merge(erased, said).lastMessage).toEqual(gone);
    expect(withMessage(said, gone, false).lastMessage).toEqual(gone);
    expect(withMessage(erased, message(2), false).lastMessage).toEqual(gone);
    expect(withMessage(erased, message(3), false).lastMessage).toEqual(message(3));
  });

  test("stays hidden when its last message is told once more", () => {
    const hidden = chat({ lastSeq: 2, hidden: true });
    expect(withMessage(hidden, message(2), false)).toMatchObject({ hidden: true, lastMessage: null });
    expect(withMessage(hidden, message(3), false)).toMatchObject({ hidden: false, lastMessage: { seq: 3 } });
  });

  test("shows a message without a place while nothing was written later, and counts it when it has one", () => {
    const known = chat({ lastSeq: 3, unread: 1, lastMessage: message(3) });
    const provisional = { ...message(5), seq: null, durability: "redis" } as const;
    const now = withMessage(known, provisional, true);
    expect(now).toEqual({ ...known, lastMessage: provisional });
    expect(compareActivity(now, chat({ id: "d", lastMessage: message(4) }))).toBeLessThan(0);
    // An answer knows no less.
    expect(merge(now, known)).toEqual(known);
    expect(withMessage(now, message(4), false)).toMatchObject({ lastSeq: 4, unread: 2, lastMessage: { seq: 4 } });
    expect(withMessage(now, { ...message(5), seq: 4 }, false)).toMatchObject({ lastSeq: 4, lastMessage: { seq: 4 } });
    const later = withMessage(known, message(6), false);
    expect(withMessage(later, provisional, false)).toBe(later);
    expect(withMessage({ ...known, hidden: true }, provisional, false)).toEqual({ ...known, hidden: true });
  });
});

describe("a history", () => {
  const known: History = { items: from(10, 20), hasMore: true };

  test("takes the next message only, and an erased one in its place", () => {
    expect(withNext(known, message(20))).toBe(known);
    expect(withNext(known, message(22))).toBeNull();
    expect(seqs(withNext(known, message(21)) as History)).toEqual(seqs({ ...known, items: from(10, 21) }));
    const erased = withNext(known, message(12, { body: "", erased: true })) as History;
    expect(erased.items.map(({ body }) => body)).toEqual(known.items.map(({ seq }) => (seq === 12 ? "" : `${seq}`)));
  });

  test.each([
    ["that follows it", from(21, 30), from(10, 30)],
    ["that overlaps its end", from(15, 30), from(10, 30)],
    ["within it, since later messages have come", from(12, 18), from(10, 20)],
    ["beyond a gap: what would be missing is between", from(22, 30), from(22, 30)],
    ["that it knows", from(10, 20), from(10, 20)],
  ])("joins the newest page %s", (_, page, expected) => {
    expect(seqs(withNewest(known, { items: page, complete: false }))).toEqual(expected.map(({ seq }) => seq));
  });

  test("loses what was cleared: a complete page is all there is", () => {
    const rest = withNewest(known, { items: from(15, 20), complete: true });
    expect([seqs(rest), rest.hasMore]).toEqual([from(15, 20).map(({ seq }) => seq), false]);
    for (const cleared of [known, { items: from(1, 2), hasMore: false }]) {
      expect(withNewest(cleared, { items: [], complete: true })).toEqual(emptyHistory);
    }
  });

  test("that is read again keeps nothing older, and what has arrived since", () => {
    const page = from(15, 18).map(({ seq }) => message(seq, { body: "", erased: true }));
    const read = withReread(known, { items: page, complete: false, hasMore: true });
    expect([seqs(read), read.hasMore]).toEqual([from(15, 20).map(({ seq }) => seq), true]);
    expect(read.items.slice(0, 4)).toEqual(page);
    const all = withReread(known, { items: from(1, 20), complete: true, hasMore: false });
    expect([seqs(all), all.hasMore]).toEqual([from(1, 20).map(({ seq }) => seq), false]);
    const empty = { items: [], complete: true, hasMore: false };
    expect(withReread(known, empty)).toMatchObject({ items: [], hasMore: false });
  });

  test("takes older pages once", () => {
    const older = withOlder(known, { items: from(5, 12), complete: true });
    expect([seqs(older), older.hasMore]).toEqual([from(5, 20).map(({ seq }) => seq), false]);
  });
});
