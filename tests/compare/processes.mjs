// Child processes: starting and stopping them, and what they cost according to /proc.

import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

/** The unit of CPU times in /proc: 100 ticks a second on every Linux. */
const TICK_US = 10_000;

const running = new Set();
process.on("exit", () => {
  for (const child of running) signal(child, "SIGKILL");
});
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(name, () => process.exit(130));

/** Starts a process in a group of its own, so that what it starts ends with it. `output()` is what it printed last. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], ...options, detached: true });
  running.add(child);
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (data) => {
      printed = (printed + data).slice(-4_000);
    });
  }
  child.output = () => printed;
  child.ended = new Promise((resolve) => child.once("close", resolve));
  child.once("error", (error) => {
    printed += error.message;
  });
  child.ended.then(() => running.delete(child));
  return child;
}

/** Stops a process and its group, and kills what is left of it after 10 s. */
export async function stop(child) {
  signal(child, "SIGTERM");
  const isOver = await Promise.race([child.ended.then(() => true), sleep(10_000, false, { ref: false })]);
  signal(child, "SIGKILL");
  if (!isOver) await child.ended;
}

/** Resolves to what `pattern` captures in the first line of the standard output that matches. */
export function printed(child, pattern, timeoutMs = 30_000) {
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Error(`${child.spawnfile} ${why}: ${child.output()}`));
    const timer = setTimeout(fail, timeoutMs, `did not print ${pattern} in time`);
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = pattern.exec(line);
      if (found) {
        clearTimeout(timer);
        resolve(found[1]);
      }
    });
    child.ended.then(() => fail("ended"));
  });
}

/** Runs a command to its end; fails if it fails. Resolves to its standard output. */
export async function run(command, args, options = {}) {
  const child = start(command, args, options);
  let out = "";
  child.stdout?.on("data", (data) => {
    out += data;
  });
  await child.ended;
  if (child.exitCode !== 0) throw new Error(`${command} ${args.join(" ")}: ${child.output()}`);
  return out;
}

/** A port that is free now. */
export function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** A process and its descendants. */
export function descendants(pid) {
  const children = new Map();
  for (const id of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    const parent = Number(fields(id)[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(id)]);
  }
  const found = [pid];
  for (const id of found) found.push(...(children.get(id) ?? []));
  return found;
}

/** User and system time of a process and its descendants so far, in microseconds, in steps of 10 ms. */
export function cpuOf(pid) {
  // The times of descendants that have ended are in those of the parent that waited for them.
  return descendants(pid).reduce(
    (sum, id) =>
      sum +
      fields(id)
        .slice(11, 15)
        .reduce((a, b) => a + Number(b), 0) *
        TICK_US,
    0,
  );
}

/** Resident memory of a process and its descendants, in KiB. */
export function residentKib(pid) {
  return descendants(pid).reduce((sum, id) => sum + Number(/VmRSS:\s+(\d+)/.exec(read(id, "status"))?.[1] ?? 0), 0);
}

/**
 * Measures the CPU time of these processes and of this one, the client, from now on. The result of the returned function
 * is in microseconds, by role: `meter({ server: [pid], redis: [pid] })().server`.
 */
export function meter(pidsByRole) {
  const roles = Object.entries(pidsByRole);
  const before = roles.map(([, pids]) => pids.map(cpuOf));
  const own = process.cpuUsage();
  return () => {
    const used = process.cpuUsage(own);
    const costs = { client: used.user + used.system };
    roles.forEach(([role, pids], n) => {
      costs[role] = pids.reduce((sum, pid, m) => sum + cpuOf(pid) - before[n][m], 0);
    });
    return costs;
  };
}

/** The sum over all roles for each of `count` operations, in microseconds. */
export function cpuEach(costs, count) {
  return Object.values(costs).reduce((a, b) => a + b, 0) / count;
}

function signal(child, name) {
  try {
    process.kill(-child.pid, name);
  } catch {
    // It has ended already.
  }
}

/** The fields of /proc/PID/stat after the name, which may contain spaces; none if the process has ended. */
function fields(pid) {
  const stat = read(pid, "stat");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function read(pid, file) {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return "";
  }
}
