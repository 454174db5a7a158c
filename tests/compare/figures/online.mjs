// Figure 14. What it takes in Redis that a user is online, and to read that of 1,000 users.
//
// Ours is what Redis grew by for each of 5,000 users with an open socket: everything that it keeps, with connection and
// expiry. A million sockets do not fit on one machine. The peer is a key with an expiry for each, the limit a sorted set.

import { startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { Connection } from "../http.mjs";
import { peer } from "../peer-packages.mjs";
import { terminate } from "../sockets.mjs";
import { percentile } from "../statistics.mjs";

const USERS = 5_000;
const READ = 1_000;
/** The most users of a call. */
const MAX_READ = 200;
const ROUNDS = 50;
const WARM_UP = 5;
const LEASE_S = 300;

export const title = "Who is online";

export const sides = { servers, keys, sortedSet };

const common = { ours: "servers", peer: "keys", better: "lower" };
export const rows = [
  {
    ...common,
    name: "Redis bytes of a user",
    unit: "B",
    metric: "bytes",
    limit: "sortedSet",
    target: 0.8,
    note: "at 5,000 users, not at a million",
  },
  {
    ...common,
    name: "1,000 users read",
    unit: "ms",
    metric: "readMs",
    target: 1.3,
    note: "ours five HTTP calls with a token, theirs one MGET",
  },
];

async function servers(context) {
  const carillon = await startCarillon(context, "servers");
  const redis = new (peer("ioredis").Redis)(context.redis.url);
  const users = Array.from({ length: USERS }, (_, n) => `user-${n}`);
  terminate(await carillon.openSockets(["first"], () => {}));
  const before = await usedMemory(redis);
  const pinged = new Deliveries();
  const sockets = await carillon.openSockets(users, (frame) => frame.ref && pinged.arrive(frame.ref));
  // As the client does after opening: it renews what Redis may have missed when it was slow.
  for (const [n, socket] of sockets.entries()) {
    socket.send(JSON.stringify({ action: "ping", ref: users[n] }));
    if (n % 50 === 49) await pinged.reach(n + 1);
  }
  const bytes = ((await usedMemory(redis)) - before) / USERS;
  redis.disconnect();

  const connection = await Connection.open(carillon.port);
  const headers = carillon.as("operator", "notify:admin");
  const readMs = await timed(async () => {
    let online = 0;
    for (let from = 0; from < READ; from += MAX_READ) {
      const path = `/api/presence?userIds=${users.slice(from, from + MAX_READ)}`;
      online += (await connection.json(200, "GET", path, { headers })).users.filter((user) => user.online).length;
    }
    return online;
  });
  terminate(sockets);
  await carillon.stop();
  return { bytes, readMs };
}

async function keys({ redis: { url } }) {
  const redis = new (peer("ioredis").Redis)(url);
  const before = await usedMemory(redis);
  const pipeline = redis.pipeline();
  const names = Array.from({ length: USERS }, (_, n) => `presence:user-${n}`);
  for (const [n, name] of names.entries()) pipeline.set(name, `Lx${String(n).padStart(12, "0")}=`, "EX", LEASE_S);
  await pipeline.exec();
  const bytes = ((await usedMemory(redis)) - before) / USERS;
  const readMs = await timed(async () => (await redis.mget(names.slice(0, READ))).filter(Boolean).length);
  await redis.del(names);
  redis.disconnect();
  return { bytes, readMs };
}

async function sortedSet({ redis: { url } }) {
  const redis = new (peer("ioredis").Redis)(url);
  const before = await usedMemory(redis);
  await redis.zadd("online", ...Array.from({ length: USERS }, (_, n) => [Date.now() + n, `user-${n}`]).flat());
  const bytes = ((await usedMemory(redis)) - before) / USERS;
  await redis.del("online");
  redis.disconnect();
  return { bytes };
}

async function usedMemory(redis) {
  return Number(/used_memory:(\d+)/.exec(await redis.info("memory"))[1]);
}

/** The median time of a read, which must find all of the users. */
async function timed(read) {
  const taken = [];
  for (let n = 0; n < ROUNDS + WARM_UP; n++) {
    const beganAt = performance.now();
    const online = await read();
    if (n >= WARM_UP) taken.push(performance.now() - beganAt);
    if (online !== READ) throw new Error(`lost: ${online} of ${READ} are online`);
  }
  return percentile(taken, 0.5);
}
