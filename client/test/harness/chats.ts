// The chats of an in-memory server, by the rules of the contract. Frames of messages can be lost or held back.

import type { Chat, Message, StoredMessage } from "../../src/chat.js";
import { json, refusal } from "./response.js";

interface Membership {
  role: "owner" | "member";
  readSeq: number;
  clearedSeq: number;
  hiddenSeq: number;
}

interface Row {
  readonly id: string;
  readonly kind: Chat["kind"];
  readonly createdBy: string;
  readonly createdAt: string;
  readonly clientId: string | undefined;
  readonly members: Map<string, Membership>;
  readonly messages: StoredMessage[];
  title: string | null;
  status: Chat["status"];
  declinedBy: string | null;
  version: number;
}

interface Call {
  readonly method: string;
  readonly body: Record<string, unknown> | undefined;
}

/** So many members stand in a chat itself, besides the user. */
const MAX_PARTICIPANTS = 20;

type Push = (user: string, frame: object) => void;
type Answer = [status: number, body?: unknown];

const refuse = (status: number, code: string): Refused => new Refused(status, code);

class Refused extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string) {
    super(code);
    this.status = status;
    this.code = code;
  }
}

export class FakeChats {
  readonly rows: Map<string, Row> = new Map();
  /** What happens to the frames of messages. */
  frames: "pushed" | "lost" | "held" | "fetch" = "pushed";
  readonly held: (() => void)[] = [];
  maxPage = 200;
  /** Messages that only Redis has, in the order in which it took them. */
  log: { readonly row: Row; readonly message: Message }[] = [];
  /** How a message is accepted that does not say. */
  accept: "durable" | "fast" = "durable";
  /** Redis is away: what it has cannot be written now. */
  isRedisAway = false;
  private count = 0;
  private readonly push: Push;

  constructor(push: Push) {
    this.push = push;
  }

  /** An accepted chat, made without any frame. */
  between(creator: string, other: string, kind: Chat["kind"] = "direct"): string {
    const row = this.create(creator, { kind, participantIds: [other] }, false);
    row.status = "ACCEPTED";
    return row.id;
  }

  say(chatId: string, user: string, body: string, clientId: string = `${user}-${++this.count}`): Message {
    return this.write(this.rows.get(chatId) as Row, user, { clientId, body }).message;
  }

  /** Says something that is accepted by Redis alone. */
  sayFast(chatId: string, user: string, body: string, clientId: string = `${user}-${++this.count}`): Message {
    return this.write(this.rows.get(chatId) as Row, user, { clientId, body, accept: "fast" }).message;
  }

  /** Writes what only Redis has: all, or that of one chat, as whatever reads or changes the chat does first. */
  drain(row?: Row): void {
    if (this.isRedisAway) return;
    const due = this.log.filter((entry) => row === undefined || entry.row === row);
    this.log = this.log.filter((entry) => !due.includes(entry));
    for (const { row, message } of due) this.store(row, { ...message, seq: lastSeq(row) + 1, durability: "durable" });
  }

  /** Erases a user: its messages say nothing, and the version of their chat grows. */
  erase(user: string, isTold = true): void {
    for (const row of this.rows.values()) {
      const { members, messages } = row;
      members.delete(user);
      for (const [index, message] of messages.entries()) {
        const erased = { ...message, senderId: null, clientId: null, body: "", erased: true };
        if (message.senderId === user) messages[index] = erased;
      }
      const [first = ""] = members.keys();
      if (isTold) this.changed(row, first);
      else row.version++;
    }
  }

  bodies(chatId: string): string[] {
    return this.rows.get(chatId)?.messages.map(({ body }) => body) ?? [];
  }

  member(chatId: string, user: string): Membership {
    return this.rows.get(chatId)?.members.get(user) as Membership;
  }

  /** Whether two users share an accepted chat. */
  know(one: string, other: string): boolean {
    return [...this.rows.values()].some(
      ({ status, members }) => status === "ACCEPTED" && one !== other && members.has(one) && members.has(other),
    );
  }

