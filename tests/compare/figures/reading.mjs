// Figure 13. Reading many things of chats at once: in one statement of ours, in a statement for each as the peer, and as many
// values by MGET as the limit.
//
// `inside` comes from the benchmarks (`bulk-servers`): no HTTP, all ways in turn. `over HTTP` is a call of the unread counts,
// and what Node takes for the two other ways beside it.

import { bench, buildBenches } from "../benches.mjs";
import { startCarillon } from "../carillon.mjs";
import { Connection, openConnections } from "../http.mjs";
import { peer } from "../peer-packages.mjs";
import { percentile } from "../statistics.mjs";

const CHATS = 50;
const UNREAD_EACH = 7;
const ROUNDS = 200;
const WARM_UP = 20;

export const title = "Reading many at once";

export const sides = { servers, benches };

const inside = { unit: "ms", ours: "benches", peer: "benches", limit: "benches", better: "lower" };
export const rows = [
  {
    ...inside,
    name: "100 validations (inside)",
    metric: "acquaintances",
    peerMetric: "selects",
    limitMetric: "values100",
    target: 1 / 25,
    limitTarget: 1.2,
  },
  {
    ...inside,
    name: "50 unread counts (inside)",
    metric: "counts",
    peerMetric: "fiftyCounts",
    limitMetric: "values50",
    target: 1 / 60,
    limitTarget: 1.2,
  },
  {
    name: "50 unread counts (over HTTP)",
    unit: "ms",
    ...{ ours: "servers", peer: "servers", limit: "servers", better: "lower" },
    ...{ metric: "counts", peerMetric: "fiftyCounts", limitMetric: "values50", target: 1 / 60, limitTarget: 1.2 },
    note: "ours with an HTTP call and a token",
  },
];

/** Builds the benchmarks. Without them the other side still runs. */
export async function prepare(context) {
  try {
    context.benches = await buildBenches();
  } catch (error) {
    return { benches: error.message };
  }
}

async function benches(context) {
  const value = await bench(context.benches, "bulk-servers");
  const p50 = (way) => value(`servers: ${way}, p50`);
  return {
    acquaintances: p50("100 acquaintances, one statement"),
    selects: p50("100 memberships, 100 selects"),
    values100: p50("100 values, one bare MGET"),
    counts: p50("50 unread counts, one statement"),
    fiftyCounts: p50("50 unread counts, 50 counts"),
    values50: p50("50 values, one bare MGET"),
  };
}

async function servers(context) {
  const carillon = await startCarillon(context, "servers");
  const chats = await fill(carillon);
  const connection = await Connection.open(carillon.port);
  const database = new (peer("pg").Client)(carillon.databaseUrl);
  await database.connect();
  await database.query("VACUUM ANALYZE");
  const redis = new (peer("ioredis").Redis)(context.redis.url);
  const keys = chats.map((chat) => `unread:${chat}`);
  await redis.mset(...keys.flatMap((key) => [key, UNREAD_EACH]));

  const headers = carillon.as("reader");
  const text = `SELECT count(*)::int AS count FROM chat_members m JOIN messages USING (chat_id)
                 WHERE m.chat_id = $1::uuid AND m.user_id = 'reader' AND seq > m.read_seq`;
  const ways = {
    counts: async () => (await connection.json(200, "GET", "/api/chats/unread", { headers })).total,
    fiftyCounts: async () => {
      let total = 0;
      for (const chat of chats) total += (await database.query({ name: "count", text, values: [chat] })).rows[0].count;
      return total;
    },
    values50: async () => (await redis.mget(keys)).reduce((sum, value) => sum + Number(value), 0),
  };
  const taken = { counts: [], fiftyCounts: [], values50: [] };
  for (let round = 0; round < ROUNDS + WARM_UP; round++) {
    for (const [way, read] of Object.entries(ways)) {
      const beganAt = performance.now();
      const total = await read();
      if (round >= WARM_UP) taken[way].push(performance.now() - beganAt);
      if (total !== CHATS * UNREAD_EACH) throw new Error(`${way} counted ${total}`);
    }
  }
  redis.disconnect();
  await database.end();
  await carillon.stop();
  return Object.fromEntries(Object.entries(taken).map(([way, ms]) => [way, percentile(ms, 0.5)]));
}

/** A reader with unread messages in all chats. */
async function fill(carillon) {
  const connections = await openConnections(carillon.port, 8);
  const chats = [];
  await Promise.all(
    connections.map(async (connection, first) => {
      for (let n = first; n < CHATS; n += connections.length) {
        const headers = carillon.as(`friend-${n}`);
        const asked = JSON.stringify({ kind: "group", participantIds: ["reader"] });
        const { id } = await connection.json(201, "POST", "/api/chats", { headers, body: asked });
        for (let k = 0; k < UNREAD_EACH; k++) {
          const body = JSON.stringify({ clientId: `${k}`, body: "Tomorrow before noon." });
          await connection.json(201, "POST", `/api/chats/${id}/messages`, { headers, body });
        }
        chats.push(id);
      }
      connection.close();
    }),
  );
  return chats;
}
