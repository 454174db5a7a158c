// Every frame and response that the client reads or writes, and the checks that responses are well formed.

import { isCursor } from "./cursor.js";
import type {
  ChangedEvent,
  EmittedEvent,
  ErrorCode,
  NotificationEvent,
  ProvisionalEvent,
  StoredNotification,
} from "./types.js";

/** A notification arrived that is too large for a frame. */
export interface FetchEvent {
  readonly type: "fetch";
  readonly cursor: string;
  readonly prev: string;
  readonly id: string;
}

/** A frame that changes the inbox, from one cursor to another. */
export type InboxEvent = NotificationEvent | ChangedEvent | FetchEvent;

/** The changes after a cursor. */
export interface SyncResponse {
  readonly notifications: readonly StoredNotification[];
  readonly deleted: readonly string[];
  readonly events?: readonly EmittedEvent[];
  readonly unreadCount: number;
  readonly cursor: string;
  readonly etag: string;
  readonly complete: boolean;
}

/** A page of the inbox, newest first. */
export interface ListResponse {
  readonly items: readonly StoredNotification[];
  readonly nextCursor: string | null;
  readonly unreadCount: number;
  readonly cursor: string;
}

/** The reply to a frame that the client sent. */
export type ReplyFrame =
  | { readonly type: "pong"; readonly ref?: string; readonly cursor: string; readonly etag: string }
  | { readonly type: "ok"; readonly ref?: string; readonly updated?: number; readonly expiresAt?: string }
  | ({ readonly type: "sync"; readonly ref?: string } & SyncResponse)
  | {
      readonly type: "error";
      readonly ref?: string;
      readonly code: ErrorCode;
      readonly message: string;
      readonly retryable?: boolean;
      readonly retryAfterMs?: number;
    };

/** Every frame from the server that this client understands. */
export type Frame = InboxEvent | ProvisionalEvent | EmittedEvent | ReplyFrame | { readonly type: "resync" };

/** A frame for a part of the client that is loaded separately, which checks the rest of it. */
export interface OtherFrame {
  readonly type: "other";
  readonly frame: Readonly<Record<string, unknown>>;
}

/** With this the `ref` of every frame about chats begins. */
export const CHAT_REF = "chat-";

/** Every frame that this client sends. */
export type ClientFrame =
  | { readonly action: "ping"; readonly ref?: string }
  | { readonly action: "ack"; readonly cursor: string }
  | { readonly action: "auth"; readonly ticket: string; readonly ref?: string }
  | { readonly action: "read" | "unread" | "delete"; readonly ids: readonly string[]; readonly ref?: string }
  | { readonly action: "readAll"; readonly type?: string; readonly before?: string; readonly ref?: string }
  | {
      readonly action: "sendMessage";
      readonly ref: string;
      readonly chatId: string;
      readonly clientId: string;
      readonly body: string;
      readonly data: Readonly<Record<string, unknown>>;
      readonly accept?: "durable" | "fast";
    }
  | { readonly action: "readChat"; readonly ref: string; readonly chatId: string; readonly seq: number }
  | { readonly action: "presence"; readonly ref: string; readonly userIds: readonly string[] }
  | { readonly action: "typing"; readonly chatId: string; readonly on: boolean };

export type JsonObject = Record<string, unknown>;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const isString = (value: unknown): value is string => typeof value === "string";
export const isCount = (value: unknown): boolean => Number.isSafeInteger(value);
export const areStrings = (value: unknown): boolean => Array.isArray(value) && value.every(isString);

/** `hasPlace`: checks its cursor. A provisional one has none. */
export const isNotification = (value: unknown, hasPlace: (cursor: unknown) => boolean): boolean =>
  isObject(value) &&
  isString(value["id"]) &&
  isString(value["type"]) &&
  isString(value["title"]) &&
  isString(value["createdAt"]) &&
  hasPlace(value["cursor"]);

const areNotifications = (value: unknown): boolean =>
  Array.isArray(value) && value.every((item) => isNotification(item, isCursor));

export function isSyncResponse(value: unknown): value is SyncResponse {
  return (
    isObject(value) &&
    areNotifications(value["notifications"]) &&
    areStrings(value["deleted"]) &&
    isCount(value["unreadCount"]) &&
    isCursor(value["cursor"]) &&
    isString(value["etag"]) &&
    typeof value["complete"] === "boolean"
  );
}

export function isListResponse(value: unknown): value is ListResponse {
  return (
    isObject(value) && areNotifications(value["items"]) && isCount(value["unreadCount"]) && isCursor(value["cursor"])
  );
}
