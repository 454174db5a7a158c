// Figure 9. An HTTP call that invokes the smallest function.
//
// Ours invokes its smallest function, which answers 404 to every path that no other has: inside the gateway's process, as
// `make run` does, and as on Lambda, in a process of its own that is frozen between two calls (`spawned`). cargo lambda
// watch invokes a process of its own too, which is never frozen, and takes what it prints and traces.

import { buildFunctions, startCarillon } from "../carillon.mjs";
import { keepBusy, openConnections } from "../http.mjs";
import { bareServer, buildHello, installCargoLambda, startCargoLambda } from "../peers/hello.mjs";
import { cpuEach, meter, printed, start, stop } from "../processes.mjs";
import { percentiles } from "../statistics.mjs";

const CALLS = 2_000;
const WARM_UP = 300;
const CONNECTIONS = 10;
const ROUND_MS = 3_000;

export const title = "HTTP call that invokes a function";

export const sides = {
  local: (context) => ours(context, "local"),
  spawned: (context) => ours(context, "spawned"),
  cargoLambda,
  bare,
};

const notes = { local: "ours in one process, theirs in two", spawned: "ours freezes its process" };
export const rows = Object.entries(notes).flatMap(([side, note]) =>
  [
    { name: `p50 (${side})`, unit: "ms", metric: "p50", better: "lower", target: 0.5 },
    { name: `p99 (${side})`, unit: "ms", metric: "p99", better: "lower" },
    {
      name: `calls/s, 10 connections (${side})`,
      unit: "/s",
      metric: "perSecond",
      better: "higher",
      target: 5,
      cpuTarget: 1 / 8,
    },
  ].map((row) => ({ ...row, ours: side, peer: "cargoLambda", limit: "bare", note })),
);

export async function prepare(context) {
  await buildHello();
  await installCargoLambda();
  return buildFunctions(context);
}

async function ours(context, stores) {
  const carillon = await startCarillon(context, stores);
  const result = await callAll({ ...carillon, path: "/nowhere", status: 404, expected: /"code":"not_found"/ });
  await carillon.stop();
  return result;
}

async function cargoLambda() {
  const server = await startCargoLambda();
  const result = await callAll({ ...server, status: 200, expected: /^{"ok":true}$/ });
  await stop(server.child);
  return result;
}

async function bare() {
  const child = start(bareServer, []);
  const port = Number(await printed(child, /^ready (\d+)/));
  const result = await callAll({ pid: child.pid, port, path: "/", status: 200, expected: /^{"ok":true}$/ });
  await stop(child);
  return result;
}

/** Calls one after the other, then on several connections at once; fails unless every answer is the expected one. */
async function callAll({ pid, port, path, status, expected }) {
  const connections = await openConnections(port, CONNECTIONS);
  const call = async (connection) => {
    const answer = await connection.call("GET", path);
    if (answer.status !== status || !expected.test(answer.body)) throw new Error(`${answer.status} ${answer.body}`);
  };
  const taken = [];
  for (let n = 0; n < CALLS; n++) {
    const beganAt = performance.now();
    await call(connections[0]);
    if (n >= WARM_UP) taken.push(performance.now() - beganAt);
  }
  await keepBusy(connections, ROUND_MS / 6, call);
  const [costs, beganAt] = [meter({ server: [pid] }), performance.now()];
  const calls = await keepBusy(connections, ROUND_MS, call);
  const ms = performance.now() - beganAt;
  const cpu = costs();
  for (const connection of connections) connection.close();
  return { ...percentiles(taken), perSecond: (calls / ms) * 1_000, cpuUs: { perSecond: cpuEach(cpu, calls) }, cpu };
}
