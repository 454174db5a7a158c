// An HTTP/1.1 client that does nothing but calls over one kept-alive connection, so that it costs less than what it
// measures. Every figure uses it for ours and for the peer.

import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

const END_OF_HEAD = Buffer.from("\r\n\r\n");

/** One connection, on which one call is in flight at a time. */
export class Connection {
  #socket;
  #received = Buffer.alloc(0);
  #waiting = null;

  static open(port, host = "127.0.0.1") {
    return new Promise((resolve, reject) => {
      const socket = connect({ port, host, noDelay: true });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new Connection(socket)));
    });
  }

  constructor(socket) {
    this.#socket = socket;
    socket.removeAllListeners("error");
    socket.on("data", (data) => {
      this.#received = this.#received.length === 0 ? data : Buffer.concat([this.#received, data]);
      this.#deliver();
    });
    const fail = () => this.#waiting?.reject(new Error("the server closed the connection"));
    socket.on("error", fail).on("close", fail);
  }

  /** Resolves to `{ status, body }`, where `body` is text. */
  call(method, path, { headers = {}, body = "" } = {}) {
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    if (body !== "") lines.push(`content-type: application/json\r\n`);
    if (body !== "" || method === "POST") lines.push(`content-length: ${Buffer.byteLength(body)}\r\n`);
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(`${method} ${path} HTTP/1.1\r\nhost: localhost\r\n${lines.join("")}\r\n${body}`);
    });
  }

  /** The JSON of an answer; fails unless it has this status. */
  async json(status, method, path, options) {
    const answer = await this.call(method, path, options);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${answer.body.slice(0, 500)}`);
    return answer.body === "" ? null : JSON.parse(answer.body);
  }

  close() {
    this.#socket.destroy();
  }

  #deliver() {
    const end = this.#received.indexOf(END_OF_HEAD);
    if (end < 0 || !this.#waiting) return;
    const head = this.#received.toString("latin1", 0, end).toLowerCase();
    const rest = this.#received.subarray(end + 4);
    const length = /\r\ncontent-length: *(\d+)/.exec(head);
    const body = length
      ? exactly(rest, Number(length[1]))
      : head.includes("\r\ntransfer-encoding: chunked")
        ? unchunked(rest)
        : "";
    if (body === null) return;
    this.#received = Buffer.alloc(0);
    const { resolve } = this.#waiting;
    this.#waiting = null;
    resolve({ status: Number(head.slice(9, 12)), body });
  }
}

/** Asks a process that is starting until it answers as expected. */
export async function firstAnswer(child, port, path, expected) {
  for (const until = Date.now() + 30_000; child.exitCode === null && Date.now() < until; ) {
    try {
      const connection = await Connection.open(port);
      const { status, body } = await connection.call("GET", path).finally(() => connection.close());
      if (status === 200 && expected.test(body)) return;
    } catch {
      // It does not listen yet.
    }
    await sleep(1);
  }
  throw new Error(`no answer to ${path}: ${child.output()}`);
}

/** Keeps `connections` busy for this long; `call(connection, n)` makes one call. Resolves to the number of calls. */
export async function keepBusy(connections, ms, call) {
  const beganAt = performance.now();
  let calls = 0;
  await Promise.all(
    connections.map(async (connection) => {
      while (performance.now() - beganAt < ms) await call(connection, calls++);
    }),
  );
  return calls;
}

/** Opens this many connections. */
export function openConnections(port, count) {
  return Promise.all(Array.from({ length: count }, () => Connection.open(port)));
}

function exactly(bytes, length) {
  return bytes.length < length ? null : bytes.toString("utf8", 0, length);
}

function unchunked(bytes) {
  const parts = [];
  for (let at = 0; ; ) {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return null;
    const length = Number.parseInt(bytes.toString("latin1", at, end), 16);
    if (bytes.length < end + 2 + length + 2) return null;
    if (length === 0) return Buffer.concat(parts).toString();
    parts.push(bytes.subarray(end + 2, end + 2 + length));
    at = end + 2 + length + 2;
  }
}
