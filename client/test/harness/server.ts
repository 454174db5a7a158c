// An in-memory server that fulfils the contract, and can be made to refuse, lose, delay or falsify responses.

import type { Notification } from "../../src/index.js";
import { expiryOf, subOf } from "./token.js";

export const BASE_URL = "http://carillon.test";

interface Row {
  readonly notification: Notification;
  version: number;
  isDeleted: boolean;
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body: Record<string, unknown> | undefined;
  readonly headers: Headers;
}

type Fault = (call: Call) => Response | Promise<Response | undefined> | undefined;

export interface Sent {
  title?: string;
  type?: string;
  expiresAt?: string;
  data?: Record<string, unknown>;
  /** How its frame is sent. Default: `pushed`, at once. */
  frame?: "pushed" | "lost" | "fetch" | "held";
  replaces?: string[];
}

export class FakeServer {
  epoch = "e1";
  readonly rows: Map<string, Row> = new Map();
  readonly calls: Call[] = [];
  readonly sockets: FakeSocket[] = [];
  readonly acked: string[] = [];
  head = 0;
  /** The oldest version that `since` may refer to. */
  purgedThrough = 0;
  readonly user: string;
  maxSync = 200;
  areSocketsRefused = false;
  fault: Fault = () => undefined;
  /** The user of each ticket. */
  private readonly tickets: Map<string, string> = new Map();
  private readonly others: Map<string, FakeServer> = new Map();
  private sentCount = 0;

  constructor(user = "alice") {
    this.user = user;
  }

  get cursor(): string {
    return `${this.epoch}.${this.head}`;
  }

  get unreadCount(): number {
    return this.live().filter(({ notification }) => notification.readAt === null).length;
  }

  get openSockets(): FakeSocket[] {
    return this.sockets.filter((socket) => socket.readyState === 1);
  }

  private get etag(): string {
    return `"${this.cursor}/${this.unreadCount}"`;
  }

  private live(): Row[] {
    return [...this.rows.values()].filter((row) => !row.isDeleted);
  }

  callsTo(path: string): Call[] {
    return this.calls.filter((call) => call.path.startsWith(path));
  }

  /** Puts a notification into the inbox, and returns it with its frame. */
  send(sent: Sent = {}): Notification & { frame: object } {
    const prev = this.cursor;
    for (const id of sent.replaces ?? []) this.remove(id);
    this.head++;
    const id = `n${++this.sentCount}`;
    const notification: Notification = {
      id,
      type: sent.type ?? "like",
      title: sent.title ?? id,
      body: null,
      data: sent.data ?? {},
      actionUrl: null,
      priority: "normal",
      createdAt: new Date().toISOString(),
      readAt: null,
      expiresAt: sent.expiresAt ?? null,
      collapseKey: null,
      cursor: this.cursor,
    };
    this.rows.set(id, { notification, version: this.head, isDeleted: false });
    const step = { cursor: this.cursor, prev };
    const { unreadCount, replaces } = { unreadCount: this.unreadCount, ...sent };
    const frame =
      sent.frame === "fetch"
        ? { type: "fetch", ...step, id }
        : { type: "notification", ...step, notification, unreadCount, ...(replaces && { replaces }) };
    if (sent.frame !== "lost" && sent.frame !== "held") this.push(frame);
    return { ...notification, frame };
  }

  private remove(id: string): void {
    const row = this.rows.get(id);
    if (!row) return;
    row.isDeleted = true;
    row.version = ++this.head;
  }

  push(frame: unknown): void {
    const text = typeof frame === "string" ? frame : JSON.stringify(frame);
    for (const socket of this.openSockets) if (socket.user === this.user) socket.receive(text);
  }

