// Reads the frames that come over a socket or from another tab. Loaded on demand, with either.

import { isCursor } from "./cursor.js";
import {
  areStrings,
  CHAT_REF,
  type Frame,
  isCount,
  isNotification,
  isObject,
  isString,
  isSyncResponse,
  type JsonObject,
  type OtherFrame,
} from "./protocol.js";

type Check = (frame: JsonObject) => boolean;

const isStep: Check = (frame) => isCursor(frame["cursor"]) && isCursor(frame["prev"]);
const isNull = (value: unknown): boolean => value === null;
const isEmitted: Check = (frame) => isString(frame["id"]);

const checks: Readonly<Record<Frame["type"], Check>> = {
  notification: (frame) =>
    isNull(frame["cursor"])
      ? isNull(frame["prev"]) && isNull(frame["unreadCount"]) && isNotification(frame["notification"], isNull)
      : isStep(frame) &&
        isNotification(frame["notification"], isCursor) &&
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

/** Whether a frame is about chats, or of a type that only another part of the client or a later server has. */
const isOther = (frame: JsonObject): boolean =>
  isString(frame["type"]) &&
  (!Object.hasOwn(checks, frame["type"]) || "chatId" in frame || String(frame["ref"]).startsWith(CHAT_REF));

/**
 * Parses a frame. `null` means that the text is no frame, or that the frame lacks what its type needs, so a change may
 * have been lost.
 */
export function readFrame(text: unknown): Frame | OtherFrame | null {
  if (!isString(text)) return null;
  let frame: unknown;
  try {
    frame = JSON.parse(text);
  } catch {
    return null;
  }
  if (isObject(frame) && isOther(frame)) return { type: "other", frame };
  if (!isFrame(frame)) return null;
  // A frame may leave it to its notification to say so.
  return frame.type === "notification" && frame.notification.silent ? { ...frame, silent: true } : frame;
}
