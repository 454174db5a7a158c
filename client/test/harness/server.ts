// An in-memory server that fulfils the contract, and can be made to refuse, lose, delay or falsify responses.

import type { EmittedEvent, Notification, StoredNotification } from "../../src/index.js";
import { FakeChats } from "./chats.js";
import { FakePresence } from "./presence.js";
import { FakePushes } from "./pushes.js";
import { json, refusal } from "./response.js";
import { FakeStream } from "./stream.js";
import { expiryOf, subOf } from "./token.js";

export { html, json, refusal } from "./response.js";

export const BASE_URL = "http://carillon.test";

interface Row {
  readonly notification: StoredNotification;
  version: number;
  isDeleted: boolean;
}

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body: Record<string, unknown> | undefined;
  readonly headers: Headers;
}

interface ChangeFrame {
  readonly action: "read" | "unread" | "delete" | "readAll";
  readonly ids?: string[];
  readonly type?: string;
  readonly before?: string;
}

type Fault = (call: Call) => Response | Promise<Response | undefined> | undefined;

export interface Sent {
  title?: string;
  type?: string;
  body?: string;
  actionUrl?: string;
  priority?: StoredNotification["priority"];
  createdAt?: string;
  expiresAt?: string;
  data?: Record<string, unknown>;
  /** How its frame is sent. Default: `pushed`, at once. */
  frame?: "pushed" | "lost" | "fetch" | "held";
  replaces?: string[];
  silent?: boolean;
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
  readonly streams: FakeStream[] = [];
  /** What tickets tell of event streams. */
  eventsUrl: string | null = null;
  readonly emitted: EmittedEvent[] = [];
  /** Notifications that only Redis has, in the order in which it took them. */
  log: Notification[] = [];
  /** Redis is away: what it has cannot be written now. */
  isRedisAway = false;
  pingEveryMs: unknown = 60_000;
  fault: Fault = () => undefined;
  /** The user of each ticket. */
  private readonly tickets: Map<string, string> = new Map();
  private readonly others: Map<string, FakeServer> = new Map();
  private sentCount = 0;
  readonly chats: FakeChats;
  readonly presence: FakePresence;
  readonly pushes: FakePushes = new FakePushes();
  preferences: Record<string, unknown> = { types: {}, quietHours: null, mutedChats: {} };

  constructor(user = "alice", chats?: FakeChats) {
    this.user = user;
    this.chats = chats ?? new FakeChats((member, frame) => this.pushTo(member, frame));
    this.presence = new FakePresence(this.chats, (viewer, frame) => this.pushTo(viewer, frame));
  }

  get cursor(): string {
    return `${this.epoch}.${this.head}`;
  }

  get unreadCount(): number {
    return this.live().filter(({ notification }) => notification.readAt === null).length;
  }

  /** The number of unread notifications of a type. */
  unreadOf(type: string | null): number {
    const unread = this.live().filter(({ notification }) => notification.readAt === null);
    return unread.filter(({ notification }) => [null, notification.type].includes(type)).length;
  }

  get openSockets(): FakeSocket[] {
    return this.sockets.filter((socket) => socket.readyState === 1);
  }

  get openStreams(): FakeStream[] {
    return this.streams.filter(({ isOpen }) => isOpen);
  }

  /** In two parts: of the inbox and the chats, and of the newest emitted event. */
  private get etag(): string {
    const chats = this.chats.summaries(this.user);
    const record = `${this.cursor}/${this.unreadCount}${chats.length > 0 ? JSON.stringify(chats) : ""}`;
    return `"${record.replace(/[".]/g, "-")}.${this.emitted.at(-1)?.id ?? 0}"`;
  }

  private live(): Row[] {
    return [...this.rows.values()].filter((row) => !row.isDeleted);
  }

