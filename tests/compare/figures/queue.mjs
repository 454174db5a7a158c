// Figures 1 to 4. The queue: enqueueing in bulk, processing, the bytes of what waits, and how soon an idle worker begins.
//
// Ours is seen from outside where it can be: a call of `send` enqueues 1,000 notifications, which are committed to Postgres
// before it answers, and `emit` is picked up by a drain that pushes it. What only the inside shows comes from the project's
// benchmarks, `queue-servers`. The jobs of BullMQ do nothing.

import { setTimeout as sleep } from "node:timers/promises";
import { bench, buildBenches } from "../benches.mjs";
import { startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { Connection } from "../http.mjs";
import { peer } from "../peer-packages.mjs";
import * as bullmqSide from "../peers/bullmq.mjs";
import * as streamsSide from "../peers/redis-streams.mjs";
import { cpuEach, meter } from "../processes.mjs";
import { terminate } from "../sockets.mjs";
import { percentiles } from "../statistics.mjs";

const BATCH = 1_000;
const BATCHES = 20;
/** Batches that wait while their bytes are counted. */
const WAITING = 33;
const PICKUPS = 50;
const WARM_UP = 10;
const PAUSE_MS = 10;
/** More users than `emit` tells in the call itself, so that the drain does it. */
const AUDIENCE = 21;
const BODY = "x".repeat(120);

export const title = "Queue";

export const sides = {
  servers,
  emit,
  benches,
  bullmq: bullmqSide.measure,
  streams: streamsSide.measure,
};

/** Builds the benchmarks. Without them the other sides still run. */
export async function prepare(context) {
  try {
    context.benches = await buildBenches();
  } catch (error) {
    return { benches: error.message };
  }
}

export const rows = [
  {
    name: "1: enqueued/s, 1,000 a call",
    unit: "/s",
    metric: "enqueued",
    ours: "servers",
    better: "higher",
    target: 12,
    limitTarget: 0.55,
    note: "ours also commits to Postgres, over HTTP",
  },
  {
    name: "2: processed/s, the queue alone",
    unit: "/s",
    metric: "processed",
    ours: "benches",
    better: "higher",
    target: 15,
    limitTarget: 0.55,
    note: "claimed and settled 64 at once, of 10,000; no handler",
  },
  {
    name: "2: processed/s, with record and push",
    unit: "/s",
    metric: "pushed",
    peerMetric: "processed",
    limitMetric: "processed",
    ours: "benches",
    better: "higher",
    target: 15,
    limitTarget: 0.55,
    note: "ours takes, pushes and marks a row of Postgres each",
  },
  {
    name: "2: rate with 100,000 waiting to 1,000",
    unit: "",
    metric: "steadiness",
    ours: "benches",
    peer: null,
    limit: null,
    better: "higher",
    floor: 0.9,
  },
  {
    name: "3: Redis bytes of one waiting",
    unit: "B",
    metric: "redisBytes",
    ours: "servers",
    better: "lower",
    target: 0.32,
    note: "ours waits in Postgres",
  },
  {
    name: "3: bytes of one waiting, Postgres too",
    unit: "B",
    metric: "bytes",
    peerMetric: "redisBytes",
    limitMetric: "redisBytes",
    ours: "servers",
    better: "lower",
    target: 0.32,
  },
  {
    name: "4: idle pickup, p50",
    unit: "ms",
    metric: "p50",
    ours: "benches",
    better: "lower",
    target: 0.22,
    limitTarget: 1.4,
    note: "ours also takes a row of Postgres",
  },
  {
    name: "4: idle pickup, p99",
    unit: "ms",
    metric: "p99",
    ours: "benches",
    better: "lower",
    target: 0.25,
    note: "ours also takes a row of Postgres",
  },
  {
    name: "4: pickup of an emit to 21, p50",
    unit: "ms",
    metric: "p50",
    ours: "emit",
    better: "lower",
    target: 0.22,
    limitTarget: 1.4,
    note: "ours also wakes the drain, pushes to a socket",
  },
].map((row) => ({ peer: "bullmq", limit: "streams", ...row }));

/** Figures 2 and 4 as the benchmarks see them. */
async function benches(context) {
  const value = await bench(context.benches, "queue-servers");
  const us = (waiting) => value(`servers: queue, ${waiting} waiting`);
  return {
    processed: 1_000_000 / us("10,000"),
    pushed: value("servers: backlog, one drain"),
    steadiness: us("1,000") / us("100,000"),
    p50: value("servers: idle pickup, p50"),
    p99: value("servers: idle pickup, p99"),
  };
}

/** Figure 4 from outside. A side of its own, because `emit` is outside the promise: a frame that comes twice fails only it. */
async function emit(context) {
  const carillon = await startCarillon(context, "servers");
  const connection = await Connection.open(carillon.port);
  const result = await pickUp(carillon, connection);
  await carillon.stop();
  return result;
}

/** Figures 1 and 3 from outside. */
async function servers(context) {
  const carillon = await startCarillon(context, "servers", { RATE_LIMIT_SEND_TYPES: "reminder=off" });
  const connection = await Connection.open(carillon.port);
  const database = new (peer("pg").Client)(carillon.databaseUrl);
  await database.connect();
  const result = {
    ...(await enqueue(carillon, context, connection, database)),
    ...(await wait(carillon, context, connection, database)),
  };
  await database.end();
  await carillon.stop();
  const { enqueuedCpuUs, ...figures } = result;
  return { ...figures, cpuUs: { enqueued: enqueuedCpuUs } };
}

async function send(carillon, connection, n, more) {
  const userIds = Array.from({ length: BATCH }, (_, user) => `user-${n}-${user}`);
  const body = JSON.stringify({ type: "reminder", userIds, title: "New message", body: BODY, ...more });
  const headers = carillon.as("service", "notify:send");
  return (await connection.json(202, "POST", "/api/notifications/send", { headers, body })).notifications.map(
    ({ id }) => id,
  );
}

async function enqueue(carillon, context, connection, database) {
  await send(carillon, connection, "first", {});
  const costs = meter(carillon.processes(context));
  const beganAt = performance.now();
  const ids = [];
  for (let n = 0; n < BATCHES; n++) ids.push(...(await send(carillon, connection, n, {})));
  const ms = performance.now() - beganAt;
  const enqueuedCpuUs = cpuEach(costs(), ids.length);
  await rowsAre(database, ids);
  return { enqueued: (ids.length / ms) * 1_000, enqueuedCpuUs };
}

/** Waits until each of these stands in an inbox, and fails unless each does once. */
async function rowsAre(database, ids) {
  const sql =
    "SELECT count(*)::int AS count, count(DISTINCT id)::int AS ids FROM notifications WHERE id = ANY($1::uuid[])";
  for (let attempt = 0; attempt < 600; attempt++) {
    const { count, ids: found } = (await database.query(sql, [ids])).rows[0];
    if (count === ids.length && found === ids.length) return;
    if (count > ids.length) throw new Error(`${count} rows of ${ids.length} notifications`);
    await sleep(100);
  }
  throw new Error(`lost: not all of ${ids.length} notifications are stored`);
}

async function wait(carillon, { redis }, connection, database) {
  const { Redis } = peer("ioredis");
  const client = new Redis(redis.url);
  const sizes = async () => {
    await database.query("CHECKPOINT");
    const stored = await database.query("SELECT pg_database_size(current_database())::bigint AS bytes");
    return [Number(/used_memory:(\d+)/.exec(await client.info("memory"))[1]), Number(stored.rows[0].bytes)];
  };
  const deliverAt = new Date(Date.now() + 3_600_000).toISOString();
  const before = await sizes();
  for (let n = 0; n < WAITING; n++) await send(carillon, connection, `later-${n}`, { deliverAt });
  const after = await sizes();
  client.disconnect();
  const [redisBytes, postgresBytes] = after.map((bytes, n) => (bytes - before[n]) / (WAITING * BATCH));
  return { redisBytes, bytes: redisBytes + postgresBytes };
}

async function pickUp(carillon, connection) {
  const users = Array.from({ length: AUDIENCE }, (_, n) => `listener-${n}`);
  const deliveries = new Deliveries();
  const sockets = await carillon.openSockets([users[0]], (frame) => {
    if (frame.type === "system") deliveries.arrive(frame.id);
  });
  const headers = carillon.as("service", "notify:send");
  const [taken, ids] = [[], []];
  for (let n = 0; n < PICKUPS + WARM_UP; n++) {
    const body = JSON.stringify({ type: "system", title: `${n}`, body: BODY, userIds: users });
    const beganAt = performance.now();
    const [{ eventId }] = await Promise.all([
      connection.json(202, "POST", "/api/events/emit", { headers, body }),
      deliveries.reach(n + 1),
    ]);
    if (n >= WARM_UP) taken.push(performance.now() - beganAt);
    ids.push(eventId);
    await sleep(PAUSE_MS);
  }
  await deliveries.areExactly(ids);
  terminate(sockets);
  return percentiles(taken);
}
