// Every public type of chats: what the server sends, what a page shows, and what it can do.

import type { Client, Problem, Store } from "../types.js";

/** A member of a chat. */
export interface Participant {
  /** `null` if the user was erased. */
  readonly userId: string | null;
  readonly role: "owner" | "member";
  /** The message up to which it has read. */
  readonly readSeq: number;
}

/** A member in a list of all members. */
export interface Member extends Participant {
  readonly joinedAt: string;
}

/** When a message is accepted: once the database has it, or once Redis has. Without it the server decides. */
export type Accept = "durable" | "fast";

/** An accepted message. */
export interface Message {
  readonly id: string;
  readonly chatId: string;
  /**
   * Its place in the chat: from 1, without gaps, the same for all members. `null` while it is provisional: accepted by
   * Redis, and not written yet. It stands behind all others then, and counts nothing.
   */
  readonly seq: number | null;
  /** `null` if the sender was erased. */
  readonly senderId: string | null;
  readonly clientId: string | null;
  readonly body: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly createdAt: string;
  /** `redis` as long as `seq` is `null`. */
  readonly durability: "durable" | "redis";
  readonly erased?: boolean;
}

/** A message that has its place. */
export interface StoredMessage extends Message {
  readonly seq: number;
}

/** A message as a page shows it, also while it is being sent. */
export interface ShownMessage extends Omit<Message, "durability"> {
  /** Stays the same when a message of one's own is stored, unlike `id`. */
  readonly key: string;
  /** `null` until the message is accepted. */
  readonly durability: Message["durability"] | null;
  /** `sent`: it is accepted. `failed`: the server refused it. `retry` sends it again, `discard` forgets it. */
  readonly state: "sent" | "sending" | "failed";
  /** Why it failed. */
  readonly error: Problem | null;
}

/** A chat as the user sees it. */
export interface Chat {
  readonly id: string;
  readonly kind: "direct" | "group";
  readonly title: string | null;
  /** A pending chat takes up to three messages, from its creator only; a declined chat takes none. */
  readonly status: "PENDING" | "ACCEPTED" | "DECLINED";
  /** The first 20 by joining, and the user. Their `readSeq` follows the receipts. */
  readonly participants: readonly Participant[];
  readonly memberCount: number;
  readonly createdBy: string | null;
  readonly createdAt: string;
  /** Grows with every change of title, members or status, and when messages are erased. */
  readonly version: number;
  readonly lastMessage: Message | null;
  readonly lastSeq: number;
  /** The message up to which the user has read. */
  readonly readSeq: number;
  readonly unread: number;
  readonly hidden: boolean;
}

/** Part of a list, and where it goes on. */
export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

/** The state of all chats. Unchanged chats keep their identity from state to state. */
export interface ChatsState {
  /** Newest activity first, without hidden ones. */
  readonly chats: readonly Chat[];
  /** The unread messages of all chats, shown or not. */
  readonly unreadCount: number;
  readonly hasMore: boolean;
  /** Whether nothing is known yet, neither from the server nor from the device. */
  readonly loading: boolean;
  readonly loadingMore: boolean;
  /** The last act that failed. */
  readonly error: Problem | null;
}

/** The state of one chat. */
export interface ChatState {
  /** `null` until it is known, and if the user is not a member. */
  readonly chat: Chat | null;
  /**
   * In order of `seq` and without a gap, then the provisional ones as they came, then those that are being sent or have
   * failed.
   */
  readonly messages: readonly ShownMessage[];
  /** Whether there are older messages. */
  readonly hasMore: boolean;
  readonly loading: boolean;
  readonly loadingMore: boolean;
  /** Who is typing. */
  readonly typing: readonly string[];
  /** What the user has begun to write. It is kept on the device. */
  readonly draft: string;
  /** The last act that failed. A message that failed has its own. */
  readonly error: Problem | null;
}

/** One chat and its acts. */
export interface OpenChat {
  /** While it has listeners, the client asks for the messages that no frame brought. */
  readonly store: Store<ChatState>;
  /**
   * Shows the message at once and sends it, in order, until there is an answer: also after a reload. Returns its
   * `clientId`. The draft is empty then. With `"fast"` it is repeated until it is stored, in case Redis loses it.
   */
  send(body: string, data?: Readonly<Record<string, unknown>>, options?: { readonly accept?: Accept }): string;
  /** Sends a message again that has failed. */
  retry(clientId: string): void;
  /** Forgets a message that has failed. */
  discard(clientId: string): void;
  /** Keeps the draft, and tells the others that the user is typing. */
  setDraft(text: string): void;
  /** Loads older messages. */
  loadMore(): Promise<void>;
  /** Up to a message; by default up to the last one that is known. */
  markAsRead(seq?: number): Promise<void>;
  dismissError(): void;
}

/** What a new chat is about. */
export interface NewChat {
  readonly kind: "direct" | "group";
  readonly participantIds: readonly string[];
  /** Of a group. */
  readonly title?: string;
}

/**
 * The chats of a client's user. An act is repeated until there is an answer. A refusal sets `error` and rejects the
 * promise.
 */
export interface Chats {
  readonly client: Client;
  readonly store: Store<ChatsState>;
  /** The same object for each call with the same chat. */
  open(chatId: string): OpenChat;
  loadMore(): Promise<void>;
  /** A direct chat that exists already is returned, and accepted if the other user had asked. */
  create(chat: NewChat): Promise<Chat>;
  accept(chatId: string): Promise<Chat>;
  decline(chatId: string): Promise<Chat>;
  rename(chatId: string, title: string): Promise<Chat>;
  addMembers(chatId: string, userIds: readonly string[]): Promise<Chat>;
  /** Only the owner of a group can. */
  removeMembers(chatId: string, userIds: readonly string[]): Promise<Chat>;
  leave(chatId: string): Promise<void>;
  /** For this user alone, until the next message, which then shows without the earlier ones. */
  hide(chatId: string): Promise<void>;
  /** Shows a hidden chat with its whole history. */
  restore(chatId: string): Promise<void>;
  /** A page of the hidden chats. */
  hidden(cursor?: string): Promise<Page<Chat>>;
  /** A page of the members, by time of joining. */
  members(chatId: string, cursor?: string): Promise<Page<Member>>;
  dismissError(): void;
}

/** Whether a user is connected. */
export interface Presence {
  readonly userId: string;
  /** `null` if it is unknown, which is not the same as offline. */
  readonly online: boolean | null;
  /** When the user was last connected, as RFC 3339 in UTC; `null` if that is unknown. */
  readonly lastSeenAt: string | null;
}

/** By user id; without the users whose presence is unknown. */
export type PresenceMap = ReadonlyMap<string, Presence>;

/** The presence of the users with whom the client's user shares an accepted chat. */
export interface Presences {
  readonly client: Client;
  /** While it has listeners, the client asks about these users, and follows them. */
  of(userIds: readonly string[]): Store<PresenceMap>;
}
