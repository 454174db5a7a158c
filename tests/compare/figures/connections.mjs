// Figure 10. How fast sockets open, what memory an idle one takes, and how soon a new process gives its first answer.
//
// Ours checks a one-time ticket of each socket's user and records its presence; Socket.IO's sockets are not authenticated.
// Tickets are taken before, which `with tickets` counts too.

import { setTimeout as sleep } from "node:timers/promises";
import { startCarillon } from "../carillon.mjs";
import { Connection, firstAnswer, openConnections } from "../http.mjs";
import { startServerlessOffline } from "../peers/serverless-offline.mjs";
import { startServer } from "../peers/servers.mjs";
import { cpuEach, meter, residentKib, stop } from "../processes.mjs";
import { openSocket, openSocketIo, terminate } from "../sockets.mjs";
import { percentile } from "../statistics.mjs";

const SOCKETS = 5_000;
/** How many open at once. Tickets are valid for 30 s, so they are taken for one part of the sockets at a time. */
const AT_ONCE = 50;
const PART = 1_000;
const STARTS = 5;
/** Long enough for the work of opening sockets to end. */
const CALM_MS = 1_500;

export const title = "Connections";

export const sides = {
  local: (context) => ours(context, "local"),
  servers: (context) => ours(context, "servers"),
  socketio,
  bare,
  serverless,
};

const more = "ours also takes a ticket, records presence";
export const rows = [
  ...["local", "servers"].flatMap((side) =>
    [
      { name: `opened/s (${side})`, unit: "/s", metric: "perSecond", better: "higher", target: 2.5, note: more },
      {
        name: `opened/s with tickets (${side})`,
        unit: "/s",
        metric: "withTickets",
        better: "higher",
        target: 2.5,
        note: `${more}; an HTTP call each`,
      },
      {
        name: `RSS each, ${SOCKETS.toLocaleString("en-US")} open (${side})`,
        unit: "KiB",
        metric: "kibEach",
        better: "lower",
        target: 0.35,
        ceiling: 5.6,
      },
    ].map((row) => ({ ...row, ours: side, peer: "socketio", limit: "bare" })),
  ),
  {
    name: "start to first answer (local)",
    unit: "ms",
    metric: "startMs",
    ours: "local",
    peer: "serverless",
    limit: "bare",
    better: "lower",
    target: 1 / 25,
    ceiling: 70,
  },
];

async function ours(context, stores) {
  const startMs = stores === "local" ? await starts(context) : undefined;
  const carillon = await startCarillon(context, stores);
  const connections = await openConnections(carillon.port, 8);
  const ticketed = async (from, count) => {
    const tickets = new Array(count);
    let next = 0;
    await Promise.all(
      connections.map(async (connection) => {
        for (let n = next++; n < count; n = next++) tickets[n] = await carillon.ticket(connection, `user-${from + n}`);
      }),
    );
    return tickets;
  };
  const open = (ticket) => carillon.openSocket(ticket, () => {});
  // The first sockets load code and fill pools, which is not memory of a socket.
  const [ticket] = await ticketed(SOCKETS, 1);
  terminate([await open(ticket)]);
  const opened = await openAll({ carillon, processes: carillon.processes(context), prepare: ticketed, open });
  const listed = await connections[0].json(200, "GET", "/_gateway/connections");
  if (listed.connections.length !== SOCKETS)
    throw new Error(`${listed.connections.length} of ${SOCKETS} are connected`);
  terminate(opened.sockets);
  await carillon.stop();
  return { ...opened.result, startMs };
}

/** The median time from the start of a process on a new folder until its first answer, which is that the stores work. */
async function starts(context) {
  const taken = [];
  for (let n = 0; n < STARTS; n++) {
    const carillon = await startCarillon(context, "local");
    await firstAnswer(carillon.child, carillon.port, "/health", /"status":"ok"/);
    taken.push(performance.now() - carillon.beganAt);
    await carillon.stop();
  }
  return percentile(taken, 0.5);
}

async function socketio(context) {
  const server = await startServer("socketio-server.mjs", context.redis.url);
  terminate(await Promise.all(Array.from({ length: 50 }, (_, n) => openSocketIo(server.port, `first-${n}`, () => {}))));
  const opened = await openAll({
    server,
    processes: { server: [server.pid], redis: [context.redis.pid] },
    prepare: (from, count) => Array.from({ length: count }, (_, n) => `user-${from + n}`),
    open: (user) => openSocketIo(server.port, user, () => {}),
  });
  terminate(opened.sockets);
  await stop(server.child);
  return opened.result;
}

async function bare() {
  const beganAt = performance.now();
  const server = await startServer("bare-relay.mjs");
  const connection = await Connection.open(server.port);
  await connection.json(202, "POST", "/tell", { body: "{}" });
  const startMs = performance.now() - beganAt;
  const opened = await openAll({
    server,
    processes: { server: [server.pid] },
    prepare: (from, count) => Array.from({ length: count }, (_, n) => from + n),
    open: (n) => openSocket(`ws://127.0.0.1:${server.port}/${n}`, () => {}),
  });
  terminate(opened.sockets);
  await stop(server.child);
  return { ...opened.result, startMs };
}

async function serverless() {
  const { child, startMs } = await startServerlessOffline();
  await stop(child);
  return { startMs };
}

/** Opens all sockets. `prepare` makes what each of some needs, and `open` opens one with it. */
async function openAll({ server, carillon, processes, prepare, open }) {
  const { pid } = server ?? carillon;
  const resident = async () => {
    await sleep(CALM_MS);
    // Asks a server in Node to collect its garbage; ours has none.
    if (server) process.kill(pid, "SIGUSR2");
    await sleep(CALM_MS / 3);
    return residentKib(pid);
  };
  const before = await resident();
  const sockets = [];
  const [ms, costs] = [
    { preparing: 0, opening: 0 },
    { preparing: 0, opening: 0 },
  ];
  for (let from = 0; from < SOCKETS; from += PART) {
    const prepared = await timed("preparing", () => prepare(from, PART));
    await timed("opening", async () => {
      for (let n = 0; n < PART; n += AT_ONCE)
        sockets.push(...(await Promise.all(prepared.slice(n, n + AT_ONCE).map(open))));
    });
  }
  const kibEach = ((await resident()) - before) / SOCKETS;
  if (sockets.some((socket) => socket.readyState !== socket.OPEN)) throw new Error("lost: a socket was closed");
  const rate = (taken) => (SOCKETS / taken) * 1_000;
  const result = { perSecond: rate(ms.opening), withTickets: rate(ms.opening + ms.preparing), kibEach, cpuUs: {} };
  result.cpuUs = { perSecond: costs.opening, withTickets: costs.opening + costs.preparing };
  return { sockets, result };

  async function timed(what, act) {
    const [cost, beganAt] = [meter(processes), performance.now()];
    const made = await act();
    ms[what] += performance.now() - beganAt;
    costs[what] += cpuEach(cost(), SOCKETS);
    return made;
  }
}
