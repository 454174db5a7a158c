// An in-memory server that fulfils the contract, and can be made to refuse, lose, delay or falsify responses. It is the
// inbox of one user, and serves it by calls, sockets and event streams.

import { FakeChats } from "./chats.js";
import { FakeInbox } from "./inbox.js";
import { FakePresence } from "./presence.js";
import { FakePushes } from "./pushes.js";
import { json, refusal } from "./response.js";
import { FakeSocket } from "./socket.js";
import { FakeStream } from "./stream.js";
import { expiryOf, subOf } from "./token.js";

export { html, json, refusal } from "./response.js";

export const BASE_URL = "http://carillon.test";

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

export class FakeServer extends FakeInbox {
  readonly calls: Call[] = [];
  readonly sockets: FakeSocket[] = [];
  readonly streams: FakeStream[] = [];
  readonly acked: string[] = [];
  areSocketsRefused = false;
  /** What tickets tell of event streams. */
  eventsUrl: string | null = null;
  pingEveryMs: unknown = 60_000;
  fault: Fault = () => undefined;
  readonly chats: FakeChats = new FakeChats((member, frame) => this.pushTo(member, frame));
  readonly presence: FakePresence = new FakePresence(this.chats, (viewer, frame) => this.pushTo(viewer, frame));
  readonly pushes: FakePushes = new FakePushes();
  /** The user of each ticket. */
  private readonly tickets: Map<string, string> = new Map();
  private readonly others: Map<string, FakeInbox> = new Map();

  constructor(user = "alice") {
    super(user);
  }

  get openSockets(): FakeSocket[] {
    return this.sockets.filter((socket) => socket.readyState === 1);
  }

  get openStreams(): FakeStream[] {
    return this.streams.filter(({ isOpen }) => isOpen);
  }

  /** Change frames that sockets sent. */
  get changeFrames(): FakeSocket["sent"] {
    const changes = new Set(["read", "unread", "delete", "readAll"]);
    return this.sockets.flatMap(({ sent }) => sent).filter(({ action }) => changes.has(action));
  }

  callsTo(path: string): Call[] {
    return this.calls.filter((call) => call.path.startsWith(path));
  }

  /** What an event stream tells every so often. */
  get pong(): object {
    return this.pongOf(this);
  }

  override push(frame: unknown): void {
    this.pushTo(this.user, frame);
  }

  private pushTo(user: string, frame: unknown): void {
    const text = typeof frame === "string" ? frame : JSON.stringify(frame);
    for (const socket of this.openSockets) if (socket.user === user) socket.receive(text);
    for (const stream of this.openStreams) if (stream.user === user) stream.event(text);
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
    const user = subOf(bearer);
    if (url.pathname.startsWith("/api/chats")) return this.chats.serve(user, call, url);
    if (url.pathname.startsWith("/api/push/")) return this.pushes.serve(user, call);
    switch (`${call.method} ${url.pathname}`) {
      case "GET /api/presence":
        return this.presence.serve(user, url);
      case "POST /api/ws/ticket":
        return this.issueTicket(user, expiryOf(bearer));
      case "GET /api/sync":
        return this.sync(this.inboxOf(user), url, call.headers.get("if-none-match"));
      case "POST /api/ack":
        this.acked.push(String(call.body?.["cursor"]));
        return new Response(null, { status: 204 });
      default:
        return this.inboxOf(user).serve(call, url);
    }
  }

  /** Every other user has an inbox that begins empty. */
  private inboxOf(user: string): FakeInbox {
    if (user === this.user) return this;
    const other = this.others.get(user) ?? new FakeInbox(user);
    this.others.set(user, other);
    return other;
  }

  private sync(own: FakeInbox, url: URL, known: string | null): Response {
    own.drain();
    const since = url.searchParams.get("since") ?? "";
    const page = own.pageAfter(since);
    if (!page) return refusal(410, "cursor_expired");
    const etag = this.etagOf(own);
    if (known === etag && since === own.cursor) return new Response(null, { status: 304 });
    const whole = { chats: this.chats.summaries(own.user), chatsComplete: true, events: own.emitted };
    return json(200, { ...page, etag, ...(page.complete && whole) });
  }

  /** In two parts: of the inbox and the chats, and of the newest emitted event. */
  private etagOf(own: FakeInbox): string {
    const chats = this.chats.summaries(own.user);
    const record = `${own.cursor}/${own.unreadCount}${chats.length > 0 ? JSON.stringify(chats) : ""}`;
    return `"${record.replace(/[".]/g, "-")}.${own.emitted.at(-1)?.id ?? 0}"`;
  }

  private pongOf(own: FakeInbox): object {
    return { type: "pong", cursor: own.cursor, etag: this.etagOf(own) };
  }

  private issueTicket(user: string, expiresMs: number): Response {
    const ticket = `t${this.tickets.size}`;
    this.tickets.set(ticket, user);
    const expiresAt = new Date(Math.min(Date.now() + 30_000, expiresMs)).toISOString();
    const { pingEveryMs, eventsUrl } = this;
    return json(201, { ticket, expiresAt, url: "ws://carillon.test/live", eventsUrl, pingEveryMs });
  }

  private redeem(ticket: unknown): string | null {
    const user = this.tickets.get(String(ticket));
    if (!user) return null;
    this.tickets.set(String(ticket), "");
    return user;
  }

  /** Opens an event stream, which begins with what changed after `since`. */
  private openStream(url: URL): Response {
    const user = this.redeem(url.searchParams.get("ticket"));
    if (user === null) return refusal(401, "invalid_ticket");
    const own = this.inboxOf(user);
    own.drain();
    const stream = new FakeStream(user, url.searchParams.get("since"));
    this.streams.push(stream);
    stream.write(":\n\n");
    if (stream.since !== null) for (const frame of own.changesAfter(stream.since)) stream.event(JSON.stringify(frame));
    stream.event(JSON.stringify(this.pongOf(own)));
    return stream.response;
  }

  connected(socket: FakeSocket, url: URL): boolean {
    this.sockets.push(socket);
    socket.user = this.redeem(url.searchParams.get("ticket"));
    return !this.areSocketsRefused && socket.user !== null;
  }

  /** Handles a frame from a socket. */
  received(socket: FakeSocket, text: string): void {
    const { action, ref, cursor } = JSON.parse(text);
    const own = this.inboxOf(socket.user ?? this.user);
    const reply = (frame: object): void => socket.receive(JSON.stringify({ ...frame, ref }));
    switch (action) {
      case "ping":
        own.drain();
        return reply(this.pongOf(own));
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
  private async carryOut(own: FakeInbox, frame: ChangeFrame): Promise<object | null> {
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
