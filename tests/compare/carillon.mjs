// Ours, as a user has it: the release build of the gateway, over HTTP and WebSockets.

import { createHmac, randomUUID } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { Connection } from "./http.mjs";
import { root } from "./peer-packages.mjs";
import { printed, run, start, stop } from "./processes.mjs";
import { openSocket } from "./sockets.mjs";
import { newDatabase } from "./stores.mjs";

const SECRET = "a secret of the comparison, of 32 bytes or more";
/** Rates that no figure reaches: they measure how fast it is, not how fast it lets a caller be. */
const UNLIMITED = Object.fromEntries(["SEND", "CHAT", "FRAMES"].map((what) => [`RATE_LIMIT_${what}`, "100000/1s"]));

/**
 * Starts the gateway on a new data folder; `stores` is `local` (SQLite and memory), `servers` (Postgres and Redis), or
 * `spawned`: on servers, with the functions in processes of their own.
 */
export async function startCarillon(context, stores, variables = {}) {
  const data = mkdtempSync(join(context.folder, "carillon-"));
  const env = { RUST_LOG: "error", JWT_SECRET: SECRET, ...UNLIMITED, ...variables };
  if (stores !== "local") {
    Object.assign(env, {
      DATABASE_URL: await newDatabase(context),
      REDIS_URL: context.redis.url,
      REDIS_KEY_PREFIX: `compare-${randomUUID()}`,
    });
  }
  const beganAt = performance.now();
  const functions = stores === "spawned" ? ["--lambda", "spawn"] : [];
  const child = start(context.carillon, ["--port", "0", "--data", data, ...functions], { env });
  const port = Number(await printed(child, /^ready http:\/\/127\.0\.0\.1:(\d+)/));
  return new Carillon(child, port, beganAt, env, () => rmSync(data, { recursive: true, force: true }));
}

/**
 * Builds the functions that `spawned` starts, unless the gateway is a build that was named: then they must lie beside it.
 * Resolves to the sides that are left out, with the reason.
 */
export async function buildFunctions({ carillon }) {
  if (!process.env.CARILLON) await run("cargo", ["build", "--quiet", "--locked", "--release"], { cwd: root });
  const missing = readdirSync(join(root, "functions")).filter((name) => !existsSync(join(dirname(carillon), name)));
  return missing.length > 0 ? { spawned: { leftOut: `${missing[0]} is not built beside the gateway` } } : {};
}

class Carillon {
  constructor(child, port, beganAt, variables, removeData) {
    const databaseUrl = variables.DATABASE_URL;
    Object.assign(this, { child, pid: child.pid, port, beganAt, variables, databaseUrl, removeData });
  }

  /** What a function needs to run beside this gateway: the same stores, and its sockets. It invokes no other function. */
  functionVariables() {
    const host = `127.0.0.1:${this.port}`;
    const sockets = { WS_ENDPOINT: `http://${host}/live`, WS_URL: `ws://${host}/live` };
    return { ...this.variables, ...sockets, DRAIN_FUNCTION: "drain", AWS_ENDPOINT_URL_LAMBDA: "http://127.0.0.1:1" };
  }

  /** The processes whose CPU time is counted. */
  processes({ redis, postgres }) {
    return this.databaseUrl
      ? { server: [this.pid], redis: [redis.pid], postgres: [postgres.pid] }
      : { server: [this.pid] };
  }

  /** The headers of a caller. */
  as(user, scope = "") {
    return { authorization: `Bearer ${token(user, scope)}` };
  }

  /** Takes a ticket for a socket of this user. */
  async ticket(connection, user) {
    return (await connection.json(201, "POST", "/api/ws/ticket", { headers: this.as(user) })).ticket;
  }

  /** Opens a socket with a ticket; `onFrame` gets each frame, parsed. */
  openSocket(ticket, onFrame) {
    return openSocket(`ws://127.0.0.1:${this.port}/live?ticket=${ticket}`, (text) => onFrame(JSON.parse(text)));
  }

  /** Opens a socket for each user, 50 at a time; `onFrame(frame, n)` gets their frames. */
  async openSockets(users, onFrame) {
    const connection = await Connection.open(this.port);
    const sockets = [];
    for (let from = 0; from < users.length; from += 50) {
      const opening = [];
      for (let n = from; n < Math.min(from + 50, users.length); n++) {
        const ticket = await this.ticket(connection, users[n]);
        opening.push(this.openSocket(ticket, (frame) => onFrame(frame, n)));
      }
      sockets.push(...(await Promise.all(opening)));
    }
    connection.close();
    return sockets;
  }

  async stop() {
    await stop(this.child);
    this.removeData();
  }
}

/** A bearer token (HS256), valid for an hour. */
function token(user, scope) {
  const now = Math.floor(Date.now() / 1_000);
  const encode = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const signed = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: user, scope, iat: now, exp: now + 3_600 })}`;
  return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
}
