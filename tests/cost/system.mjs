// Carillon as it is deployed, on this machine: the gateway with the functions' own binaries, Postgres and Redis, and what is
// counted between them.

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort, printed, run, start, stop } from "../compare/processes.mjs";
import { newDatabase, startStores } from "../compare/stores.mjs";
import { Commands, openWire, Statements } from "./wires.mjs";

const root = fileURLToPath(new URL("../../", import.meta.url));
const WebSocket = createRequire(join(root, "client/package.json"))("ws");
/** How long nothing may happen until an act counts as over. */
const QUIET_MS = 400;

export class System {
  #folder;
  #stores;
  #wires;
  #gateway;
  #invocations = new Map();
  #running = 0;
  #frames = { in: 0, replies: 0, pushes: 0, bytes: 0 };
  #calls = { http: 0, bytes: 0 };
  #lastAt = 0;

  /** Starts the gateway of this program, with servers of its own. */
  static async start(program) {
    const system = new System();
    system.#folder = mkdtempSync(join(tmpdir(), "carillon-cost-"));
    // Run as root, Postgres becomes another user, who must be able to enter the folder.
    chmodSync(system.#folder, 0o755);
    system.#stores = await startStores(system.#folder);
    const database = new URL(await newDatabase(system.#stores));
    system.database = database.href;
    const statements = await openWire(system.#stores.postgres.port, Statements);
    const commands = await openWire(system.#stores.redis.port, Commands);
    system.#wires = { statements, commands };
    database.port = statements.port;
    // The schedule would start drains while something else is counted.
    const template = join(system.#folder, "template.yaml");
    const scheduled = "Schedule: rate(1 minute)";
    const text = readFileSync(join(root, "template.yaml"), "utf8");
    if (!text.includes(scheduled)) throw new Error(`template.yaml has no ${scheduled}`);
    writeFileSync(template, text.replace(scheduled, "Schedule: rate(1 day)"));
    const port = await freePort();
    const args = ["--port", port, "--data", join(system.#folder, "data"), "--template", template];
    system.#gateway = start(program, [...args, "--lambda", "spawn", "--concurrency", "1"].map(String), {
      cwd: root,
      env: {
        ...process.env,
        DATABASE_URL: `${database.href}?sslmode=disable`,
        REDIS_URL: `redis://127.0.0.1:${commands.port}`,
        DRAIN_LINGER_MS: "1000",
        RATE_LIMIT_SEND: "100000/1s",
        RATE_LIMIT_CHAT: "100000/1s",
      },
    });
    let rest = "";
    system.#gateway.stderr.on("data", (data) => {
      const lines = (rest + data).split("\n");
      rest = lines.pop();
      for (const line of lines) system.#logs(line);
    });
    system.url = `http://127.0.0.1:${await printed(system.#gateway, /^ready http:\/\/127\.0\.0\.1:(\d+)/)}`;
    return system;
  }

  /** Reads the lines that Lambda adds to the log: a sandbox is called `function[process]`. */
  #logs(line) {
    const [, name, what] = /^([a-z]+)\[\d+\] (START|REPORT) /.exec(line) ?? [];
    if (!name) return;
    this.#lastAt = Date.now();
    if (what === "REPORT") this.#running--;
    else {
      this.#running++;
      this.#invocations.set(name, (this.#invocations.get(name) ?? 0) + 1);
    }
  }

  /**
   * What an act takes, from its begin until nothing happens any more: without the drain, which runs when it likes, or with
   * `isDrain` of the drain alone.
   */
  async counts(act, { isDrain = false } = {}) {
    await this.#isQuiet();
    this.#invocations.clear();
    for (const { counts } of Object.values(this.#wires)) counts.clear();
    this.#frames = { in: 0, replies: 0, pushes: 0, bytes: 0 };
    this.#calls = { http: 0, bytes: 0 };
    await act();
    await this.#isQuiet();
    const counted = (counts) => [...counts].filter(([name]) => (name === "drain") === isDrain).sort();
    const sum = ({ counts }) => {
      if (counts.has("?")) throw new Error("a program asked a store and left before it was known");
      return counted(counts).reduce((sum, [, count]) => sum + count, 0);
    };
    return {
      invocations: Object.fromEntries(counted(this.#invocations)),
      http: this.#calls.http,
      framesIn: this.#frames.in,
      replies: this.#frames.replies,
      pushes: this.#frames.pushes,
      statements: sum(this.#wires.statements),
      commands: sum(this.#wires.commands),
      bytesOut: this.#frames.bytes + this.#calls.bytes,
    };
  }

  async #isQuiet() {
    while (this.#running > 0 || Date.now() - this.#lastAt < QUIET_MS) await sleep(20);
  }

  async token(user, scope = "") {
    const query = new URLSearchParams({ sub: user, scope });
    return (await (await fetch(`${this.url}/_gateway/token?${query}`)).json()).token;
  }

  /** Calls the API as a user; resolves to the parsed answer. */
  async call(token, method, path, body, attempt = 1) {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const answer = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await answer.text();
    // On a machine that is busy with something else, a statement may take too long. All that is called here may be repeated.
    if (answer.status === 503 && attempt < 6) {
      await sleep(1_000);
      return this.call(token, method, path, body, attempt + 1);
    }
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    this.#calls.http++;
    this.#calls.bytes += Buffer.byteLength(text);
    return text === "" ? null : JSON.parse(text);
  }

  /** Opens a socket with a ticket of its own. */
  async opens(token) {
    const { url, ticket } = await this.call(token, "POST", "/api/ws/ticket");
    const socket = new WebSocket(`${url}?ticket=${ticket}`, { perMessageDeflate: false });
    const device = new Device(this, socket);
    socket.on("message", (data) => {
      const frame = JSON.parse(data.toString());
      this.#lastAt = Date.now();
      this.#frames.bytes += data.length;
      this.#frames[frame.ref ? "replies" : "pushes"]++;
      device.receives(frame);
    });
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    return device;
  }

  /** Counts a frame that a device has sent. */
  sent() {
    this.#frames.in++;
    this.#lastAt = Date.now();
  }

  /** Runs the drain once, as the schedule does. */
  async drains() {
    const { schedules } = await (await fetch(`${this.url}/_gateway/schedules`)).json();
    await fetch(`${this.url}/_gateway/schedules/${schedules[0].name}/fire`, { method: "POST" });
  }

  /** The size of all tables with their indexes, in bytes. */
  async storedBytes() {
    const sum =
      "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    return Number(await run("psql", ["-X", "-q", "-t", "-A", "-d", this.database, "-c", sum]));
  }

  async stops() {
    await stop(this.#gateway);
    for (const wire of Object.values(this.#wires)) wire.close();
    await this.#stores.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** A client at its end of a socket. */
class Device {
  #system;
  #socket;
  #frames = [];
  #waiting = [];
  #refs = 0;

  constructor(system, socket) {
    this.#system = system;
    this.#socket = socket;
  }

  /** Sends a frame; resolves to its reply, or at once if it has none. */
  async sends(frame, hasReply = true) {
    const ref = `${++this.#refs}`;
    this.#system.sent();
    this.#socket.send(JSON.stringify({ ...frame, ref }));
    if (!hasReply) return null;
    const reply = await this.sees((found) => found.ref === ref);
    if (reply.type === "error") throw new Error(`${frame.action}: ${reply.code}: ${reply.message}`);
    return reply;
  }

  /** The first frame that fits and was not seen yet. */
  sees(fits) {
    const at = this.#frames.findIndex(fits);
    if (at >= 0) return Promise.resolve(this.#frames.splice(at, 1)[0]);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not seen: ${fits}; ${JSON.stringify(this.#frames)}`)), 10_000);
      this.#waiting.push({
        fits,
        resolve: (frame) => {
          clearTimeout(timer);
          resolve(frame);
        },
      });
    });
  }

  receives(frame) {
    const at = this.#waiting.findIndex(({ fits }) => fits(frame));
    if (at >= 0) this.#waiting.splice(at, 1)[0].resolve(frame);
    else this.#frames.push(frame);
  }

  async closes() {
    const closed = new Promise((resolve) => this.#socket.once("close", resolve));
    this.#socket.close();
    await closed;
  }
}
