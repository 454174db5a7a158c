// For back ends: send notifications, and look at what became of them.

import { backoffMs } from "./backoff.js";
import { createHttp, type Http } from "./http.js";
import { asError, isTemporary } from "./problem.js";
import type { Priority } from "./types.js";

export { CarillonError } from "./problem.js";

const WITHIN_MS = 30_000;

/** Where the API is, and as whom to call it. */
export interface ServerOptions {
  readonly baseUrl: string;
  /** A JWT with the scope that the call needs; `getToken` where it must be renewed. */
  readonly token?: string;
  readonly getToken?: () => string | Promise<string>;
  /** How long to repeat what gets no answer, or is refused for now. Default: 30,000. */
  readonly withinMs?: number;
  readonly fetch?: typeof fetch;
}

interface Content {
  /** 1–64 of `A–Z a–z 0–9 _ . : -`. */
  readonly type: string;
  /** One line; it may stand in `data` instead, and so may `body` and `actionUrl`. */
  readonly title?: string;
  readonly body?: string;
  /** Another name for `body`. */
  readonly message?: string;
  readonly actionUrl?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  /** Another name for `data`. */
  readonly content?: Readonly<Record<string, unknown>>;
  readonly priority?: Priority;
  /** What makes two calls the same one; without it, each call is its own, however often it has to be repeated. */
  readonly idempotencyKey?: string;
  readonly delayMs?: number;
  /** Another name for `delayMs`. */
  readonly delay?: number;
  readonly deliverAt?: string;
  readonly expiresAt?: string;
  readonly collapseKey?: string;
  readonly channels?: readonly ("realtime" | "push")[];
  readonly accept?: "durable" | "fast";
}

/** A notification to many users, or to one. */
export type Send = Content & ({ readonly userIds: readonly string[] } | { readonly userId: string });

/** A notification to one user. */
export type NewNotification = Content & { readonly userId: string };

/** Which sends to list. */
export interface HistoryQuery {
  readonly limit?: number;
  readonly cursor?: string;
  readonly userId?: string;
  readonly type?: string;
  readonly state?: string;
}

/** A send, and how many of its notifications are where. */
export interface HistoryItem {
  readonly sendId: string;
  readonly type: string;
  readonly title: string;
  readonly createdAt: string;
  readonly recipients: number;
  readonly states: Readonly<Record<"waiting" | "offered" | "settled" | "expired" | "dead", number>>;
}

/** A page of sends. */
export interface History {
  readonly items: readonly HistoryItem[];
  readonly nextCursor: string | null;
}

/** One of the Redis instances, or the memory in the place of one. */
export interface RedisInstance {
  readonly name: string;
  readonly healthy: boolean;
  readonly role: string | null;
  readonly operations: number;
  readonly errors: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly usedMemoryBytes: number | null;
  readonly breaker: "closed" | "open" | "probing";
  readonly lastError: string | null;
}

/** How the system does; counters are of the last 60 min. */
export interface Metrics {
  readonly queue: Readonly<Record<"waiting" | "processing" | "delayed" | "deadLetters" | "oldestMs", number>>;
  readonly accepted: number;
  readonly delivered: number;
  readonly retried: number;
  readonly rateLimited: number;
  readonly errors: number;
  readonly connections: number;
  readonly onlineUsers: number;
  readonly persistLagMs: number;
  readonly degraded: boolean;
  readonly redis: {
    readonly mode: "memory" | "single" | "balanced" | "cluster";
    readonly instances: readonly RedisInstance[];
  };
  /** States without addresses. */
  readonly database: { readonly healthy: boolean; readonly kind: string } & Readonly<Record<string, unknown>>;
  readonly latency: Readonly<Record<"acceptMs" | "deliverMs", Readonly<Record<"p50" | "p99", number>>>>;
}

/**
 * Sends a notification, and returns the send's id.
 * No answer, 429 and 503 are repeated with the same key, so it rings once; whatever else is refused rejects at once.
 */
export async function sendNotification(send: Send, options: ServerOptions): Promise<string> {
  const http = httpOf(options);
  // A key that the caller gave stands in the body already, and must not differ.
  const key = send.idempotencyKey ?? crypto.randomUUID();
  const untilMs = Date.now() + (options.withinMs ?? WITHIN_MS);
  for (let failures = 1; ; failures++) {
    try {
      const { body } = await http.call("POST", "/api/notifications/send", {
        body: send,
        headers: { "idempotency-key": key },
      });
      return (body as { sendId: string }).sendId;
    } catch (thrown) {
      const error = asError(thrown);
      const wait = backoffMs(failures, Math.random, error.retryAfterMs);
      if (!isTemporary(error) || Date.now() + wait > untilMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

/** Sends a notification to one user, and returns the send's id. */
export function createNotification(notification: NewNotification, options: ServerOptions): Promise<string> {
  return sendNotification(notification, options);
}

/**
 * Queues a notification that rings `delayMs` from now (0 to a year), and returns the send's id.
 * Until then `DELETE /api/notifications/scheduled/{id}` takes it back.
 */
export function queueNotification(
  notification: Omit<NewNotification, "delayMs" | "delay" | "deliverAt">,
  delayMs: number,
  options: ServerOptions,
): Promise<string> {
  return sendNotification({ ...notification, delayMs }, options);
}

/** How the system does; needs `notify:admin`. */
export async function getMetrics(options: ServerOptions): Promise<Metrics> {
  return (await httpOf(options).call("GET", "/api/notifications/metrics/redis")).body as Metrics;
}

/** The caller's own sends, newest first; everybody's with `notify:admin`. */
export async function getHistory(query: HistoryQuery, options: ServerOptions): Promise<History> {
  const given = Object.entries(query).filter(([, value]) => value !== undefined);
  const parameters = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
  return (await httpOf(options).call("GET", `/api/notifications/history?${parameters}`)).body as History;
}

function httpOf({ baseUrl, token, getToken, fetch }: ServerOptions): Http {
  return createHttp({
    baseUrl,
    getToken: getToken ?? (() => token ?? ""),
    fetch: fetch ?? ((input, init) => globalThis.fetch(input, init)),
  });
}
