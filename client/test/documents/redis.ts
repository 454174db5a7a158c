// A Redis on a free port, without a file, stopped by its pid.

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
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(url: string, folder: string, child: ChildProcess) {
    this.url = url;
    this.#folder = folder;
    this.#child = child;
  }

  static async start(): Promise<Redis> {
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), "carillon-redis-"));
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes"];
    const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] });
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.includes("Ready to accept connections")) break;
    }
    child.stdout.resume();
    return new Redis(`redis://127.0.0.1:${port}`, folder, child);
  }

  async stop(): Promise<void> {
    // A test may have killed it.
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, "exit");
      this.#child.kill("SIGKILL");
      await exit;
    }
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
