// A Postgres on a free port, with an empty database, stopped by its pid.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chown, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { freePort } from "../test/documents/redis.js";

const run = promisify(execFile);
/** The user id under which a root starts Postgres, which refuses to run as root. */
const UNPRIVILEGED = 65_534;
/** Debian installs the programs of the server outside the PATH. */
const DEBIAN = "/usr/lib/postgresql";
const START_MS = 30_000;

export class Postgres {
  readonly url: string;
  /** The folder of its programs, such as psql. */
  readonly programs: string;
  readonly #folder: string;
  readonly #child: ChildProcess;

  private constructor(url: string, programs: string, folder: string, child: ChildProcess) {
    this.url = url;
    this.programs = programs;
    this.#folder = folder;
    this.#child = child;
  }

  static async start(): Promise<Postgres> {
    const programs = await findPrograms();
    const folder = await mkdtemp(join(tmpdir(), "carillon-postgres-"));
    // Its programs refuse a current folder that their account cannot enter.
    let account: { cwd: string; uid?: number; gid?: number } = { cwd: folder };
    if (process.getuid?.() === 0) {
      await chown(folder, UNPRIVILEGED, UNPRIVILEGED);
      account = { ...account, uid: UNPRIVILEGED, gid: UNPRIVILEGED };
    }
    const data = join(folder, "data");
    const cluster = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"];
    await run(join(programs, "initdb"), [...cluster, "-D", data], account);
    const port = String(await freePort());
    const settings = ["listen_addresses=127.0.0.1", `unix_socket_directories=${folder}`, "max_connections=200"];
    const args = ["-D", data, "-p", port, ...settings.flatMap((setting) => ["-c", setting])];
    const child = spawn(join(programs, "postgres"), args, { ...account, stdio: "ignore" });
    const started = new Postgres(`postgres://postgres@127.0.0.1:${port}/postgres`, programs, folder, child);
    const isReady = (): Promise<boolean> =>
      run(join(programs, "pg_isready"), ["-q", "-h", "127.0.0.1", "-p", port]).then(
        () => true,
        () => false,
      );
    for (const deadlineMs = Date.now() + START_MS; Date.now() < deadlineMs; ) {
      if (await isReady()) return started;
      await sleep(100);
    }
    await started.stop();
    throw new Error("Postgres did not start");
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exit = once(this.#child, "exit");
      // SIGTERM would wait until every client has left.
      this.#child.kill("SIGINT");
      await exit;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function findPrograms(): Promise<string> {
  const versions = await readdir(DEBIAN).catch((): string[] => []);
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...versions.map((one) => join(DEBIAN, one, "bin"))];
  const has = (folder: string): boolean =>
    ["postgres", "initdb", "pg_isready", "psql"].every((name) => existsSync(join(folder, name)));
  const found = folders.find(has);
  if (!found) throw new Error("Postgres is needed: apt-get install postgresql");
  return found;
}