  release(): void {
    for (const push of this.held.splice(0)) push();
  }

  serve(user: string, call: Call, url: URL): Response {
    try {
      const [status, body] = this.answer(user, call, url);
      return body === undefined ? new Response(null, { status }) : json(status, body);
    } catch (thrown) {
      if (thrown instanceof Refused) return refusal(thrown.status, thrown.code);
      throw thrown;
    }
  }

  /** Handles a frame; returns the reply, if there is one. */
  received(user: string, frame: Record<string, unknown>): object | null {
    const { action, chatId } = frame;
    try {
      const row = this.find(user, String(chatId));
      if (action !== "sendMessage") this.drain(row);
      if (action === "sendMessage") {
        const { message } = this.write(row, user, frame);
        const isLarge = this.frames === "fetch";
        return isLarge ? { type: "fetch", chatId, seq: message.seq } : { type: "sent", message };
      }
      if (action === "readChat") return { type: "ok", unread: this.read(row, user, Number(frame["seq"])) };
      this.tell(row, { type: "typing", chatId, userId: user, on: frame["on"] }, user);
      return null;
    } catch (thrown) {
      if (!(thrown instanceof Refused)) throw thrown;
      return { type: "error", code: thrown.code, message: thrown.code, retryable: false };
    }
  }

  summaries(user: string): object[] {
    this.drain();
    return this.of(user, false).map((row) => {
      const { lastSeq, readSeq, unread, status, version } = this.show(row, user);
      return { chatId: row.id, lastSeq, readSeq, unread, status, version };
    });
  }

  private answer(user: string, { method, body = {} }: Call, url: URL): Answer {
    const [, , , id, part, more] = url.pathname.split("/");
    if (method === "GET" || part !== "messages") this.drain();
    const query = url.searchParams;
    if (id === undefined) {
      if (method === "GET") return [200, this.list(user, query)];
      const before = this.rows.size;
      const row = this.create(user, body, true);
      return [this.rows.size > before ? 201 : 200, this.show(row, user)];
    }
    if (id === "unread") {
      const counts = this.of(user, false).map((row) => [row.id, this.show(row, user).unread] as const);
      const chats = Object.fromEntries(counts.filter(([, unread]) => unread > 0));
      return [200, { total: Object.values(chats).reduce((sum, unread) => sum + unread, 0), chats }];
    }
    const row = this.find(user, id);
    const own = row.members.get(user) as Membership;
    switch (`${method} ${[part, more].filter(Boolean).join("/")}`) {
      case "GET ":
        return [200, this.show(row, user)];
      case "DELETE ":
        own.hiddenSeq = own.clearedSeq = own.readSeq = lastSeq(row);
        return [204];
      case "POST restore":
        own.hiddenSeq = own.clearedSeq = -1;
        return [204];
      case "PATCH ":
        row.title = String(body["title"]);
        return [200, this.changed(row, user)];
      case "POST accept":
        if (row.status === "PENDING" ? row.createdBy === user : row.status === "DECLINED" && row.declinedBy !== user)
          throw refuse(409, "conflict");
        row.status = "ACCEPTED";
        return [200, this.changed(row, user)];
      case "POST decline":
        row.status = "DECLINED";
        row.declinedBy = user;
        return [200, this.changed(row, user)];
      case "POST members":
        for (const added of body["userIds"] as string[]) this.join(row, added, "member");
        return [200, this.changed(row, user)];
      case "POST members/remove":
        if (own.role !== "owner") throw refuse(403, "forbidden");
        for (const removed of body["userIds"] as string[]) this.leave(row, removed);
        return [200, this.changed(row, user)];
      case "POST leave":
        this.leave(row, user);
        this.changed(row, user);
        return [204];
      case "GET members": {
        const all = [...row.members].map(([userId, { role, readSeq }]) => ({ userId, role, readSeq, joinedAt: "" }));
        const from = Number(query.get("cursor") ?? 0);
        const to = from + Math.min(this.maxPage, Number(query.get("limit") ?? 50));
        return [200, { items: all.slice(from, to), nextCursor: to < all.length ? String(to) : null }];
      }
      case "GET messages":
        return [200, this.history(row, own, query)];
      case "POST messages": {
        const { message, isRepeat } = this.write(row, user, body);
        return [isRepeat ? 200 : 201, message];
      }
      case "POST read":
        return [200, { unread: this.read(row, user, Number(body["seq"])) }];
      default:
        throw refuse(404, "not_found");
    }
  }