  /** Change frames that sockets sent. */
  get changeFrames(): FakeSocket["sent"] {
    const changes = new Set(["read", "unread", "delete", "readAll"]);
    return this.sockets.flatMap(({ sent }) => sent).filter(({ action }) => changes.has(action));
  }

  callsTo(path: string): Call[] {
    return this.calls.filter((call) => call.path.startsWith(path));
  }

  /** Puts a notification into the inbox, and returns it with its frame. */
  send(sent: Sent = {}): StoredNotification & { frame: object } {
    this.drain();
    return this.write(this.make(sent), sent);
  }

  /** Accepts a notification into Redis alone, and returns it with its frame. */
  sendFast(sent: Sent = {}): Notification & { frame: object } {
    const notification = this.make(sent);
    const frame = { type: "notification", cursor: null, prev: null, notification, unreadCount: null };
    this.log.push(notification);
    if (sent.frame !== "lost" && sent.frame !== "held") this.push(frame);
    return { ...notification, frame };
  }

  /** Writes what only Redis has, as whatever reads or changes the inbox does first. Returns the frames. */
  drain(sent: Sent = {}): object[] {
    if (this.isRedisAway) return [];
    return this.log.splice(0).map((notification) => this.write(notification, sent).frame);
  }

  private make(sent: Sent): Notification {
    const id = `n${++this.sentCount}`;
    return {
      id,
      type: sent.type ?? "like",
      title: sent.title ?? id,
      body: sent.body ?? null,
      data: sent.data ?? {},
      actionUrl: sent.actionUrl ?? null,
      priority: sent.priority ?? "normal",
      createdAt: sent.createdAt ?? new Date().toISOString(),
      readAt: null,
      expiresAt: sent.expiresAt ?? null,
      collapseKey: null,
      silent: sent.silent ?? false,
      cursor: null,
    };
  }

  private write(accepted: Notification, sent: Sent): StoredNotification & { frame: object } {
    const prev = this.cursor;
    for (const id of sent.replaces ?? []) this.remove(id);
    this.head++;
    const { id } = accepted;
    const notification: StoredNotification = { ...accepted, cursor: this.cursor };
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
    this.pushTo(this.user, frame);
  }

  private pushTo(user: string, frame: unknown): void {
    const text = typeof frame === "string" ? frame : JSON.stringify(frame);
    for (const socket of this.openSockets) if (socket.user === user) socket.receive(text);
    for (const stream of this.openStreams) if (stream.user === user) stream.event(text);
  }

  /** Emits an event. `lost`: no connection gets it. */
  emit(event: Pick<EmittedEvent, "type" | "id">, isLost = false): void {
    const whole: EmittedEvent = { name: null, title: null, body: null, data: {}, ...event };
    this.emitted.push(whole);
    if (!isLost) this.push(whole);
  }

  /** What an event stream tells every so often. */
  get pong(): object {
    return { type: "pong", cursor: this.cursor, etag: this.etag };
  }

  /** Ends the snooze of a notification, and returns the frame. */
  wake(id: string, isPushed = true): object {
    const row = this.rows.get(id);
    if (!row?.isDeleted) throw new Error(`${id} is not snoozed`);
    const prev = this.cursor;
    this.head++;
    const notification = { ...row.notification, readAt: null, cursor: this.cursor };
    this.rows.set(id, { notification, version: this.head, isDeleted: false });
    const step = { cursor: this.cursor, prev, unreadCount: this.unreadCount };
    const frame = { type: "notification", ...step, notification };
    if (isPushed) this.push(frame);
    return frame;
  }

