// The Redis and the Postgres of a comparison: servers of their own on free ports, which ours and the peers use in turn.

import { randomUUID } from "node:crypto";
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort, run, start, stop } from "./processes.mjs";

/** An unprivileged account: Postgres refuses to run as root. */
const NOBODY = 65_534;

/** Starts both with their data in this folder. */
export async function startStores(folder) {
  const [redis, postgres] = await Promise.all([
    startRedis(join(folder, "redis")),
    startPostgres(join(folder, "postgres")),
  ]);
  return { redis, postgres, stop: () => Promise.all([stop(redis.child), postgres.stop()]) };
}

/** Redis without persistence, as the peers' documentation measures it. */
async function startRedis(folder) {
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const args = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder];
  const child = start("redis-server", args.map(String));
  await answers(child, () => run("redis-cli", ["-p", `${port}`, "set", "probe", "1"]));
  return { child, pid: child.pid, port, url: `redis://127.0.0.1:${port}` };
}

/** Postgres as it is by default, with every commit on disk. */
async function startPostgres(folder) {
  const asNobody = process.getuid() === 0 ? { uid: NOBODY, gid: NOBODY } : {};
  // The current folder may be one that this account cannot enter, and the programs of Postgres refuse that.
  const options = { ...asNobody, cwd: "/", env: { ...process.env, HOME: folder } };
  mkdirSync(folder, { recursive: true });
  if (asNobody.uid) chownSync(folder, NOBODY, NOBODY);
  const programs = await postgresPrograms();
  const data = join(folder, "data");
  await run(
    join(programs, "initdb"),
    ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-D", data],
    options,
  );
  const port = await freePort();
  const settings = ["listen_addresses=127.0.0.1", `unix_socket_directories=${folder}`, "max_connections=200"];
  const args = ["-D", data, "-p", `${port}`, ...settings.flatMap((setting) => ["-c", setting])];
  const child = start(join(programs, "postgres"), args, options);
  const url = (database) => `postgres://postgres@127.0.0.1:${port}/${database}`;
  await answers(child, () => run(join(programs, "pg_isready"), ["-q", "-h", "127.0.0.1", "-p", `${port}`]));
  return {
    child,
    pid: child.pid,
    port,
    url: url("postgres"),
    // SIGINT, because SIGTERM waits until every client has left.
    stop: () => {
      process.kill(child.pid, "SIGINT");
      return child.ended;
    },
  };
}

/** The URL of a new, empty database. */
export async function newDatabase({ postgres }) {
  const name = `compare_${randomUUID().replaceAll("-", "")}`;
  await run(join(await postgresPrograms(), "psql"), ["-X", "-q", "-d", postgres.url, "-c", `CREATE DATABASE ${name}`]);
  return postgres.url.replace(/[^/]*$/, name);
}

/** Debian installs the programs of the server outside the PATH. */
async function postgresPrograms() {
  const found = await run("sh", [
    "-c",
    "ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1; command -v initdb || true",
  ]);
  const [first] = found.split("\n").filter(Boolean);
  if (!first) throw new Error("Postgres is not installed");
  return first.replace(/\/initdb$/, "");
}

async function answers(child, ask) {
  for (let attempt = 0; attempt < 300; attempt++) {
    if (child.exitCode !== null) break;
    try {
      return await ask();
    } catch {
      await sleep(50);
    }
  }
  throw new Error(`the server did not start: ${child.output()}`);
}
