// Proxies in front of Postgres and Redis that count what each function asks for, by its process.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { connect, createServer } from "node:net";

/** A local port that leads to `port`. `counts` has, by function, how many statements or commands it has sent. */
export async function openWire(port, Reader) {
  const counts = new Map();
  const server = createServer((client) => {
    const name = programAt(client.remotePort, client.localPort);
    const reader = new Reader(() => counts.set(name, (counts.get(name) ?? 0) + 1));
    const upstream = connect({ port, host: "127.0.0.1", noDelay: true });
    client.setNoDelay(true);
    client.on("data", (data) => {
      // Counted before the server can answer.
      reader.read(data);
      upstream.write(data);
    });
    upstream.on("data", (data) => client.write(data));
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ]) {
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: server.address().port, counts, close: () => server.close() };
}

/**
 * The name of the program at the other end of a connection, from `port` to `to`: a function has that of its binary. It is "?"
 * if the program has left already.
 */
function programAt(port, to) {
  const hex = (port) => `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const line = readFileSync("/proc/net/tcp", "utf8")
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .find(([, local, remote]) => local?.endsWith(hex(port)) && remote.endsWith(hex(to)));
  const socket = `socket:[${line?.[9]}]`;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const files = readdirSync(`/proc/${pid}/fd`);
      if (files.some((file) => linkOf(`/proc/${pid}/fd/${file}`) === socket))
        return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
    } catch {
      // It has ended, or is another user's.
    }
  }
  return "?";
}

function linkOf(path) {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}

/** Counts the statements that are executed (https://www.postgresql.org/docs/current/protocol-message-formats.html). */
export class Statements {
  #unread = Buffer.alloc(0);
  #hasBegun = false;
  #counted;

  constructor(counted) {
    this.#counted = counted;
  }

  read(data) {
    this.#unread = Buffer.concat([this.#unread, data]);
    for (;;) {
      // Only the first message has no type before its length.
      const before = this.#hasBegun ? 1 : 0;
      if (this.#unread.length < before + 4) return;
      const length = before + this.#unread.readUInt32BE(before);
      if (this.#unread.length < length) return;
      // Execute, and the simple query.
      if (before === 1 && "EQ".includes(String.fromCharCode(this.#unread[0]))) this.#counted();
      this.#hasBegun = true;
      this.#unread = this.#unread.subarray(length);
    }
  }
}

/** Counts the commands that are sent: arrays of strings. A script is one, whatever it does. */
export class Commands {
  #unread = Buffer.alloc(0);
  #counted;

  constructor(counted) {
    this.#counted = counted;
  }

  read(data) {
    this.#unread = Buffer.concat([this.#unread, data]);
    for (;;) {
      const length = this.#length();
      if (length === null) return;
      this.#counted();
      this.#unread = this.#unread.subarray(length);
    }
  }

  /** How long the first command is; null while it is incomplete. */
  #length() {
    let at = 0;
    const number = (kind) => {
      const end = this.#unread.indexOf("\r\n", at);
      if (end < 0) return null;
      if (this.#unread[at] !== kind.charCodeAt(0)) throw new Error("not a command");
      const found = Number(this.#unread.toString("latin1", at + 1, end));
      at = end + 2;
      return found;
    };
    const parts = number("*");
    if (parts === null) return null;
    for (let part = 0; part < parts; part++) {
      const length = number("$");
      if (length === null) return null;
      at += length + 2;
    }
    return at <= this.#unread.length ? at : null;
  }
}
