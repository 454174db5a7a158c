// Every frame and answer that the client reads or writes, and what makes one of them readable.

import { isCursor } from "./cursor.js";
import type { ChangedEvent, EmittedEvent, Notification, NotificationEvent } from "./types.js";

/** Something arrived that is too large for a frame. */
export interface FetchEvent {
  readonly type: "fetch";
  readonly cursor: string;
  readonly prev: string;
  readonly id: string;
}

/** What a frame tells of the inbox, from one cursor to another. */
export type InboxEvent = NotificationEvent | ChangedEvent | FetchEvent;

/** What changed after a cursor. */
export interface SyncAnswer {
  readonly notifications: readonly Notification[];
  readonly deleted: readonly string[];
  readonly events?: readonly EmittedEvent[];
  readonly unreadCount: number;
  readonly cursor: string;
  readonly etag: string;
  readonly complete: boolean;
}

/** A page of the inbox, newest first. */
export interface ListAnswer {
  readonly items: readonly Notification[];
  readonly nextCursor: string | null;
  readonly unreadCount: number;
  readonly cursor: string;
}

/** The answer to a frame that the client sent. */
export type ReplyFrame =
  | { readonly type: "pong"; readonly ref?: string; readonly cursor: string; readonly etag: string }
  | { readonly type: "ok"; readonly ref?: string; readonly updated?: number; readonly expiresAt?: string }
  | ({ readonly type: "sync"; readonly ref?: string } & SyncAnswer)
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

type Members = Record<string, unknown>;
type Check = (frame: Members) => boolean;

/** Whether this is an object of JSON. */
export const isObject = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isText = (value: unknown): value is string => typeof value === "string";
const isCount = Number.isSafeInteger;
const areTexts = (value: unknown): boolean => Array.isArray(value) && value.every(isText);

const isNotification = (value: unknown): boolean =>
  isObject(value) &&
  isText(value["id"]) &&
  isText(value["type"]) &&
  isText(value["title"]) &&
  isText(value["createdAt"]) &&
  isCursor(value["cursor"]);

const areNotifications = (value: unknown): boolean => Array.isArray(value) && value.every(isNotification);

const isStep: Check = (frame) => isCursor(frame["cursor"]) && isCursor(frame["prev"]);
const isEmitted: Check = (frame) => isText(frame["id"]);

/** Whether an answer to `sync` is one. */
export function isSyncAnswer(value: unknown): value is SyncAnswer {
  return (
    isObject(value) &&
    areNotifications(value["notifications"]) &&
    areTexts(value["deleted"]) &&
    isCount(value["unreadCount"]) &&
    isCursor(value["cursor"]) &&
    isText(value["etag"]) &&
    typeof value["complete"] === "boolean"
  );
}

/** Whether an answer to a list is one. */
export function isListAnswer(value: unknown): value is ListAnswer {
  return (
    isObject(value) && areNotifications(value["items"]) && isCount(value["unreadCount"]) && isCursor(value["cursor"])
  );
}

const checks: Readonly<Record<Frame["type"], Check>> = {
  notification: (frame) =>
    isStep(frame) &&
    isNotification(frame["notification"]) &&
    isCount(frame["unreadCount"]) &&
    (frame["replaces"] == null || areTexts(frame["replaces"])),
  changed: (frame) =>
    isStep(frame) && areTexts(frame["ids"]) && isText(frame["change"]) && isCount(frame["unreadCount"]),
  fetch: isStep,
  resync: () => true,
  system: isEmitted,
  dashboard: isEmitted,
  announcement: isEmitted,
  pong: (frame) => isCursor(frame["cursor"]) && isText(frame["etag"]),
  ok: () => true,
  sync: isSyncAnswer,
  error: (frame) => isText(frame["code"]),
};

/** Whether this is a frame that the client understands. */
export function isFrame(value: unknown): value is Frame {
  const type = isObject(value) && (value["type"] as Frame["type"]);
  return type !== false && Object.hasOwn(checks, type) && checks[type](value as unknown as Members);
}

/**
 * A frame as the client understands it; `"unknown"` is of a type that a later server may have,
 * `null` is none at all, or one that lacks what its type needs: something may have been lost.
 */
export function readFrame(text: unknown): Frame | "unknown" | null {
  if (!isText(text)) return null;
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return null;
  }
  if (isFrame(frame)) return frame;
  return isObject(frame) && isText(frame["type"]) && !Object.hasOwn(checks, frame["type"]) ? "unknown" : null;
}
