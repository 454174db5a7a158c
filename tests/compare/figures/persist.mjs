// Figure 11. From calls until rows are committed to Postgres, and until frames are read too.
//
// Ours takes calls of 1,000 recipients over HTTP, keeps each send as chunks, and makes a row in an inbox of each recipient.
// graphile-worker works off jobs that were stored before and do nothing. The limit inserts rows of the same shape in 1,000s.

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { openConnections } from "../http.mjs";
import { peer } from "../peer-packages.mjs";
import { cpuEach, meter } from "../processes.mjs";
import { terminate } from "../sockets.mjs";
import { newDatabase } from "../stores.mjs";

const BATCH = 1_000;
const BATCHES = 30;
/** Recipients of all batches: each of them gets three. */
const USERS = 10_000;
const IN_FLIGHT = 2;
/** The batches that go to 1,000 sockets. */
const DELIVERED = 5;
/** Jobs of graphile-worker at once, and how many it fetches at once, as its documentation does for throughput. */
const GRAPHILE = { concurrency: 24, localQueue: 500 };
const BODY = "x".repeat(120);

export const title = "Rows committed to Postgres";

export const sides = { servers, graphile, unnest };

const shared = { unit: "/s", ours: "servers", limit: "unnest", better: "higher" };
export const rows = [
  {
    ...shared,
    name: "stored/s",
    metric: "stored",
    peer: "graphile",
    target: 2,
    limitTarget: 0.8,
    note: "ours from the HTTP call on, theirs from stored jobs on",
  },
  {
    ...shared,
    name: "stored and delivered/s",
    metric: "delivered",
    limitMetric: "stored",
    limitTarget: 0.35,
    note: "to 1,000 sockets",
  },
];

async function servers(context) {
  const carillon = await startCarillon(context, "servers");
  const { Client } = peer("pg");
  const database = new Client(carillon.databaseUrl);
  await database.connect();
  const connections = await openConnections(carillon.port, IN_FLIGHT);
  const headers = carillon.as("service", "notify:send");
  const send = async (connection, userIds, ids) => {
    const body = JSON.stringify({
      type: "chat",
      userIds,
      title: "New message",
      body: BODY,
      data: { chatId: "abc123", n: 1 },
    });
    const { notifications } = await connection.json(202, "POST", "/api/notifications/send", { headers, body });
    ids.push(...notifications.map(({ userId, id }) => `${userId}/${id}`));
  };
  const names = (n) => Array.from({ length: BATCH }, (_, k) => `user-${(n * BATCH + k) % USERS}`);

  await send(connections[0], names(0), []);
  const ids = [];
  const [costs, beganAt] = [meter(carillon.processes(context)), performance.now()];
  let next = 0;
  await Promise.all(
    connections.map(async (connection) => {
      for (let n = next++; n < BATCHES; n = next++) await send(connection, names(n), ids);
    }),
  );
  const count = BATCH * BATCHES;
  await until(
    async () =>
      (await database.query("SELECT count(*)::int AS count FROM notifications")).rows[0].count >= count + BATCH,
  );
  const ms = performance.now() - beganAt;
  const cpuUs = cpuEach(costs(), count);
  await areStored(database, ids);

  const deliveries = new Deliveries();
  const users = Array.from({ length: BATCH }, (_, n) => `listener-${n}`);
  const sockets = await carillon.openSockets(users, (frame, n) => {
    if (frame.type === "notification") deliveries.arrive(`${users[n]}/${frame.notification.id}`);
    else if (frame.type !== "presence") throw new Error(`a frame that was not expected: ${JSON.stringify(frame)}`);
  });
  const expected = [];
  const [deliveryCosts, deliveryBeganAt] = [meter(carillon.processes(context)), performance.now()];
  for (let n = 0; n < DELIVERED; n++) {
    await Promise.all([send(connections[0], users, expected), deliveries.reach((n + 1) * BATCH)]);
  }
  const deliveredMs = performance.now() - deliveryBeganAt;
  const deliveredCpuUs = cpuEach(deliveryCosts(), DELIVERED * BATCH);
  await deliveries.areExactly(expected);
  await areStored(database, expected);
  terminate(sockets);
  await database.end();
  await carillon.stop();
  const rate = (rows, taken) => (rows / taken) * 1_000;
  return {
    stored: rate(count, ms),
    delivered: rate(DELIVERED * BATCH, deliveredMs),
    cpuUs: { stored: cpuUs, delivered: deliveredCpuUs },
  };
}

