// For back ends: sends notifications, emits events, and reads metrics and history.

import { backoffMs } from "./backoff.js";
import { asError, isTemporary } from "./errors.js";
import { createHttp, type Http } from "./http.js";
import type { EmittedEvent, Priority } from "./types.js";

export { CarillonError } from "./errors.js";

const WITHIN_MS = 30_000;

/** The address of the API, and the token to call it with. What is left out comes from the environment. */
export interface ServerOptions {
  /** Default: the variable `CARILLON_URL`. */
  readonly baseUrl?: string;
  /** A JWT with the scope that the call needs. Use `getToken` if the token must be renewed. Default: `CARILLON_TOKEN`. */
  readonly token?: string;
  readonly getToken?: () => string | Promise<string>;
  /** How long to retry after no response, 429 or 503, in milliseconds. Default: 30,000. */
  readonly withinMs?: number;
  readonly fetch?: typeof fetch;
}

/** What a notification says, and when and how it rings. */
export interface Content {
  /** 1–64 of `A–Z a–z 0–9 _ . : -`. */
  readonly type: string;
  /** One line. Like `body` and `actionUrl`, it may be given in `data` instead. */
  readonly title?: string;
  readonly body?: string;
  /** Another name for `body`. */
  readonly message?: string;
  readonly actionUrl?: string;
  readonly data?: Readonly<Record<string, unknown>>;
  /** Another name for `data`. */
  readonly content?: Readonly<Record<string, unknown>>;
  readonly priority?: Priority;
  /** Two calls with the same key are one send. By default each call has its own key, which its retries share. */
  readonly idempotencyKey?: string;
  readonly delayMs?: number;
  /** Another name for `delayMs`. */
  readonly delay?: number;
  readonly deliverAt?: string;
  readonly expiresAt?: string;
  readonly collapseKey?: string;
  /** What rings. Default: both. It is in the inbox in any case. */
  readonly channels?: readonly ("realtime" | "push")[];
  /** Pushes of this type to a user wait for the end of a window, 60,000 to 86,400,000 ms after the first, and are one. */
  readonly digest?: { readonly windowMs: number };
  readonly accept?: "durable" | "fast";
}

/** A notification to many users, or to one. */
export type Send = Content & ({ readonly userIds: readonly string[] } | { readonly userId: string });

/** A notification to one user. */
export type NewNotification = Content & { readonly userId: string };

/** Whom an event is for, and what identifies it. */
export interface EventAudience {
  /** Up to 1,000. Without it the event is for all users, which requires `notify:admin`. */
  readonly userIds?: readonly string[];
  /** Two calls with the same key are one event. By default each call has its own key, which its retries share. */
  readonly idempotencyKey?: string;
}

