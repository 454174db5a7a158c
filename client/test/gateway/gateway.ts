// The gateway as a program of its own: a free port, a fresh folder, ended by its pid.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export class Gateway {
  url = "";
  private readonly data: string;
  private child: ChildProcess | null = null;

  private constructor(data: string) {
    this.data = data;
  }

  static async start(): Promise<Gateway> {
    const gateway = new Gateway(await mkdtemp(join(tmpdir(), "carillon-client-")));
    await gateway.run("0");
    return gateway;
  }

  private async run(port: string): Promise<void> {
    const program = process.env["CARILLON_GATEWAY"];
    if (!program) throw new Error("CARILLON_GATEWAY must name the gateway's program, as target/debug/gateway");
    const child = spawn(program, ["--port", port, "--data", this.data], {
      stdio: ["ignore", "pipe", "pipe"],
      // More is sent to one user here than anybody would bear.
      env: { ...process.env, RATE_LIMIT_SEND_TYPES: "like=off" },
    });
    this.child = child;
    let complaint = "";
    child.stderr.on("data", (text) => {
      complaint += text;
    });
    const failed = once(child, "exit").then(([code]) => {
      throw new Error(`the gateway ended with ${code}: ${complaint}`);
    });
    const ready = (async () => {
      for await (const line of createInterface({ input: child.stdout })) {
        if (line.startsWith("ready ")) return line.slice(6).trim();
      }
      // Its output ends with it, and its end says why.
      return failed;
    })();
    failed.catch(() => {});
    ready.catch(() => {});
    this.url = await Promise.race([ready, failed]);
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

  /** Killed, without time to say anything. */
  kill(): Promise<void> {
    return this.end("SIGKILL");
  }

  /** On the same port, with the same data. */
  startAgain(): Promise<void> {
    return this.run(new URL(this.url).port);
  }

  async stop(): Promise<void> {
    await this.end("SIGINT");
    await rm(this.data, { recursive: true, force: true });
  }

  async token(sub: string, scope = "notify:send", ttl = 3600): Promise<string> {
    const query = new URLSearchParams({ sub, scope, ttl: String(ttl) });
    const response = await fetch(`${this.url}/_gateway/token?${query}`);
    return ((await response.json()) as { token: string }).token;
  }

  async connections(): Promise<number> {
    const response = await fetch(`${this.url}/_gateway/connections`);
    return ((await response.json()) as { connections: unknown[] }).connections.length;
  }
}
