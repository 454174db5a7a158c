// Figure 6. A chat message, from the frame that says it on one socket until the other user's socket has read it.
//
// Ours is one gateway with two handlers, and the message is stored before it is delivered, and answered. Socket.IO is two
// processes over Redis pub/sub, with one user on each; nothing is stored.

import { setTimeout as sleep } from "node:timers/promises";
import { startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { Connection } from "../http.mjs";
import { startServer } from "../peers/servers.mjs";
import { cpuEach, meter, stop } from "../processes.mjs";
import { openSocket, openSocketIo, terminate } from "../sockets.mjs";
import { percentiles } from "../statistics.mjs";

/** Messages of one pair, one after the other, and the first of them, which are not counted. */
const MESSAGES = 1_000;
const WARM_UP = 200;
/** The pause after each, so that no message meets the one before. */
const PAUSE_MS = 1;
/** Pairs that talk at once, and for how long. */
const PAIRS = 64;
const ROUND_MS = 3_000;
const BODY = "x".repeat(150);

export const title = "Chat message from socket to socket";

export const sides = {
  local: (context) => ours(context, "local"),
  servers: (context) => ours(context, "servers"),
  socketio,
  bare,
};

const more = "ours also stores and answers";
export const rows = [
  ...["local", "servers"].flatMap((side) => [
    { name: `p50 (${side})`, unit: "ms", metric: "p50", ours: side, better: "lower", target: 0.85, note: more },
    {
      name: `p99 (${side})`,
      unit: "ms",
      metric: "p99",
      ours: side,
      better: "lower",
      target: 1,
      ceiling: 10,
      note: more,
    },
    {
      name: `messages/s, 64 pairs (${side})`,
      unit: "/s",
      metric: "perSecond",
      ours: side,
      better: "higher",
      target: 0.7,
      note: more,
    },
  ]),
].map((row) => ({ ...row, peer: "socketio", limit: "bare" }));

async function ours(context, stores) {
  const carillon = await startCarillon(context, stores);
  const pairs = await Promise.all(Array.from({ length: PAIRS }, (_, n) => meet(carillon, n)));
  const result = await talk(pairs, carillon.processes(context));
  const connection = await Connection.open(carillon.port);
  for (const [n, pair] of pairs.entries()) {
    const headers = carillon.as(`speaker-${n}`);
    const chat = await connection.json(200, "GET", `/api/chats/${pair.chat}`, { headers });
    if (chat.lastSeq !== pair.said) throw new Error(`${pair.said} messages were said and ${chat.lastSeq} stored`);
  }
  terminate(pairs.flatMap((pair) => pair.sockets));
  await carillon.stop();
  return result;
}

/** Two users in a group of their own, which is accepted from the start. */
async function meet(carillon, n) {
  const connection = await Connection.open(carillon.port);
  const [speaker, listener] = [`speaker-${n}`, `listener-${n}`];
  const body = JSON.stringify({ kind: "group", participantIds: [listener] });
  const chat = await connection.json(201, "POST", "/api/chats", { headers: carillon.as(speaker), body });
  const pair = new Pair((id) => {
    speaks.send(JSON.stringify({ action: "sendMessage", chatId: chat.id, clientId: id, body: BODY }));
  });
  const onFrame = (frame) => {
    if (frame.type === "error") throw new Error(JSON.stringify(frame));
  };
  const speaks = await carillon.openSocket(await carillon.ticket(connection, speaker), onFrame);
  const hears = await carillon.openSocket(await carillon.ticket(connection, listener), (frame) => {
    if (frame.type === "message") pair.hears(frame.message.clientId);
    else onFrame(frame);
  });
  connection.close();
  return Object.assign(pair, { chat: chat.id, sockets: [speaks, hears] });
}

async function socketio(context) {
  const servers = await Promise.all([1, 2].map(() => startServer("socketio-server.mjs", context.redis.url)));
  const [a, b] = servers;
  const pairs = [];
  for (let n = 0; n < PAIRS; n++) {
    const pair = new Pair((id) => speaks.send(`42${JSON.stringify(["say", { to: `listener-${n}`, id, body: BODY }])}`));
    const hears = await openSocketIo(b.port, `listener-${n}`, (message) => pair.hears(message.id));
    const speaks = await openSocketIo(a.port, `speaker-${n}`, () => {});
    pairs.push(Object.assign(pair, { sockets: [speaks, hears] }));
  }
  const result = await talk(pairs, { server: [a.pid, b.pid], redis: [context.redis.pid] });
  terminate(pairs.flatMap((pair) => pair.sockets));
  await Promise.all(servers.map((server) => stop(server.child)));
  return result;
}

async function bare() {
  const relay = await startServer("bare-relay.mjs");
  const pairs = [];
  for (let n = 0; n < PAIRS; n++) {
    const pair = new Pair((id) => speaks.send(`listener-${n} ${JSON.stringify({ id, body: BODY })}`));
    const url = `ws://127.0.0.1:${relay.port}`;
    const hears = await openSocket(`${url}/listener-${n}`, (text) => pair.hears(JSON.parse(text).id));
    const speaks = await openSocket(`${url}/speaker-${n}`, () => {});
    pairs.push(Object.assign(pair, { sockets: [speaks, hears] }));
  }
  const result = await talk(pairs, { server: [relay.pid] });
  terminate(pairs.flatMap((pair) => pair.sockets));
  await stop(relay.child);
  return result;
}

/** A speaker and a listener: the next message is said when the last one was heard. */
class Pair {
  said = 0;
  #deliveries = new Deliveries();
  #heard = () => {};
  #say;

  constructor(say) {
    this.#say = say;
  }

  async says() {
    this.said += 1;
    const heard = new Promise((resolve) => {
      this.#heard = resolve;
    });
    const beganAt = performance.now();
    this.#say(`${this.said}`);
    await heard;
    return performance.now() - beganAt;
  }

  hears(id) {
    this.#deliveries.arrive(id);
    if (id === `${this.said}`) this.#heard();
  }

  heardAll() {
    return this.#deliveries.areExactly(Array.from({ length: this.said }, (_, n) => `${n + 1}`));
  }
}

/** Lets one pair talk with pauses, and then all at once. */
async function talk(pairs, processes) {
  const taken = [];
  for (let n = 0; n < MESSAGES; n++) {
    const ms = await pairs[0].says();
    if (n >= WARM_UP) taken.push(ms);
    await sleep(PAUSE_MS);
  }
  await talkFor(pairs, ROUND_MS / 4);
  const saidBefore = pairs.reduce((sum, pair) => sum + pair.said, 0);
  const costs = meter(processes);
  const ms = await talkFor(pairs, ROUND_MS);
  const cpu = costs();
  const count = pairs.reduce((sum, pair) => sum + pair.said, 0) - saidBefore;
  await Promise.all(pairs.map((pair) => pair.heardAll()));
  return { ...percentiles(taken), perSecond: (count / ms) * 1_000, cpuUs: { perSecond: cpuEach(cpu, count) }, cpu };
}

async function talkFor(pairs, ms) {
  const beganAt = performance.now();
  await Promise.all(
    pairs.map(async (pair) => {
      while (performance.now() - beganAt < ms) await pair.says();
    }),
  );
  return performance.now() - beganAt;
}