  private find(user: string, id: string): Row {
    const row = this.rows.get(id);
    if (!row?.members.has(user)) throw refuse(404, "not_found");
    return row;
  }

  private of(user: string, hidden: boolean): Row[] {
    const activity = (row: Row): string => row.messages.at(-1)?.createdAt ?? row.createdAt;
    return [...this.rows.values()]
      .filter((row) => row.members.has(user) && this.show(row, user).hidden === hidden)
      .sort((one, other) => (activity(one) + one.id < activity(other) + other.id ? 1 : -1));
  }

  private list(user: string, query: URLSearchParams): object {
    const all = this.of(user, query.get("hidden") === "true").map((row) => this.show(row, user));
    const from = query.has("cursor") ? all.findIndex(({ id }) => id === query.get("cursor")) + 1 : 0;
    const items = all.slice(from, from + Math.min(this.maxPage, Number(query.get("limit") ?? 50)));
    return { items, nextCursor: from + items.length < all.length ? items.at(-1)?.id : null };
  }

  private create(user: string, body: Record<string, unknown>, isTold: boolean): Row {
    const { kind, participantIds, title = null, clientId } = body;
    const others = participantIds as string[];
    const found = [...this.rows.values()].find((row) =>
      kind === "direct"
        ? row.kind === kind && [user, ...others].every((member) => row.members.has(member))
        : row.createdBy === user && clientId !== undefined && row.clientId === clientId,
    );
    if (found) {
      if (found.status === "PENDING" && found.createdBy !== user) {
        found.status = "ACCEPTED";
        this.changed(found, user);
      }
      return found;
    }
    const row: Row = {
      id: `c${this.rows.size + 1}`,
      kind: kind as Chat["kind"],
      createdBy: user,
      createdAt: new Date().toISOString(),
      clientId: clientId as string | undefined,
      members: new Map(),
      messages: [],
      title: title as string | null,
      status: kind === "direct" ? "PENDING" : "ACCEPTED",
      declinedBy: null,
      version: 0,
    };
    this.rows.set(row.id, row);
    this.join(row, user, kind === "group" ? "owner" : "member");
    for (const other of others) this.join(row, other, "member");
    if (isTold) this.changed(row, user);
    else row.version = 1;
    return row;
  }

  private join(row: Row, user: string, role: Membership["role"]): void {
    if (!row.members.has(user)) row.members.set(user, { role, readSeq: lastSeq(row), clearedSeq: -1, hiddenSeq: -1 });
  }

  private leave(row: Row, user: string): void {
    if (!row.members.delete(user)) return;
    const [longest] = row.members.values();
    if (longest && row.kind === "group") longest.role = "owner";
    this.push(user, { type: "chat", chatId: row.id, removed: true });
  }

  private changed(row: Row, user: string): Chat {
    row.version++;
    const { lastMessage: _, readSeq: __, unread: ___, hidden: ____, ...chat } = this.show(row, user);
    this.tell(row, { type: "chat", chat });
    return this.show(row, user);
  }

  private tell(row: Row, frame: object, except?: string): void {
    for (const member of row.members.keys()) if (member !== except) this.push(member, frame);
  }

