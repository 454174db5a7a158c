// A proxy in front of a gateway that checks every call, every frame and every event against the documents.

import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { Receiver } from "ws";
import { isInexpressible } from "./bodies.js";
import { messageOf } from "./descriptions.js";
import { type Exchange, operationOf, parsed, problems } from "./exchange.js";

/** What went through, by operation. */
export type Seen = ReadonlyMap<string, readonly Exchange[]>;

export class CheckingProxy {
  readonly url: string;
  /** What was not as documented. */
  readonly problems: string[] = [];
  /** The names of the messages that sockets carried. */
  readonly messages: Set<string> = new Set();
  /** Where the gateway is. */
  target = "";
  private readonly server: Server;
  private readonly exchanges: Map<string, Exchange[]> = new Map();
  private readonly sockets: Set<Duplex> = new Set();

  private constructor(server: Server) {
    this.server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on("request", (call, answer) => {
      const upstream = request(this.to(call), (response) => {
        answer.writeHead(response.statusCode ?? 502, response.statusMessage, response.rawHeaders);
        answer.flushHeaders();
        const text = collected(response);
        response.pipe(answer);
        response.on("close", () => {
          if (!response.complete) answer.destroy();
          this.check(call, body(), response, text());
        });
      });
      const body = collected(call);
      call.pipe(upstream);
      // As if nothing listened.
      upstream.on("error", () => call.socket.destroy());
      answer.on("close", () => upstream.destroy());
    });
    server.on("upgrade", (call, socket: Socket, head) => this.upgrade(call, socket, head));
    server.on("connection", (socket) => this.track(socket));
  }

  static async start(): Promise<CheckingProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new CheckingProxy(server);
  }

  get seen(): Seen {
    return this.exchanges;
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private track(socket: Duplex): void {
    this.sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.sockets.delete(socket));
  }

  private to({ method, url, headers }: IncomingMessage) {
    const { hostname, port } = new URL(this.target);
    return { host: hostname, port, method, path: url, headers, agent: false as const };
  }

  private check(call: IncomingMessage, body: string, response: IncomingMessage, answer: string): void {
    const { method = "", url = "" } = call;
    // The gateway's own routes are not part of the API, and API Gateway answers preflights.
    if (url.startsWith("/_gateway/") || url.startsWith("/live") || method === "OPTIONS") return;
    const exchange: Exchange = {
      method,
      url,
      headers: flat(call.headers),
      body,
      status: response.statusCode ?? 0,
      answerHeaders: flat(response.headers),
      answer,
      isWhole: response.complete,
    };
    this.problems.push(...problems(exchange));
    const id = operationOf(exchange)?.id;
    if (id !== undefined) this.exchanges.set(id, [...(this.exchanges.get(id) ?? []), exchange]);
  }

  private upgrade(call: IncomingMessage, socket: Socket, head: Buffer): void {
    const upstream = request(this.to(call));
    upstream.on("error", () => socket.destroy());
    const begin = ({ statusCode, statusMessage, rawHeaders }: IncomingMessage): void => {
      const headers = rawHeaders.map((text, n) => (n % 2 === 0 ? `${text}: ` : `${text}\r\n`)).join("");
      socket.write(`HTTP/1.1 ${statusCode} ${statusMessage}\r\n${headers}\r\n`);
    };
    upstream.on("response", (refusal) => {
      begin(refusal);
      refusal.pipe(socket);
    });
    upstream.on("upgrade", (accepted, other, otherHead) => {
      begin(accepted);
      this.track(other);
      const frames = new Frames(this.problems, this.messages);
      connect(socket, other, head, frames.receiver("fromClient"));
      connect(other, socket, otherHead, frames.receiver("fromServer"));
    });
    upstream.end();
  }
}

function connect(from: Duplex, to: Duplex, head: Buffer, receiver: Receiver): void {
  const pass = (data: Buffer): void => {
    to.write(data);
    receiver.write(data);
  };
  pass(head);
  from.on("data", pass);
  from.on("close", () => to.destroy());
}

/** The frames of one socket. */
class Frames {
  private readonly problems: string[];
  private readonly messages: Set<string>;
  /** By `ref`: whether the frame was as documented. */
  private readonly asked: Map<string, { text: string; problem: string | undefined }> = new Map();

  constructor(problems: string[], messages: Set<string>) {
    this.problems = problems;
    this.messages = messages;
  }

  receiver(direction: "fromClient" | "fromServer"): Receiver {
    const receiver = new Receiver({ isServer: direction === "fromClient" });
    receiver.on("message", (data, isBinary) => {
      if (isBinary) return;
      const text = String(data);
      if (direction === "fromClient") this.ask(text);
      else this.tell(text);
    });
    // A frame that is none ends the connection, which its ends notice.
    receiver.on("error", () => {});
    return receiver;
  }

  private ask(text: string): void {
    const frame = parsed(text) as { ref?: unknown } | undefined;
    const message = messageOf("fromClient", frame);
    if ("name" in message) this.messages.add(message.name);
    const problem = "problem" in message ? message.problem : undefined;
    if (typeof frame?.ref === "string") this.asked.set(frame.ref, { text, problem });
  }

  private tell(text: string): void {
    const frame = parsed(text) as { type?: string; code?: string; ref?: string } | undefined;
    const message = messageOf("fromServer", frame);
    if ("problem" in message) this.problems.push(`the frame ${text.slice(0, 500)}: ${message.problem}`);
    else this.messages.add(message.name);
    const asked = frame?.ref === undefined ? undefined : this.asked.get(frame.ref);
    if (!asked) return;
    const isRefused = ["validation_failed", "invalid_json", "bad_request"].includes(frame?.code ?? "");
    if (asked.problem !== undefined && frame?.type !== "error")
      this.problems.push(`the frame ${asked.text.slice(0, 500)} was admitted: ${asked.problem}`);
    if (asked.problem === undefined && isRefused && !isInexpressible(text))
      this.problems.push(`the frame ${asked.text.slice(0, 500)} was refused: ${text.slice(0, 500)}`);
  }
}

/** The text of a message, so far as it has arrived when it is asked for. */
function collected(message: IncomingMessage): () => string {
  const chunks: Buffer[] = [];
  message.on("data", (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString();
}

function flat(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
