// A gateway of the test's own, with a wire before it. It may be killed and started again on the same data.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Wire } from "./wire.js";

const PROGRAM =
  process.env["CARILLON_GATEWAY"] ?? fileURLToPath(new URL("../../target/debug/gateway", import.meta.url));

export interface SendBody {
  readonly userIds: readonly string[];
  readonly title: string;
  readonly type?: string;
  readonly body?: string;
  readonly priority?: string;
  readonly actionUrl?: string;
}

export class Gateway {
  readonly wire: Wire;
  #data: string;
  #env: Record<string, string>;
  #child: ChildProcess | null = null;
  #direct = "";

  private constructor(wire: Wire, data: string, env: Record<string, string>) {
    this.wire = wire;
    this.#data = data;
    this.#env = env;
  }

  /** A gateway with fresh data, ready to answer. */
  static async begin(env: Record<string, string> = {}): Promise<Gateway> {
    const wire = await Wire.lay();
    const data = await mkdtemp(join(tmpdir(), "carillon-browser-"));
    const gateway = new Gateway(wire, data, { RATE_LIMIT_SEND: "100000/60s", ...env });
    await gateway.start();
    return gateway;
  }

  /** Where browsers find it: through the wire. */
  get url(): string {
    return `http://127.0.0.1:${this.wire.port}`;
  }

  async start(): Promise<void> {
    const child = spawn(PROGRAM, ["--port", "0", "--data", this.#data], {
      env: { ...process.env, WS_URL: `ws://127.0.0.1:${this.wire.port}/live`, ...this.#env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => {
      log += chunk;
    });
    this.#direct = await new Promise<string>((resolve, reject) => {
      createInterface(child.stdout).on("line", (line) => {
        if (line.startsWith("ready ")) resolve(line.slice("ready ".length).trim());
      });
      child.once("exit", (code) => reject(new Error(`the gateway ended with ${code} before it was ready: ${log}`)));
      child.once("error", reject);
    });
    this.wire.target = Number(new URL(this.#direct).port);
  }

  /** Ends it as a crash would. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async end(): Promise<void> {
    await this.kill();
    await this.wire.remove();
    await rm(this.#data, { recursive: true, force: true });
  }

  /** Sends as a service would, past the wire; gives the ids in order of the recipients. */
  async send(body: SendBody): Promise<string[]> {
    const sent = await this.call("shop", "POST", "/api/notifications/send", { type: "NEWS", ...body });
    return (sent as { notifications: { id: string }[] }).notifications.map(({ id }) => id);
  }

  /** A token of the user with every scope. */
  async token(user: string): Promise<string> {
    const query = new URLSearchParams({ sub: user, scope: "notify:send notify:admin" });
    const signed = await fetch(`${this.#direct}/_gateway/token?${query}`);
    const { token } = (await signed.json()) as { token: string };
    return token;
  }

  /** A call as a user, past the wire. */
  async call(user: string, method: string, path: string, body?: unknown): Promise<unknown> {
    const token = await this.token(user);
    const answer = await fetch(this.#direct + path, {
      method,
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path} was answered with ${answer.status}: ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }
}