/** Fails unless each of these `user/id` is one row. */
async function areStored(database, expected) {
  const rows = await database.query("SELECT user_id || '/' || id AS id FROM notifications");
  const stored = rows.rows.map(({ id }) => id);
  const known = new Set(stored);
  const lost = expected.filter((id) => !known.has(id)).length;
  if (lost > 0 || known.size !== stored.length)
    throw new Error(`${lost} of ${expected.length} lost, ${stored.length - known.size} repeated`);
}

async function until(isOver) {
  for (let attempt = 0; attempt < 6_000; attempt++) {
    if (await isOver()) return;
    await sleep(10);
  }
  throw new Error("lost: not everything was stored within a minute");
}

async function graphile(context) {
  const { Pool } = peer("pg");
  const { run, makeWorkerUtils, Logger } = peer("graphile-worker");
  const logger = new Logger(() => () => {});
  const pool = new Pool({ connectionString: await newDatabase(context), max: 12 });
  // What is idle in the pool when the servers stop tells an error of its own.
  pool.on("error", () => {});
  const utilities = await makeWorkerUtils({ pgPool: pool, logger });
  await utilities.migrate();
  for (let n = 0; n < BATCHES; n++) {
    await utilities.addJobs(
      Array.from({ length: BATCH }, (_, k) => ({ identifier: "chat", payload: job(n * BATCH + k) })),
    );
  }
  const count = BATCH * BATCHES;
  const deliveries = new Deliveries();
  const taskList = { chat: async ({ data }) => deliveries.arrive(data.n) };
  const worker = { localQueue: { size: GRAPHILE.localQueue }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  const options = {
    pgPool: pool,
    taskList,
    logger,
    noHandleSignals: true,
    concurrency: GRAPHILE.concurrency,
    preset: { worker },
  };
  const [costs, beganAt] = [meter({ postgres: [context.postgres.pid] }), performance.now()];
  const runner = await run(options);
  await deliveries.reach(count);
  const ms = performance.now() - beganAt;
  const cpuUs = cpuEach(costs(), count);
  await deliveries.areExactly(Array.from({ length: count }, (_, n) => n));
  await runner.stop();
  const left = await pool.query("SELECT count(*)::int AS count FROM graphile_worker.jobs");
  if (left.rows[0].count !== 0) throw new Error(`${left.rows[0].count} jobs are left`);
  await utilities.release();
  await pool.end();
  return { stored: (count / ms) * 1_000, cpuUs: { stored: cpuUs } };
}

function job(n) {
  return { userId: "user-12345", type: "chat", title: "New message", body: BODY, data: { chatId: "abc123", n } };
}

async function unnest(context) {
  const { Client } = peer("pg");
  const database = new Client(await newDatabase(context));
  await database.connect();
  await database.query(`
    CREATE TABLE bare (id uuid PRIMARY KEY, user_id text NOT NULL, type text NOT NULL, title text, body text, data jsonb,
                       created_at timestamptz NOT NULL DEFAULT now());
    CREATE INDEX bare_user ON bare (user_id, created_at DESC)`);
  const text = `INSERT INTO bare (id, user_id, type, title, body, data)
                SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::jsonb[])`;
  const batches = Array.from({ length: BATCHES }, (_, n) => {
    const column = (value) => Array.from({ length: BATCH }, (_, k) => value(n * BATCH + k));
    const of = [
      () => randomUUID(),
      (k) => `user-${k % USERS}`,
      () => "chat",
      () => "New message",
      () => BODY,
      () => '{"chatId":"abc123","n":1}',
    ];
    return of.map(column);
  });
  const [costs, beganAt] = [meter({ postgres: [context.postgres.pid] }), performance.now()];
  for (const values of batches) await database.query({ name: "insert", text, values });
  const ms = performance.now() - beganAt;
  const cpuUs = cpuEach(costs(), BATCH * BATCHES);
  await database.end();
  return { stored: (BATCH * BATCHES * 1_000) / ms, cpuUs: { stored: cpuUs } };
}
