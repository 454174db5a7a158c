// What the server's pushes say, and what the worker and the pages of its origin tell each other.

import { isObject, isString } from "../protocol.js";
import type { Priority } from "../types.js";

/** A notification. With `fetch` it was too large, and the rest of it is at the server. */
export interface PushedNotification {
  readonly kind: "notification";
  readonly tag: string;
  readonly id: string;
  readonly title: string;
  readonly fetch?: boolean;
  readonly body?: string | null;
  readonly actionUrl?: string | null;
  readonly priority?: Priority;
  readonly cursor?: string;
  readonly unreadCount?: number;
  /** Whether everything before it was acknowledged. */
  readonly acknowledge?: boolean;
}

/** Several messages of a chat, or notifications of a type, in one. */
export interface PushedDigest {
  readonly kind: "digest";
  readonly tag: string;
  readonly title: string;
  readonly body?: string | null;
  readonly count: number;
  readonly chatId?: string | null;
  readonly type?: string | null;
}

/** What a push says. */
export type Payload = PushedNotification | PushedDigest | { readonly kind: "close"; readonly tag: string };

/** What is attached to a notification of the system. */
export interface Shown {
  /** Tells our notifications from those of others in the same origin. */
  readonly carillon: 1;
  /** Of a notification. */
  readonly id?: string;
  /** Of a digest. */
  readonly chatId?: string | null;
  readonly type?: string | null;
  readonly actionUrl?: string | null;
  /** The same for the same content. */
  readonly content: string;
}

/** A message from the worker to a page. */
export type ToPage = { readonly carillon: 1 } & (
  | {
      /** Whether the page shows what arrives. It answers over the port. */
      readonly kind: "ask";
      readonly root: string;
      readonly userId: string | null;
    }
  /** The page shows this in place of the worker. It answers over the port. */
  | { readonly kind: "take"; readonly payload: PushedNotification }
  /** The user followed a notification. The page answers over the port, and goes there. */
  | { readonly kind: "open"; readonly url: string }
);

/** Reads the payload of a push. `null`: it is none of ours. */
export function payloadOf(text: string | undefined): Payload | null {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    return null;
  }
  if (!isObject(value) || !isString(value["tag"])) return null;
  const { kind, title, id } = value;
  const isKnown =
    kind === "close" || (isString(title) && (kind === "digest" || (kind === "notification" && isString(id))));
  return isKnown ? (value as unknown as Payload) : null;
}

/** What is attached to a notification of the system, if it is ours. */
export function shownOf({ data }: Pick<Notification, "data">): Shown | null {
  return isObject(data) && data["carillon"] === 1 ? (data as unknown as Shown) : null;
}

/** A key in base64url as bytes. */
export function bytesOf(key: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(key.replace(/-/g, "+").replace(/_/g, "/")), (char) => char.charCodeAt(0));
}
