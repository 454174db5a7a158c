// A gateway for one test file, behind a simulated network. It can be killed and started again with the same data.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Network } from "./network.js";

export const PROGRAM: string =
  process.env["CARILLON_GATEWAY"] ?? fileURLToPath(new URL("../../target/debug/carillon", import.meta.url));

export interface SendBody {
  readonly userIds: readonly string[];
  readonly title: string;
  readonly type?: string;
  readonly body?: string;
  readonly priority?: string;
  readonly actionUrl?: string;
}

export class Gateway {
  readonly network: Network;
  /** All that it has logged. */
  log = "";
  #data: string;
  #env: Record<string, string>;
  #args: readonly string[];
  #child: ChildProcess | null = null;
  #directUrl = "";

  private constructor(network: Network, data: string, env: Record<string, string>, args: readonly string[]) {
    this.network = network;
    this.#data = data;
    this.#env = env;
    this.#args = args;
  }

  /** Starts a gateway with empty data, and waits until it is ready. */
  static async launch(env: Record<string, string> = {}, args: readonly string[] = []): Promise<Gateway> {
    const network = await Network.start();
    const data = await mkdtemp(join(tmpdir(), "carillon-browser-"));
    const gateway = new Gateway(network, data, { RATE_LIMIT_SEND: "100000/60s", ...env }, args);
    await gateway.start();
    return gateway;
  }

  /** The address for browsers, through the simulated network. */
  get url(): string {
    return `http://127.0.0.1:${this.network.port}`;
  }

  async start(): Promise<void> {
    const child = spawn(PROGRAM, ["--port", "0", "--data", this.#data, ...this.#args], {
      env: {
        ...process.env,
        WS_URL: `ws://127.0.0.1:${this.network.port}/live`,
        EVENTS_URL: `${this.url}/api/events`,
        // Functions in processes of their own know only the origin of the gateway itself.
        ...(this.#args.includes("spawn") && { ALLOWED_ORIGINS: this.url }),
        ...this.#env,
      },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#child = child;
    child.stderr.on("data", (chunk: Buffer) => {
      this.log += chunk;
    });
    this.#directUrl = await new Promise<string>((resolve, reject) => {
      createInterface(child.stdout).on("line", (line) => {
        if (line.startsWith("ready ")) resolve(line.slice("ready ".length).trim());
      });
      child.once("exit", (code) =>
        reject(new Error(`the gateway exited with ${code} before it was ready: ${this.log}`)),
      );
      child.once("error", reject);
    });
    this.network.target = Number(new URL(this.#directUrl).port);
  }

  /** Kills the process, like a crash. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  }

  async stop(): Promise<void> {
    await this.kill();
    await this.network.stop();
    await rm(this.#data, { recursive: true, force: true });
  }

  /** Sends as a service, bypassing the simulated network. Returns the ids in the order of the recipients. */
  async send(body: SendBody): Promise<string[]> {
    const sent = await this.call("shop", "POST", "/api/notifications/send", { type: "NEWS", ...body });
    return (sent as { notifications: { id: string }[] }).notifications.map(({ id }) => id);
  }

  /** Runs the drain, as its schedule does each minute, and waits for its end. */
  async drain(): Promise<void> {
    await fetch(`${this.#directUrl}/_gateway/schedules/drainEveryMinute/fire`, { method: "POST" });
  }

  /** A token of the user with both scopes. */
  async token(user: string): Promise<string> {
    const query = new URLSearchParams({ sub: user, scope: "notify:send notify:admin" });
    const signed = await fetch(`${this.#directUrl}/_gateway/token?${query}`);
    const { token } = (await signed.json()) as { token: string };
    return token;
  }

  /** Calls the API as a user, bypassing the simulated network. */
  async call(user: string, method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await this.request(await this.token(user), method, path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} failed with ${response.status}: ${text}`);
    return text === "" ? undefined : JSON.parse(text);
  }

  /** The same with a token. Returns the response, whatever its status is. */
  request(token: string, method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(this.#directUrl + path, {
      method,
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
  }
}
