// Every frame and response that the client reads or writes, and the checks that they are well formed.

import { isCursor } from "./cursor.js";
import type { ChangedEvent, EmittedEvent, Notification, NotificationEvent } from "./types.js";

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
  readonly notifications: readonly Notification[];
  readonly deleted: readonly string[];
  readonly events?: readonly EmittedEvent[];
  readonly unreadCount: number;
  readonly cursor: string;
  readonly etag: string;
  readonly complete: boolean;
}

/** A page of the inbox, newest first. */
export interface ListResponse {
  readonly items: readonly Notification[];
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
      readonly code: string;
      readonly message: string;
      readonly retryable?: boolean;
      readonly retryAfterMs?: number;
    };

/** Every frame from the server that this client understands. */
export type Frame = InboxEvent | EmittedEvent | ReplyFrame | { readonly type: "resync" };

/** Every frame that this client sends. */
export type ClientFrame =
  | { readonly action: "ping"; readonly ref?: string }
  | { readonly action: "ack"; readonly cursor: string }
  | { readonly action: "auth"; readonly ticket: string; readonly ref?: string };

type JsonObject = Record<string, unknown>;
type Check = (frame: JsonObject) => boolean;

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isString = (value: unknown): value is string => typeof value === "string";
const isCount = Number.isSafeInteger;
const areStrings = (value: unknown): boolean => Array.isArray(value) && value.every(isString);

const isNotification = (value: unknown): boolean =>
  isObject(value) &&
  isString(value["id"]) &&
  isString(value["type"]) &&
  isString(value["title"]) &&
  isString(value["createdAt"]) &&
  isCursor(value["cursor"]);

const areNotifications = (value: unknown): boolean => Array.isArray(value) && value.every(isNotification);

const isStep: Check = (frame) => isCursor(frame["cursor"]) && isCursor(frame["prev"]);
const isEmitted: Check = (frame) => isString(frame["id"]);

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

const checks: Readonly<Record<Frame["type"], Check>> = {
  notification: (frame) =>
    isStep(frame) &&
    isNotification(frame["notification"]) &&
    isCount(frame["unreadCount"]) &&
    (frame["replaces"] == null || areStrings(frame["replaces"])),
  changed: (frame) =>
    isStep(frame) && areStrings(frame["ids"]) && isString(frame["change"]) && isCount(frame["unreadCount"]),
  fetch: isStep,
  resync: () => true,
  system: isEmitted,
  dashboard: isEmitted,
  announcement: isEmitted,
  pong: (frame) => isCursor(frame["cursor"]) && isString(frame["etag"]),
  ok: () => true,
  sync: isSyncResponse,
  error: (frame) => isString(frame["code"]),
};

/** Whether a value is a frame that the client understands. */
export function isFrame(value: unknown): value is Frame {
  const type = isObject(value) && (value["type"] as Frame["type"]);
  return type !== false && Object.hasOwn(checks, type) && checks[type](value as unknown as JsonObject);
}

/**
 * Parses a frame. `"unknown"` means a type that only a later server has. `null` means that the text is no frame, or
 * that the frame lacks what its type needs, so a change may have been lost.
 */
export function readFrame(text: unknown): Frame | "unknown" | null {
  if (!isString(text)) return null;
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return null;
  }
  if (isFrame(frame)) return frame;
  return isObject(frame) && isString(frame["type"]) && !Object.hasOwn(checks, frame["type"]) ? "unknown" : null;
}