  /** Makes a change, as any device can, and pushes it to all devices. */
  change(change: "read" | "unread" | "deleted" | "snoozed", ids: string[], isPushed = true): object | null {
    this.drain();
    const prev = this.cursor;
    const changed: string[] = [];
    for (const id of ids) {
      const row = this.rows.get(id);
      if (!row || row.isDeleted) continue;
      if (change === "read" || change === "unread") {
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
    const response = faulty ?? this.respond(call, url);
    const stream = this.streams.find((opened) => opened.response === response);
    if (stream) init.signal?.addEventListener("abort", () => stream.left());
    return response;
  };

  private respond(call: Call, url: URL): Response {
    if (url.pathname === "/api/events") return this.openStream(url);
    const bearer = call.headers.get("authorization")?.slice(7) ?? "";
    if (expiryOf(bearer) <= Date.now()) return refusal(401, "token_expired");
    if (url.pathname.startsWith("/api/chats")) return this.chats.serve(subOf(bearer), call, url);
    if (url.pathname.startsWith("/api/push/")) return this.pushes.serve(subOf(bearer), call);
    if (url.pathname === "/api/presence") return this.presence.serve(subOf(bearer), url);
    return this.inboxOf(subOf(bearer)).serve(call, url, expiryOf(bearer), this.tickets);
  }

  /** Every other user has an empty inbox. */
  private inboxOf(user: string): FakeServer {
    if (user === this.user) return this;
    const other = this.others.get(user) ?? new FakeServer(user, this.chats);
    this.others.set(user, other);
    return other;
  }

  private serve(call: Call, url: URL, expiresMs: number, tickets: Map<string, string>): Response {
    if (url.pathname !== "/api/ws/ticket") this.drain();
    const route = `${call.method} ${url.pathname}`;
    const one = /^(GET|POST|DELETE) \/api\/notifications\/(n\d+)(?:\/(read|unread|snooze))?$/.exec(route);
    if (one) {
      const [, method, id = "", change] = one;
      const isThere = this.rows.get(id)?.isDeleted === false;
      if (!isThere && method !== "DELETE") return refusal(404, "not_found");
      if (method === "GET") return json(200, this.rows.get(id)?.notification);
      if (change === "snooze") this.change("snoozed", [id]);
      else this.change(method === "DELETE" ? "deleted" : (change as "read"), [id]);
      return new Response(null, { status: 204 });
    }
    switch (route) {
      case "POST /api/ws/ticket": {
        const ticket = `t${tickets.size}`;
        tickets.set(ticket, this.user);
        const expiresAt = new Date(Math.min(Date.now() + 30_000, expiresMs)).toISOString();
        const { pingEveryMs, eventsUrl } = this;
        return json(201, { ticket, expiresAt, url: "ws://carillon.test/live", eventsUrl, pingEveryMs });
      }
      case "GET /api/notifications":
        return json(200, this.list(url));
      case "GET /api/notifications/unread-count":
        return json(200, { count: this.unreadOf(url.searchParams.get("type")) });
      case "PUT /api/preferences":
        this.preferences = call.body ?? {};
        return json(200, this.preferences);
      case "GET /api/preferences":
        return json(200, this.preferences);
      case "POST /api/ack":
        this.acked.push(String(call.body?.["cursor"]));
        return new Response(null, { status: 204 });
      case "GET /api/sync":
        return this.sync(url, call.headers.get("if-none-match"));
      case "POST /api/notifications/read-all": {
        const { type, before } = call.body ?? {};
        return json(200, { updated: this.readAll(type, before) });
      }
      default:
        return refusal(404, "not_found");
    }
  }

  private readAll(type: unknown, before: unknown): number {
    const bound = Number(String(before ?? this.cursor).split(".")[1]);
    const ids = this.live()
      .map(({ notification }) => notification)
      .filter((item) => (!type || item.type === type) && Number(item.cursor.split(".")[1]) <= bound)
      .map(({ id }) => id);
    this.change("read", ids);
    return ids.length;
  }

  private list(url: URL): object {
    const limit = Number(url.searchParams.get("limit") ?? 50);
    const from = Number(url.searchParams.get("cursor") ?? Number.POSITIVE_INFINITY);
    const offsetOf = ({ cursor }: StoredNotification): number => Number(cursor.split(".")[1]);
    const all = this.live()
      .map(({ notification }) => notification)
      .sort((a, b) => offsetOf(b) - offsetOf(a))
      .filter((item) => offsetOf(item) < from)
      .filter((item) => [null, item.type].includes(url.searchParams.get("type")))
      .filter((item) => url.searchParams.get("unread") !== "true" || item.readAt === null);
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
      ...(complete && { chats: this.chats.summaries(this.user), chatsComplete: true, events: this.emitted }),
    });
  }

