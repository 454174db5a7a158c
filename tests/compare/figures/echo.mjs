// Figure 8. A frame on a socket that a function answers by a POST to @connections.
//
// Ours is a ping: its function renews the presence, reads where inbox and chats of the user stand, and answers that. The
// function of serverless-offline sends the frame back. Both run in the process of the gateway; ours also as on Lambda, in
// processes of their own that are frozen between two frames (`spawned`).

import { buildFunctions, startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { Connection } from "../http.mjs";
import { startServerlessOffline } from "../peers/serverless-offline.mjs";
import { startServer } from "../peers/servers.mjs";
import { cpuEach, meter, stop } from "../processes.mjs";
import { openSocket } from "../sockets.mjs";
import { percentiles } from "../statistics.mjs";

const FRAMES = 800;
const WARM_UP = 100;
const IN_FLIGHT = 32;
const ROUND_MS = 3_000;
const BODY = "x".repeat(100);

export const title = "Frame that a function answers";

export const sides = {
  local: (context) => ours(context, "local"),
  servers: (context) => ours(context, "servers"),
  spawned: (context) => ours(context, "spawned"),
  serverless,
  bare,
};

export const prepare = buildFunctions;

const note = "ours also reads inbox, chats, presence";
const notes = { local: note, servers: note, spawned: `${note}; a process each` };
export const rows = Object.keys(notes).flatMap((side) =>
  [
    { name: `p50 (${side})`, unit: "ms", metric: "p50", better: "lower", target: 0.22 },
    { name: `p99 (${side})`, unit: "ms", metric: "p99", better: "lower" },
    {
      name: `frames/s, 32 in flight (${side})`,
      unit: "/s",
      metric: "perSecond",
      better: "higher",
      target: 12,
      cpuTarget: 1 / 10,
    },
  ].map((row) => ({ ...row, ours: side, peer: "serverless", limit: "bare", note: notes[side] })),
);

async function ours(context, stores) {
  const carillon = await startCarillon(context, stores);
  const connection = await Connection.open(carillon.port);
  const echo = new Echo((id) => socket.send(JSON.stringify({ action: "ping", ref: id })));
  const socket = await carillon.openSocket(await carillon.ticket(connection, "alice"), (frame) => {
    if (frame.type === "pong") echo.answers(frame.ref);
    else if (frame.type !== "presence") throw new Error(`a frame that was not expected: ${JSON.stringify(frame)}`);
  });
  connection.close();
  const result = await echo.measure(carillon.processes(context));
  socket.terminate();
  await carillon.stop();
  return result;
}

async function serverless() {
  const server = await startServerlessOffline();
  const echo = new Echo((id) => socket.send(JSON.stringify({ action: "echo", id, body: BODY })));
  const socket = await openSocket(`ws://127.0.0.1:${server.socketPort}/`, (text) => echo.answers(JSON.parse(text).id));
  const result = await echo.measure({ server: [server.pid] });
  socket.terminate();
  await stop(server.child);
  return result;
}

async function bare() {
  const server = await startServer("bare-relay.mjs");
  const echo = new Echo((id) => socket.send(`me ${JSON.stringify({ id, body: BODY })}`));
  const socket = await openSocket(`ws://127.0.0.1:${server.port}/me`, (text) => echo.answers(JSON.parse(text).id));
  const result = await echo.measure({ server: [server.pid] });
  socket.terminate();
  await stop(server.child);
  return result;
}

/** Frames with an id of their own, and their answers. */
class Echo {
  #asked = 0;
  #waiting = new Map();
  #deliveries = new Deliveries();
  #send;

  constructor(send) {
    this.#send = send;
  }

  answers(id) {
    this.#deliveries.arrive(id);
    this.#waiting.get(id)?.();
    this.#waiting.delete(id);
  }

  async asks() {
    const id = `${this.#asked++}`;
    const beganAt = performance.now();
    const answered = new Promise((resolve) => this.#waiting.set(id, resolve));
    this.#send(id);
    await answered;
    return performance.now() - beganAt;
  }

  /** One after the other, then 32 at once; fails unless each is answered once. */
  async measure(processes) {
    const taken = [];
    for (let n = 0; n < FRAMES; n++) {
      const ms = await this.asks();
      if (n >= WARM_UP) taken.push(ms);
    }
    await this.#asksFor(ROUND_MS / 4);
    const [costs, beganAt, before] = [meter(processes), performance.now(), this.#asked];
    await this.#asksFor(ROUND_MS);
    const ms = performance.now() - beganAt;
    const cpu = costs();
    const count = this.#asked - before;
    await this.#deliveries.areExactly(Array.from({ length: this.#asked }, (_, n) => `${n}`));
    return { ...percentiles(taken), perSecond: (count / ms) * 1_000, cpuUs: { perSecond: cpuEach(cpu, count) }, cpu };
  }

  async #asksFor(ms) {
    const until = performance.now() + ms;
    const ask = async () => {
      while (performance.now() < until) await this.asks();
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, ask));
  }
}