/** An event to emit. Together it may have 32 KB. */
export interface NewEvent extends EventAudience {
  readonly type: EmittedEvent["type"];
  /** What it is about, of 1–64 characters. */
  readonly name?: string;
  readonly title?: string;
  readonly body?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** Which sends to list. */
export interface HistoryQuery {
  readonly limit?: number;
  readonly cursor?: string;
  readonly userId?: string;
  readonly type?: string;
  readonly state?: string;
}

/** A send, with the number of its notifications in each state. */
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

/** A Redis instance, or the in-process memory that replaces it. */
export interface RedisInstance {
  readonly name: string;
  readonly healthy: boolean;
  readonly version: string | null;
  readonly role: string | null;
  readonly usedMemoryBytes: number | null;
  readonly maxMemoryBytes: number | null;
  readonly fragmentation: number | null;
  readonly evictionPolicy: string | null;
  readonly clients: number | null;
  readonly maxClients: number | null;
  readonly persistence: "aof" | "snapshots" | "failing" | null;
  readonly replicationLagMs: number | null;
  /** How much of what is divided among the instances is kept there: 0 to 1. */
  readonly share: number;
  readonly operations: number;
  readonly errors: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly breaker: "closed" | "open" | "probing";
  readonly lastError: string | null;
}

/** The state of the system. Counters cover the last 60 min. */
export interface Metrics {
  readonly queue: Readonly<Record<"waiting" | "processing" | "delayed" | "deadLetters" | "oldestMs", number>>;
  readonly accepted: number;
  readonly delivered: number;
  readonly retried: number;
  readonly rateLimited: number;
  readonly errors: number;
  readonly connections: number;
  readonly onlineUsers: number;
  /** For how long the oldest fast accept has waited for the database. */
  readonly persistLagMs: number;
  /** The fast accepts that wait for the database, and their bytes in Redis. */
  readonly backlog: Readonly<Record<"entries" | "bytes", number>>;
  readonly degraded: boolean;
  readonly redis: {
    readonly mode: "memory" | "single" | "balanced" | "cluster";
    readonly instances: readonly RedisInstance[];
  };
  /** Contains no addresses. */
  readonly database: { readonly healthy: boolean; readonly kind: string } & Readonly<Record<string, unknown>>;
  readonly latency: Readonly<Record<"acceptMs" | "deliverMs", Readonly<Record<"p50" | "p99", number>>>>;
}

/**
 * Sends a notification, and returns the send's id.
 * No response, 429 and 503 are retried with the same key, so it rings once. Any other refusal rejects at once.
 */
export async function sendNotification(send: Send, options: ServerOptions = {}): Promise<string> {
  return (await post<{ sendId: string }>("/api/notifications/send", send, options)).sendId;
}

/** Sends a notification to one user, and returns the send's id. */
export function createNotification(notification: NewNotification, options: ServerOptions = {}): Promise<string> {
  return sendNotification(notification, options);
}

/**
 * Queues a notification that rings `delayMs` from now (0 to a year), and returns the send's id.
 * Until then `DELETE /api/notifications/scheduled/{id}` cancels it.
 */
export function queueNotification(
  notification: Omit<NewNotification, "delayMs" | "delay" | "deliverAt">,
  delayMs: number,
  options: ServerOptions = {},
): Promise<string> {
  return sendNotification({ ...notification, delayMs }, options);
}

/**
 * Tells users who are there now, over sockets, event streams and, for five minutes, polls. Nothing is stored in an inbox,
 * and what does not arrive is not repeated. Returns the event's id.
 * Like a send, it is retried with the same key, so each device shows it once.
 */
export async function emitEvent(event: NewEvent, options: ServerOptions = {}): Promise<string> {
  return (await post<{ eventId: string }>("/api/events/emit", event, options)).eventId;
}

/** Emits an announcement, with `type` as its name. */
export function emitNotification(
  title: string,
  message: string,
  { type, ...to }: EventAudience & { readonly type?: string },
  options: ServerOptions = {},
): Promise<string> {
  return emitEvent(
    { ...to, type: "announcement", title, body: message, ...(type !== undefined && { name: type }) },
    options,
  );
}

/** Emits what a dashboard shows. `name` says which part of it. */
export function emitDashboardUpdate(
  name: string,
  data: Readonly<Record<string, unknown>>,
  to: EventAudience,
  options: ServerOptions = {},
): Promise<string> {
  return emitEvent({ ...to, type: "dashboard", name, data }, options);
}

/** The state of the system. Requires `notify:admin`. */
export async function getMetrics(options: ServerOptions = {}): Promise<Metrics> {
  return (await httpFor(options).call("GET", "/api/notifications/metrics/redis")).body as Metrics;
}

/** The caller's own sends, newest first. With `notify:admin`, the sends of all callers. */
export async function getHistory(query: HistoryQuery, options: ServerOptions = {}): Promise<History> {
  const present = Object.entries(query).filter(([, value]) => value !== undefined);
  const parameters = new URLSearchParams(present.map(([name, value]) => [name, String(value)]));
  return (await httpFor(options).call("GET", `/api/notifications/history?${parameters}`)).body as History;
}

/** Posts until there is an answer that is not temporary, each time with the same key. */
async function post<T>(path: string, body: { readonly idempotencyKey?: string }, options: ServerOptions): Promise<T> {
  const http = httpFor(options);
  // The server requires the header to match a key in the body.
  const headers = { "idempotency-key": body.idempotencyKey ?? crypto.randomUUID() };
  const untilMs = Date.now() + (options.withinMs ?? WITHIN_MS);
  for (let failures = 1; ; failures++) {
    try {
      return (await http.call("POST", path, { body, headers })).body as T;
    } catch (thrown) {
      const error = asError(thrown);
      const wait = backoffMs(failures, Math.random, error.retryAfterMs);
      if (!isTemporary(error) || Date.now() + wait > untilMs) throw error;
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

function httpFor({ baseUrl, token, getToken, fetch }: ServerOptions): Http {
  // At once, so that a missing one is not taken for an identity provider that is away, which would be asked again.
  const own = getToken ? "" : (token ?? variable("CARILLON_TOKEN"));
  return createHttp({
    baseUrl: baseUrl ?? variable("CARILLON_URL"),
    getToken: getToken ?? (() => own),
    fetch: fetch ?? ((input, init) => globalThis.fetch(input, init)),
  });
}

/** A variable of the environment, which not every runtime has. */
function variable(name: string): string {
  const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } };
  const value = process?.env?.[name];
  if (!value) throw new Error(`${name} is not set, and the call does not say what to use in its place`);
  return value;
}
