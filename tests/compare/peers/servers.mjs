// Starts the servers of peers and limits that are programs of this folder.

import { join } from "node:path";
import { printed, start } from "../processes.mjs";

/** Starts a program of this folder; the result has its `port` and `pid`. */
export async function startServer(program, ...args) {
  const child = start(process.execPath, ["--expose-gc", join(import.meta.dirname, program), ...args]);
  const port = Number(await printed(child, /^ready (\d+)/));
  return { child, pid: child.pid, port };
}
