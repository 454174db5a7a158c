// The machine and the versions that figures come from: without them, figures cannot be compared.

import { readFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { peerNames, root, versionOf } from "./peer-packages.mjs";
import { run } from "./processes.mjs";

/** The average load of the last minute. */
export function load() {
  return Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]);
}

/** What this run is measured on; `text` has it in lines. */
export async function machine(carillon, reps) {
  const first = async (command, ...args) => (await run(command, args, { cwd: root })).split("\n")[0].trim();
  const head = await first("git", "rev-parse", "--short", "HEAD");
  // What an earlier run has written changes nothing that is measured.
  const changes = await run("git", ["status", "--porcelain", "--", ".", ":(exclude)docs/performance.*"], { cwd: root });
  const about = {
    date: new Date().toISOString().slice(0, 10),
    cpu: `${cpus().length} × ${cpus()[0].model.trim()}`,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    linux: readFileSync("/proc/sys/kernel/osrelease", "utf8").trim(),
    carillon: await first(carillon, "--version"),
    commit: `${head}${changes === "" ? "" : "-dirty"}`,
    isNamed: Boolean(process.env.CARILLON),
    node: process.version,
    redis: /v=(\S+)/.exec(await first("redis-server", "--version"))[1],
    postgres: await first("psql", "--version"),
    peers: peerNames.map((name) => `${name} ${versionOf(name)}`).join(", "),
    loadBefore: load(),
    reps,
  };
  const { commit, date, cpu, memoryGib, linux, node, redis, postgres, peers, loadBefore } = about;
  about.text = [
    // Whatever build was named may be of another commit.
    `${about.carillon}, ${about.isNamed ? "a build that was named, compared at " : ""}commit ${commit}; ${date}`,
    `${cpu}, ${memoryGib} GiB, Linux ${linux}, node ${node}, Redis ${redis}, ${postgres}`,
    `${peers}`,
    `load before: ${loadBefore}; ${reps} repetitions, the sides in turn; medians [least..most]; CPU is of all processes, for each operation`,
    "nothing is drawn at random: every run makes the same calls",
  ].join("\n");
  return about;
}