  private write(row: Row, user: string, said: Record<string, unknown>): { message: Message; isRepeat: boolean } {
    const {
      clientId,
      body,
      data = {},
      accept = this.accept,
    } = said as {
      clientId: string;
      body: string;
      data?: Message["data"];
      accept?: string;
    };
    const isFast = accept === "fast";
    if (!isFast) this.drain(row);
    const all = [...row.messages, ...this.log.filter((entry) => entry.row === row).map(({ message }) => message)];
    const first = all.find((message) => message.senderId === user && message.clientId === clientId);
    if (first && first.body !== body) throw refuse(422, "idempotency_key_reused");
    if (first) return { message: first, isRepeat: true };
    if (row.status === "DECLINED") throw refuse(409, "conflict");
    if (row.status === "PENDING" && (row.createdBy !== user || row.messages.length >= 3))
      throw refuse(403, "forbidden");
    const createdAt = new Date().toISOString();
    // The same for each repeat, also of one that was lost.
    const id = `m-${row.id}-${user}-${clientId}`;
    const content = { id, chatId: row.id, senderId: user, clientId, body, data, createdAt };
    if (!isFast) {
      const stored: StoredMessage = { ...content, seq: lastSeq(row) + 1, durability: "durable" };
      return { message: this.store(row, stored), isRepeat: false };
    }
    const message: Message = { ...content, seq: null, durability: "redis" };
    this.log.push({ row, message });
    this.tellMessage(row, message);
    return { message, isRepeat: false };
  }

  private store(row: Row, message: StoredMessage): StoredMessage {
    row.messages.push(message);
    const own = row.members.get(message.senderId ?? "");
    if (own) own.readSeq = message.seq;
    this.tellMessage(row, message);
    return message;
  }

  private tellMessage(row: Row, message: Message): void {
    const step = { chatId: row.id, seq: message.seq };
    const frame = this.frames === "fetch" ? { type: "fetch", ...step } : { type: "message", ...step, message };
    if (this.frames === "held") this.held.push(() => this.tell(row, frame));
    else if (this.frames !== "lost") this.tell(row, frame);
  }

  private read(row: Row, user: string, upTo: number): number {
    const own = row.members.get(user) as Membership;
    const seq = Math.min(upTo, lastSeq(row));
    if (seq > own.readSeq) {
      own.readSeq = seq;
      this.tell(row, { type: "receipt", chatId: row.id, userId: user, seq });
    }
    return this.show(row, user).unread;
  }

  private history(row: Row, own: Membership, query: URLSearchParams): object {
    const [before, after] = ["before", "after"].map((name) => Number(query.get(name) ?? Number.NaN));
    const limit = Math.min(this.maxPage, Number(query.get("limit") ?? 50));
    const all = row.messages.filter(({ seq }) => seq > own.clearedSeq);
    if (query.has("after")) {
      const rest = all.filter(({ seq }) => seq > Number(after));
      return { items: rest.slice(0, limit), complete: rest.length <= limit };
    }
    const rest = query.has("before") ? all.filter(({ seq }) => seq < Number(before)) : all;
    return { items: rest.slice(-limit), complete: rest.length <= limit };
  }

  private show(row: Row, user: string): Chat {
    const { readSeq, clearedSeq, hiddenSeq } = row.members.get(user) ?? { readSeq: 0, clearedSeq: -1, hiddenSeq: -1 };
    const last = row.messages.at(-1);
    const participants = [...row.members]
      .filter(([userId], index) => index < MAX_PARTICIPANTS || userId === user)
      .map(([userId, { role, readSeq }]) => ({ userId, role, readSeq }));
    return {
      id: row.id,
      kind: row.kind,
      title: row.title,
      status: row.status,
      participants,
      memberCount: row.members.size,
      createdBy: row.createdBy,
      createdAt: row.createdAt,
      version: row.version,
      lastMessage: last && last.seq > clearedSeq ? last : null,
      lastSeq: lastSeq(row),
      readSeq,
      unread: lastSeq(row) - Math.max(readSeq, clearedSeq, 0),
      hidden: hiddenSeq >= lastSeq(row),
    };
  }
}

function lastSeq(row: Row): number {
  return row.messages.length;
}