  /** Makes a change, as any device can, and pushes it to all devices. */
  change(change: "read" | "unread" | "deleted", ids: string[], isPushed = true): object | null {
    const prev = this.cursor;
    const changed: string[] = [];
    for (const id of ids) {
      const row = this.rows.get(id);
      if (!row || row.isDeleted) continue;
      if (change !== "deleted") {
        if ((row.notification.readAt === null) === (change === "unread")) continue;
        const readAt = change === "read" ? new Date().toISOString() : null;
        this.rows.set(id, { ...row, notification: { ...row.notification, readAt }, version: ++this.head });
      } else this.remove(id);
      changed.push(id);
    }
    if (changed.length === 0) return null;
    const frame = { type: "changed", cursor: this.cursor, prev, ids: changed, change, unreadCount: this.unreadCount };
    if (isPushed) this.push(frame);
    return frame;
  }

  /** Starts a new epoch with an empty inbox, like a new database. */
  startNewEpoch(): void {
    this.epoch = "e2";
    this.head = 0;
    this.rows.clear();
  }

  readonly fetch: typeof fetch = async (input, init = {}) => {
    const url = new URL(String(input));
    const headers = new Headers(init.headers);
    const call: Call = {
      method: init.method ?? "GET",
      path: url.pathname + url.search,
      body: typeof init.body === "string" ? JSON.parse(init.body) : undefined,
      headers,
    };
    this.calls.push(call);
    const faulty = await this.fault(call);
    if (init.signal?.aborted) throw new Error("aborted");
    return faulty ?? this.respond(call, url);
  };

  private respond(call: Call, url: URL): Response {
    const bearer = call.headers.get("authorization")?.slice(7) ?? "";
    if (expiryOf(bearer) <= Date.now()) return refusal(401, "token_expired");
    return this.inboxOf(subOf(bearer)).serve(call, url, expiryOf(bearer), this.tickets);
  }

  /** Every other user has an empty inbox. */
  private inboxOf(user: string): FakeServer {
    if (user === this.user) return this;
    const other = this.others.get(user) ?? new FakeServer(user);
    this.others.set(user, other);
    return other;
  }

  private serve(call: Call, url: URL, expiresMs: number, tickets: Map<string, string>): Response {
    const route = `${call.method} ${url.pathname}`;
    const one = /^(GET|POST|DELETE) \/api\/notifications\/(n\d+)(?:\/(read|unread))?$/.exec(route);
    if (one) {
      const [, method, id = "", change] = one;
      const isThere = this.rows.get(id)?.isDeleted === false;
      if (!isThere && method !== "DELETE") return refusal(404, "not_found");
      this.change(method === "DELETE" ? "deleted" : (change as "read"), [id]);
      return new Response(null, { status: 204 });
    }
    switch (route) {
      case "POST /api/ws/ticket": {
        const ticket = `t${tickets.size}`;
        tickets.set(ticket, this.user);
        const expiresAt = new Date(Math.min(Date.now() + 30_000, expiresMs)).toISOString();
        return json(201, { ticket, expiresAt, url: "ws://carillon.test/live", eventsUrl: null });
      }
      case "GET /api/notifications":
        return json(200, this.list(url));
      case "GET /api/sync":
        return this.sync(url, call.headers.get("if-none-match"));
      case "POST /api/notifications/read-all": {
        const { type, before } = call.body ?? {};
        const bound = Number(String(before ?? this.cursor).split(".")[1]);
        const ids = this.live()
          .map(({ notification }) => notification)
          .filter((item) => (!type || item.type === type) && Number(item.cursor.split(".")[1]) <= bound)
          .map(({ id }) => id);
        this.change("read", ids);
        return json(200, { updated: ids.length });
      }
      default:
        return refusal(404, "not_found");
    }
  }

  private list(url: URL): object {
    const limit = Number(url.searchParams.get("limit") ?? 50);
    const from = Number(url.searchParams.get("cursor") ?? Number.POSITIVE_INFINITY);
    const offsetOf = ({ cursor }: Notification): number => Number(cursor.split(".")[1]);
    const all = this.live()
      .map(({ notification }) => notification)
      .sort((a, b) => offsetOf(b) - offsetOf(a))
      .filter((item) => offsetOf(item) < from);
    const items = all.slice(0, limit);
    const last = items.at(-1);
    const nextCursor = all.length > limit && last ? String(offsetOf(last)) : null;
    return { items, nextCursor, unreadCount: this.unreadCount, cursor: this.cursor };
  }

