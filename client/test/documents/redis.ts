// A Redis on a free port, without a configuration file, stopped by its pid. It can be killed and started again with the
// same data.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

export const hasRedis: boolean = spawnSync("redis-server", ["--version"]).status === 0;

export class Redis {
  readonly url: string;
  readonly #port: number;
  readonly #folder: string;
  #child: ChildProcess | null = null;

  private constructor(port: number, folder: string) {
    this.url = `redis://127.0.0.1:${port}`;
    this.#port = port;
    this.#folder = folder;
  }

  static async start(): Promise<Redis> {
    const redis = new Redis(await freePort(), await mkdtemp(join(tmpdir(), "carillon-redis-")));
    await redis.start();
    return redis;
  }

  /** Starts the process, which begins with what an earlier one has written, and waits until it is ready. */
  async start(): Promise<void> {
    const files = ["--dir", this.#folder, "--save", "", "--appendonly", "yes"];
    const args = ["--port", String(this.#port), "--bind", "127.0.0.1", ...files];
    const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
    this.#child = child;
    let isReady = false;
    for await (const line of createInterface({ input: child.stdout })) {
      isReady = line.includes("Ready to accept connections");
      if (isReady) break;
    }
    if (!isReady) throw new Error(`Redis did not start on port ${this.#port}`);
    child.stdout.resume();
  }

  /** Kills the process, like a crash. */
  async kill(): Promise<void> {
    const child = this.#child;
    // A test may have killed it.
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const exit = once(child, "exit");
    child.kill("SIGKILL");
    await exit;
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A port on which nothing listens just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("a server has no port");
  return address.port;
}
