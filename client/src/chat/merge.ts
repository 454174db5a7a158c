// How what is known of a chat grows: pure functions. Frames and answers overtake each other, so whatever only grows is
// merged by its greater value.

import type { SharedChat } from "./checks.js";
import type { Chat, Message, Participant } from "./types.js";

/** The chat with what is newer in `other`. Nothing that is known already is lost to an older answer. */
export function merge(known: Chat | undefined, other: Chat): Chat {
  if (!known) return other;
  const chat = withShared(withRead(known, other.readSeq, other.lastSeq - other.unread, other.lastSeq), other);
  const ahead = (other.lastMessage?.seq ?? 0) - (known.lastMessage?.seq ?? 0);
  // Of the same message, the earlier version does not know whether it was erased.
  const isNewer = ahead >= (other.version < known.version ? 1 : 0);
  return { ...chat, lastMessage: isNewer ? other.lastMessage : known.lastMessage, hidden: other.hidden };
}

/** The chat with the title, members and status of a later version. */
export function withShared(known: Chat, shared: SharedChat): Chat {
  const { title, status, memberCount, version, createdBy } = shared;
  const participants = known.participants.reduce(
    (all, { userId, readSeq }) => withReceipt(all, userId, readSeq),
    shared.participants,
  );
  return version < known.version ? known : { ...known, title, status, participants, memberCount, version, createdBy };
}

/** The chat after a message. A message also moves its sender's read mark. */
export function withMessage(known: Chat, message: Message, isOwn: boolean): Chat {
  const { seq } = message;
  if (seq === null) {
    // A message without a place moves nothing, and shows while none was written later.
    const isNews = !known.hidden && message.createdAt > (known.lastMessage?.createdAt ?? "");
    return isNews ? { ...known, lastMessage: message } : known;
  }
  const chat = withRead(known, isOwn ? seq : 0, isOwn ? seq : 0, seq);
  // Once more what a hidden chat ended with does not bring it back, nor a late copy what was erased.
  const isOver = known.hidden || known.lastMessage?.erased;
  if (seq < known.lastSeq || (seq === known.lastSeq && isOver)) return chat;
  return { ...chat, lastMessage: message, hidden: false };
}

/**
 * `seenSeq` is the message up to which nothing is unread. Together with `lastSeq` it only grows, while the count of
 * unread messages does not.
 */
export function withRead(known: Chat, readSeq: number, seenSeq: number, lastSeq: number = known.lastSeq): Chat {
  const last = Math.max(lastSeq, known.lastSeq);
  const seen = Math.max(seenSeq, known.lastSeq - known.unread);
  return {
    ...known,
    lastSeq: last,
    readSeq: Math.max(readSeq, known.readSeq),
    unread: Math.max(0, last - seen),
  };
}

/** The participants with a read mark that never moves backwards. */
export function withReceipt(
  participants: readonly Participant[],
  userId: string | null,
  seq: number,
): readonly Participant[] {
  const isNews = (each: Participant): boolean => each.userId !== null && each.userId === userId && each.readSeq < seq;
  return participants.some(isNews)
    ? participants.map((each) => (isNews(each) ? { ...each, readSeq: seq } : each))
    : participants;
}

const activeAt = ({ lastMessage, createdAt }: Chat): string => lastMessage?.createdAt ?? createdAt;

/** Negative if the first chat stands before the other: newest activity first. */
export function compareActivity(one: Chat, other: Chat): number {
  const [at, otherAt] = [activeAt(one), activeAt(other)];
  if (at !== otherAt) return at > otherAt ? -1 : 1;
  return one.id > other.id ? -1 : 1;
}