  private sync(url: URL, known: string | null): Response {
    const [epoch, offset] = (url.searchParams.get("since") ?? "").split(".");
    const since = Number(offset);
    if (epoch !== this.epoch || since > this.head || since < this.purgedThrough) return refusal(410, "cursor_expired");
    if (known === this.etag && since === this.head) return new Response(null, { status: 304 });
    const changed = [...this.rows.values()].filter((row) => row.version > since).sort((a, b) => a.version - b.version);
    const part = changed.slice(0, this.maxSync);
    const complete = part.length === changed.length;
    return json(200, {
      notifications: part.filter((row) => !row.isDeleted).map((row) => row.notification),
      deleted: part.filter((row) => row.isDeleted).map((row) => row.notification.id),
      unreadCount: this.unreadCount,
      cursor: complete ? this.cursor : `${this.epoch}.${part.at(-1)?.version}`,
      etag: this.etag,
      complete,
      ...(complete && { chats: [], chatsComplete: true, events: [] }),
    });
  }

  connected(socket: FakeSocket, url: URL): boolean {
    this.sockets.push(socket);
    socket.user = this.redeem(url.searchParams.get("ticket"));
    return !this.areSocketsRefused && socket.user !== null;
  }

  private redeem(ticket: unknown): string | null {
    const user = this.tickets.get(String(ticket));
    if (!user) return null;
    this.tickets.set(String(ticket), "");
    return user;
  }

  /** Handles a frame from a socket. */
  received(socket: FakeSocket, text: string): void {
    const { action, ref, cursor } = JSON.parse(text);
    const own = this.inboxOf(socket.user ?? this.user);
    const reply = (frame: object): void => socket.receive(JSON.stringify({ ...frame, ref }));
    switch (action) {
      case "ping":
        return reply({ type: "pong", cursor: own.cursor, etag: own.etag });
      case "ack":
        this.acked.push(cursor);
        return;
      case "auth":
        if (!this.redeem(JSON.parse(text).ticket)) return reply({ type: "error", code: "invalid_ticket" });
        return reply({ type: "ok", expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
      default:
        throw new Error(`the fake server does not support ${action}`);
    }
  }

  /** A WebSocket class whose sockets connect to this server. */
  get WebSocket(): typeof WebSocket {
    const server = this;
    return class extends FakeSocket {
      constructor(url: string | URL) {
        super(server, new URL(url));
      }
    } as unknown as typeof WebSocket;
  }
}

export class FakeSocket {
  readyState = 0;
  /** Simulates a network that fails without closing the socket. */
  isDead = false;
  readonly sent: { action: string; [member: string]: unknown }[] = [];
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onerror: (() => void) | null = null;
  onclose: ((event: { code: number; reason: string }) => void) | null = null;

  readonly url: URL;
  user: string | null = null;
  private readonly server: FakeServer;

  constructor(server: FakeServer, url: URL) {
    this.server = server;
    this.url = url;
    const isAccepted = server.connected(this, url);
    queueMicrotask(() => {
      if (this.readyState !== 0 || this.isDead) return;
      if (!isAccepted) return this.end(1006);
      this.readyState = 1;
      this.onopen?.();
    });
  }

  send(text: string): void {
    this.sent.push(JSON.parse(text));
    if (!this.isDead) queueMicrotask(() => this.server.received(this, text));
  }

  receive(data: unknown): void {
    if (!this.isDead && this.readyState === 1) this.onmessage?.({ data });
  }

  close(): void {
    this.readyState = 3;
  }

  /** Closes it from the server's side. */
  end(code = 1001): void {
    this.readyState = 3;
    this.onclose?.({ code, reason: "" });
  }
}

export function json(status: number, body: unknown): Response {
  return new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });
}

export function refusal(status: number, code: string, retryAfterMs?: number): Response {
  return json(status, { error: { code, message: code, requestId: "q1", ...(retryAfterMs && { retryAfterMs }) } });
}

export function html(status: number): Response {
  return new Response("<!doctype html><title>Sign in</title>", { status, headers: { "content-type": "text/html" } });
}
