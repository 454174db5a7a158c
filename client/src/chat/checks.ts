// The checks that what the server and the device say of chats is well formed.

import { isObject } from "../protocol.js";
import type { Chat, Message, StoredMessage } from "./types.js";

/** Where a chat stands: what a sync tells of it. */
export interface Summary {
  readonly chatId: string;
  readonly lastSeq: number;
  readonly readSeq: number;
  readonly unread: number;
  readonly status: Chat["status"];
  readonly version: number;
}

/** What a `chat` event tells: the part that is the same for all members. */
export type SharedChat = Omit<Chat, "lastMessage" | "readSeq" | "unread" | "hidden">;

type JsonObject = Record<string, unknown>;

const areStrings = (of: JsonObject, ...names: string[]): boolean => names.every((name) => typeof of[name] === "string");
const areCounts = (of: JsonObject, ...names: string[]): boolean =>
  names.every((name) => Number.isSafeInteger(of[name]));

export function isMessage(value: unknown): value is Message {
  return (
    isObject(value) &&
    areStrings(value, "id", "chatId", "body", "createdAt") &&
    (value["seq"] === null || areCounts(value, "seq"))
  );
}

export const isStored = (value: unknown): value is StoredMessage => isMessage(value) && value.seq !== null;

export function isSharedChat(value: unknown): value is SharedChat {
  return (
    isObject(value) &&
    areStrings(value, "id", "kind", "status", "createdAt") &&
    areCounts(value, "memberCount", "version", "lastSeq") &&
    Array.isArray(value["participants"]) &&
    value["participants"].every(isObject)
  );
}

export function isChat(value: unknown): value is Chat {
  if (!isObject(value) || !isSharedChat(value)) return false;
  const { lastMessage } = value as JsonObject;
  return areCounts(value, "readSeq", "unread") && (lastMessage === null || isMessage(lastMessage));
}

export function isSummary(value: unknown): value is Summary {
  return (
    isObject(value) &&
    areStrings(value, "chatId", "status") &&
    areCounts(value, "lastSeq", "readSeq", "unread", "version")
  );
}

/** Whether a value has `items` that all pass the check. */
export function isListOf<T>(is: (item: unknown) => item is T, value: unknown): value is { readonly items: T[] } {
  return isObject(value) && Array.isArray(value["items"]) && value["items"].every(is);
}
