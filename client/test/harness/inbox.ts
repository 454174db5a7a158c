// What an in-memory server has of one user, by the rules of the contract: notifications, events and preferences.

import type { EmittedEvent, Notification, StoredNotification } from "../../src/index.js";
import { json, refusal } from "./response.js";

interface Row {
  readonly notification: StoredNotification;
  version: number;
  isDeleted: boolean;
}

interface Call {
  readonly method: string;
  readonly body: Record<string, unknown> | undefined;
}

interface Page {
  readonly notifications: readonly StoredNotification[];
  readonly deleted: readonly string[];
  readonly unreadCount: number;
  readonly cursor: string;
  readonly complete: boolean;
}

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

export class FakeInbox {
  readonly user: string;
  epoch = "e1";
  readonly rows: Map<string, Row> = new Map();
  head = 0;
  /** The oldest version that `since` may refer to. */
  purgedThrough = 0;
  maxSync = 200;
  /** Notifications that only Redis has, in the order in which it took them. */
  log: Notification[] = [];
  /** Redis is away: what it has cannot be written now. */
  isRedisAway = false;
  readonly emitted: EmittedEvent[] = [];
  preferences: Record<string, unknown> = { types: {}, quietHours: null, mutedChats: {} };
  private sentCount = 0;

  constructor(user: string) {
    this.user = user;
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

  /** Sends a frame to the devices of the user. An inbox without a server has none. */
  push(_frame: unknown): void {}

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

  /** Emits an event. `lost`: no connection gets it. */
  emit(event: Pick<EmittedEvent, "type" | "id">, isLost = false): void {
    const whole: EmittedEvent = { name: null, title: null, body: null, data: {}, ...event };
    this.emitted.push(whole);
    if (!isLost) this.push(whole);
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

  serve(call: Call, url: URL): Response {
    this.drain();
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
      case "GET /api/notifications":
        return json(200, this.list(url));
      case "GET /api/notifications/unread-count":
        return json(200, { count: this.unreadOf(url.searchParams.get("type")) });
      case "POST /api/notifications/read-all": {
        const { type, before } = call.body ?? {};
        return json(200, { updated: this.readAll(type, before) });
      }
      case "PUT /api/preferences":
        this.preferences = call.body ?? {};
        return json(200, this.preferences);
      case "GET /api/preferences":
        return json(200, this.preferences);
      default:
        return refusal(404, "not_found");
    }
  }

  /** Marks as read what is not behind `before`, and returns how many changed. */
  readAll(type: unknown, before: unknown): number {
    const bound = Number(String(before ?? this.cursor).split(".")[1]);
    const ids = this.live()
      .map(({ notification }) => notification)
      .filter((item) => (!type || item.type === type) && Number(item.cursor.split(".")[1]) <= bound)
      .map(({ id }) => id);
    this.change("read", ids);
    return ids.length;
  }

  /** A frame for each notification that changed after a cursor, as an event stream begins. */
  changesAfter(since: string): object[] {
    let prev = since;
    const after = Number(since.split(".")[1]);
    return this.changed(after).map(({ version, isDeleted, notification }) => {
      const step = { prev, cursor: `${this.epoch}.${version}`, unreadCount: this.unreadCount };
      prev = step.cursor;
      return isDeleted
        ? { type: "changed", ...step, ids: [notification.id], change: "deleted" }
        : { type: "notification", ...step, notification };
    });
  }

  /** A page of what changed after a cursor, for a catch-up. `null`: the cursor has expired. */
  pageAfter(since: string): Page | null {
    const [epoch, offset] = since.split(".");
    const after = Number(offset);
    if (epoch !== this.epoch || after > this.head || after < this.purgedThrough) return null;
    const changed = this.changed(after);
    const part = changed.slice(0, this.maxSync);
    const complete = part.length === changed.length;
    return {
      notifications: part.filter((row) => !row.isDeleted).map((row) => row.notification),
      deleted: part.filter((row) => row.isDeleted).map((row) => row.notification.id),
      unreadCount: this.unreadCount,
      cursor: complete ? this.cursor : `${this.epoch}.${part.at(-1)?.version}`,
      complete,
    };
  }

  private changed(after: number): Row[] {
    return [...this.rows.values()].filter((row) => row.version > after).sort((a, b) => a.version - b.version);
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

  private live(): Row[] {
    return [...this.rows.values()].filter((row) => !row.isDeleted);
  }
}
