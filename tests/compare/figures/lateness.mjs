// Figure 5. How late delayed work is: from the due time until it is done. None may be early.
//
// Ours is a notification: accepted over HTTP, stored when it is due, read from one of 200 sockets. A job of
// BullMQ is a call of a function in the worker. The limit is a sorted set that is read every millisecond.

import { setTimeout as sleep } from "node:timers/promises";
import { startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { openConnections } from "../http.mjs";
import { peer } from "../peer-packages.mjs";
import { cpuEach, meter } from "../processes.mjs";
import { terminate } from "../sockets.mjs";
import { percentiles } from "../statistics.mjs";

const COUNT = 1_000;
const USERS = 200;
/** The time until the first is due: enough to accept all of them before. */
const AHEAD_MS = 8_000;
/** Over how long they are due: spread, and at one instant. */
const SHAPES = { spread: 2_000, instant: 0 };
/** BullMQ's jobs at once in one worker. */
const CONCURRENCY = 50;
const BODY = "x".repeat(150);

export const title = "Lateness of delayed work";

export const sides = {
  local: (context) => eachShape((overMs) => ours(context, "local", overMs)),
  servers: (context) => eachShape((overMs) => ours(context, "servers", overMs)),
  bullmq: (context) => eachShape((overMs) => bullmq(context, overMs)),
  bare: (context) => eachShape((overMs) => bare(context, overMs)),
};

const note = "ours also stores and pushes to a socket";
export const rows = ["local", "servers"].flatMap((side) =>
  [
    { name: `p99, spread over 2 s (${side})`, metric: "spreadP99", target: 1 / 25, ceiling: 4 },
    { name: `p99, at one instant (${side})`, metric: "instantP99", target: 1 / 15, ceiling: 16 },
  ].map((row) => ({ ...row, unit: "ms", ours: side, peer: "bullmq", limit: "bare", better: "lower", note })),
);

async function eachShape(measure) {
  const result = { cpuUs: {} };
  for (const [shape, overMs] of Object.entries(SHAPES)) {
    const { lateMs, cpuUs } = await measure(overMs);
    const { p50, p99 } = percentiles(lateMs);
    Object.assign(result, { [`${shape}P50`]: p50, [`${shape}P99`]: p99 });
    result.cpuUs[`${shape}P99`] = cpuUs;
  }
  return result;
}

/** The due times, in milliseconds since 1970. */
function dueTimes(overMs) {
  const first = Date.now() + AHEAD_MS;
  return Array.from({ length: COUNT }, (_, n) => first + Math.floor((overMs * n) / COUNT));
}

/** Milliseconds since 1970 with a fraction: those of `Date.now` are too coarse. */
function now() {
  return performance.timeOrigin + performance.now();
}

/** What arrived and when; then how late each was, if none was early and each came once. */
class Arrivals {
  #at = new Map();
  #deliveries = new Deliveries();

  arrive(id) {
    this.#at.set(id, now());
    this.#deliveries.arrive(id);
  }

  async lateness(dueOf) {
    await this.#deliveries.areExactly(dueOf.keys());
    const lateMs = [...dueOf].map(([id, dueMs]) => this.#at.get(id) - dueMs);
    const earliest = Math.min(...lateMs);
    // Due times are in whole milliseconds, and so is the origin of this clock.
    if (earliest < -2) throw new Error(`one was ${-earliest} ms early`);
    return lateMs;
  }

  reach(count) {
    return this.#deliveries.reach(count);
  }
}

async function ours(context, stores, overMs) {
  const carillon = await startCarillon(context, stores);
  const users = Array.from({ length: USERS }, (_, n) => `user-${n}`);
  const arrivals = new Arrivals();
  const sockets = await carillon.openSockets(users, (frame) => {
    if (frame.type === "notification") arrivals.arrive(frame.notification.id);
    else if (frame.type !== "presence") throw new Error(`a frame that was not expected: ${JSON.stringify(frame)}`);
  });
  const connections = await openConnections(carillon.port, 8);
  const costs = meter(carillon.processes(context));
  const dues = dueTimes(overMs);
  const dueOf = new Map();
  const headers = carillon.as("service", "notify:send");
  let next = 0;
  await Promise.all(
    connections.map(async (connection) => {
      for (let n = next++; n < COUNT; n = next++) {
        const reminder = { type: "reminder", userIds: [users[n % USERS]], title: "Now", body: BODY };
        const body = JSON.stringify({ ...reminder, deliverAt: new Date(dues[n]).toISOString() });
        const sent = await connection.json(202, "POST", "/api/notifications/send", { headers, body });
        dueOf.set(sent.notifications[0].id, dues[n]);
      }
    }),
  );
  if (now() > dues[0]) throw new Error("the machine was too slow to accept all before the first was due");
  await arrivals.reach(COUNT);
  const cpuUs = cpuEach(costs(), COUNT);
  const lateMs = await arrivals.lateness(dueOf);
  terminate(sockets);
  await carillon.stop();
  return { lateMs, cpuUs };
}

async function bullmq({ redis }, overMs) {
  const { Queue, Worker } = peer("bullmq");
  const connection = { host: "127.0.0.1", port: redis.port, maxRetriesPerRequest: null };
  const queue = new Queue(`late-${overMs}`, { connection });
  const arrivals = new Arrivals();
  const worker = new Worker(queue.name, async (job) => arrivals.arrive(job.data.id), {
    connection,
    concurrency: CONCURRENCY,
  });
  await worker.waitUntilReady();
  const costs = meter({ redis: [redis.pid] });
  const dueOf = new Map(dueTimes(overMs).map((due, n) => [`${n}`, due]));
  const jobs = [...dueOf].map(([id, due]) => {
    const opts = { delay: due - Date.now(), removeOnComplete: true };
    return { name: "reminder", data: { id, title: "Now", body: BODY }, opts };
  });
  await queue.addBulk(jobs);
  await arrivals.reach(COUNT);
  const cpuUs = cpuEach(costs(), COUNT);
  const lateMs = await arrivals.lateness(dueOf);
  await worker.close();
  await queue.obliterate({ force: true });
  await queue.close();
  return { lateMs, cpuUs };
}

async function bare({ redis: { pid, url } }, overMs) {
  const { Redis } = peer("ioredis");
  const redis = new Redis(url);
  const arrivals = new Arrivals();
  const costs = meter({ redis: [pid] });
  const dueOf = new Map(dueTimes(overMs).map((due, n) => [`${n} ${BODY}`, due]));
  await redis.zadd("late", ...[...dueOf].flatMap(([id, due]) => [due, id]));
  for (let arrived = 0; arrived < COUNT; await sleep(1)) {
    const due = await redis.zrangebyscore("late", 0, Date.now(), "LIMIT", 0, 100);
    if (due.length === 0) continue;
    await redis.zrem("late", ...due);
    for (const id of due) arrivals.arrive(id);
    arrived += due.length;
  }
  const cpuUs = cpuEach(costs(), COUNT);
  const lateMs = await arrivals.lateness(dueOf);
  redis.disconnect();
  return { lateMs, cpuUs };
}
