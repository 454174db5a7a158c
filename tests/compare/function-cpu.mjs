// The CPU time of a function, which is what Lambda bills: that of its processes alone. The kernel counts it in nanoseconds,
// where `meter` reads ticks.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import { descendants } from "./processes.mjs";

/**
 * Measures the CPU time of a function from now on: of the processes below this one whose executable has its name. The
 * result of the returned function is in microseconds.
 */
export function meterFunction(pid, name) {
  const before = threadTimes(pid, name);
  return () => usedBetween(before, threadTimes(pid, name));
}

/** How long a thread has run on a CPU according to its /proc/PID/task/TID/schedstat, in microseconds. */
export function onCpuUs(schedstat) {
  return Number(schedstat.split(" ")[0]) / 1_000;
}

/**
 * What threads used between two readings, each a map from thread to microseconds so far. The time of a thread that has
 * ended is not known any more, so then this fails.
 */
export function usedBetween(before, after) {
  const ended = [...before.keys()].filter((thread) => !after.has(thread));
  if (ended.length > 0) throw new Error(`threads have ended while their CPU time was measured: ${ended}`);
  return [...after].reduce((sum, [thread, us]) => sum + us - (before.get(thread) ?? 0), 0);
}

function threadTimes(pid, name) {
  const times = new Map();
  for (const process of descendants(pid)) {
    if (executable(process) !== name) continue;
    for (const thread of readdirSync(`/proc/${process}/task`)) {
      times.set(thread, onCpuUs(readFileSync(`/proc/${process}/task/${thread}/schedstat`, "utf8")));
    }
  }
  if (times.size === 0) throw new Error(`no process of ${name} is running`);
  return times;
}

/** The name of the file that a process runs; empty if it has ended. */
function executable(pid) {
  try {
    return basename(readlinkSync(`/proc/${pid}/exe`));
  } catch {
    return "";
  }
}