  /** Opens an event stream, which begins with what changed after `since`. */
  private openStream(url: URL): Response {
    const user = this.redeem(url.searchParams.get("ticket"));
    if (user === null) return refusal(401, "invalid_ticket");
    this.drain();
    const stream = new FakeStream(user, url.searchParams.get("since"));
    this.streams.push(stream);
    stream.write(":\n\n");
    if (stream.since !== null) for (const frame of this.changesAfter(stream.since)) stream.event(JSON.stringify(frame));
    stream.event(JSON.stringify(this.pong));
    return stream.response;
  }

  private changesAfter(since: string): object[] {
    let prev = since;
    const after = Number(since.split(".")[1]);
    const changed = [...this.rows.values()].filter((row) => row.version > after).sort((a, b) => a.version - b.version);
    return changed.map(({ version, isDeleted, notification }) => {
      const step = { prev, cursor: `${this.epoch}.${version}`, unreadCount: this.unreadCount };
      prev = step.cursor;
      return isDeleted
        ? { type: "changed", ...step, ids: [notification.id], change: "deleted" }
        : { type: "notification", ...step, notification };
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
        own.drain();
        return reply({ type: "pong", cursor: own.cursor, etag: own.etag });
      case "ack":
        this.acked.push(cursor);
        return;
      case "auth":
        if (!this.redeem(JSON.parse(text).ticket)) return reply({ type: "error", code: "invalid_ticket" });
        return reply({ type: "ok", expiresAt: new Date(Date.now() + 3_600_000).toISOString() });
      case "read":
      case "unread":
      case "delete":
      case "readAll":
        void this.carryOut(own, JSON.parse(text)).then((frame) => frame && reply(frame));
        return;
      case "sendMessage":
      case "readChat":
      case "typing": {
        const answer = this.chats.received(socket.user ?? this.user, JSON.parse(text));
        return answer ? reply(answer) : undefined;
      }
      case "presence":
        return reply(this.presence.tell(socket.user ?? this.user, JSON.parse(text).userIds));
      default:
        throw new Error(`the fake server does not support ${action}`);
    }
  }

  /** Carries out a change frame. It meets the same faults as the calls that would do the same. */
  private async carryOut(own: FakeServer, frame: ChangeFrame): Promise<object | null> {
    const { action, ids = [], type, before } = frame;
    const paths = ids.map((id) => `/api/notifications/${id}${action === "delete" ? "" : `/${action}`}`);
    if (action === "readAll") paths.push("/api/notifications/read-all");
    const gone = new Set<string>();
    for (const [n, path] of paths.entries()) {
      try {
        const body = { ...(type && { type }), ...(before && { before }) };
        const call = { method: action === "delete" ? "DELETE" : "POST", path, body, headers: new Headers() };
        const response = await this.fault(call);
        // In a frame, notifications that are not there are skipped.
        if (response?.status === 404) gone.add(ids[n] ?? "");
        else if (response && response.status >= 400) {
          const { error } = (await response.clone().json()) as { error: object };
          return { type: "error", retryable: response.status >= 500 || response.status === 429, ...error };
        } else if (response && response.status !== 204) return null;
        else if (response) gone.add(ids[n] ?? "");
      } catch {
        return null;
      }
    }
    const left = ids.filter((id) => !gone.has(id));
    if (action !== "readAll") {
      own.change(action === "delete" ? "deleted" : action, left);
      return { type: "ok" };
    }
    return { type: "ok", updated: own.readAll(type, before) };
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
