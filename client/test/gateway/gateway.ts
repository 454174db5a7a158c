// Runs the gateway as a process on a free port with an empty data folder, and stops it by its pid. Everything goes through
// a proxy that checks it against the documents of the API.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect } from "vitest";
import { CheckingProxy } from "../api/proxy.js";

export class Gateway {
  readonly proxy: CheckingProxy;
  readonly data: string;
  private readonly env: Readonly<Record<string, string>>;
  private child: ChildProcess | null = null;

  private constructor(proxy: CheckingProxy, data: string, env: Readonly<Record<string, string>>) {
    this.proxy = proxy;
    this.data = data;
    this.env = env;
  }

  static async start(env: Readonly<Record<string, string>> = {}): Promise<Gateway> {
    const data = await mkdtemp(join(tmpdir(), "carillon-client-"));
    const gateway = new Gateway(await CheckingProxy.start(), data, env);
    await gateway.run("0");
    return gateway;
  }

  get url(): string {
    return this.proxy.url;
  }

  private async run(port: string): Promise<void> {
    const program = process.env["CARILLON_GATEWAY"];
    if (!program)
      throw new Error("CARILLON_GATEWAY must be the path of the gateway program, such as target/debug/carillon");
    const child = spawn(program, ["--port", port, "--data", this.data], {
      stdio: ["ignore", "pipe", "pipe"],
      // The tests send more than the rate limits allow.
      env: {
        ...process.env,
        RATE_LIMIT_SEND_TYPES: "like=off",
        RATE_LIMIT_CHAT: "1000/1s",
        WS_URL: `${this.url.replace("http", "ws")}/live`,
        EVENTS_URL: `${this.url}/api/events`,
        ...this.env,
      },
    });
    this.child = child;
    let log = "";
    child.stderr.on("data", (text) => {
      log += text;
    });
    const failed = once(child, "exit").then(([code]) => {
      throw new Error(`the gateway exited with ${code}: ${log}`);
    });
    const ready = (async () => {
      for await (const line of createInterface({ input: child.stdout })) {
        if (line.startsWith("ready ")) return line.slice(6).trim();
      }
      // The output ends when the process exits, and the exit carries the reason.
      return failed;
    })();
    failed.catch(() => {});
    ready.catch(() => {});
    this.proxy.target = await Promise.race([ready, failed]);
    child.stdout.resume();
  }

  private async end(signal: NodeJS.Signals): Promise<void> {
    const { child } = this;
    this.child = null;
    if (!child || child.exitCode !== null) return;
    const exit = once(child, "exit");
    child.kill(signal);
    await exit;
  }

  /** Kills the process, like a crash. */
  kill(): Promise<void> {
    return this.end("SIGKILL");
  }

  /** Starts it again on the same port, with the same data. */
  restart(): Promise<void> {
    return this.run(new URL(this.proxy.target).port);
  }

  async stop(): Promise<void> {
    await this.end("SIGINT");
    await this.proxy.stop();
    await rm(this.data, { recursive: true, force: true });
    expect(this.proxy.problems).toEqual([]);
  }

  async token(sub: string, scope = "notify:send", ttl = 3600): Promise<string> {
    const query = new URLSearchParams({ sub, scope, ttl: String(ttl) });
    const response = await fetch(`${this.url}/_gateway/token?${query}`);
    return ((await response.json()) as { token: string }).token;
  }

  /** Calls the API as a user. */
  async call(sub: string, method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${await this.token(sub)}`, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} failed with ${response.status}: ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  async connections(): Promise<number> {
    const response = await fetch(`${this.url}/_gateway/connections`);
    return ((await response.json()) as { connections: unknown[] }).connections.length;
  }
}
