// Figure 7. One call tells many: from the call until the last of 100 and of 1,000 sockets has read its frame, and how many
// deliveries a second that makes.
//
// `send` of ours stores a notification for each recipient before it answers, and each delivery is a POST to @connections.
// `emit` of ours stores nothing, like the broadcast of Socket.IO, where one process is called and the clients are at another.

import { setTimeout as sleep } from "node:timers/promises";
import { startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { keepBusy, openConnections } from "../http.mjs";
import { startServer } from "../peers/servers.mjs";
import { cpuEach, meter, stop } from "../processes.mjs";
import { openSocket, openSocketIo, terminate } from "../sockets.mjs";
import { percentile } from "../statistics.mjs";

const AUDIENCES = [100, 1_000];
/** Calls one after the other, and the first of them, which are not counted. */
const CALLS = { 100: 60, 1000: 25 };
const WARM_UP = 5;
const PAUSE_MS = 2;
/** How long calls follow each other for the rate, and how many of them are not wholly delivered at once. */
const ROUND_MS = 2_000;
const IN_FLIGHT = 4;
const BODY = "x".repeat(150);

export const title = "One call to many sockets";

export const sides = {
  "send, local": (context) => ours(context, "local", send),
  "send, servers": (context) => ours(context, "servers", send),
  "emit, local": (context) => ours(context, "local", emit),
  socketio,
  bare,
};

export const rows = ["send, local", "send, servers", "emit, local"].flatMap((side) =>
  AUDIENCES.flatMap((count) => {
    const note = side.startsWith("send") ? "ours also stores; a POST each" : "a POST each";
    const common = { ours: side, peer: "socketio", limit: "bare", note };
    return [
      {
        ...common,
        name: `last of ${count}, p50 (${side})`,
        unit: "ms",
        metric: `last${count}`,
        better: "lower",
        target: 0.8,
      },
      {
        ...common,
        name: `deliveries/s to ${count} (${side})`,
        unit: "/s",
        metric: `rate${count}`,
        better: "higher",
        target: 0.5,
      },
    ];
  }),
);

/** Notifications to each of the users; the answer has their ids. */
const send = {
  path: "/api/notifications/send",
  scope: "notify:send",
  body: (users) => ({ type: "announcement", userIds: users, title: "To all", body: BODY }),
  expected: (answer) => answer.notifications.map(({ userId, id }) => `${userId}/${id}`),
  idOf: (frame) => (frame.type === "notification" ? frame.notification.id : null),
};

/** An event to everyone who is there. */
const emit = {
  path: "/api/events/emit",
  scope: "notify:admin",
  body: () => ({ type: "system", title: "To all", body: BODY }),
  expected: ({ eventId }, users) => users.map((user) => `${user}/${eventId}`),
  idOf: (frame) => (frame.type === "system" ? frame.id : null),
};

async function ours(context, stores, how) {
  const results = await eachAudience(async (count) => {
    const carillon = await startCarillon(context, stores);
    const users = Array.from({ length: count }, (_, n) => `user-${n}`);
    const deliveries = new Deliveries();
    const sockets = await carillon.openSockets(users, (frame, n) => {
      const id = how.idOf(frame);
      if (id) deliveries.arrive(`${users[n]}/${id}`);
      else if (frame.type !== "presence") throw new Error(`a frame that was not expected: ${JSON.stringify(frame)}`);
    });
    const expected = [];
    const options = { headers: carillon.as("service", how.scope), body: JSON.stringify(how.body(users)) };
    const call = async (connection) => {
      expected.push(...how.expected(await connection.json(202, "POST", how.path, options), users));
    };
    const told = await tell({ port: carillon.port, count, call, deliveries, processes: carillon.processes(context) });
    await deliveries.areExactly(expected);
    terminate(sockets);
    await carillon.stop();
    return told;
  });
  return results;
}

async function socketio(context) {
  const servers = await Promise.all([1, 2].map(() => startServer("socketio-server.mjs", context.redis.url)));
  const [a, b] = servers;
  const processes = { server: [a.pid, b.pid], redis: [context.redis.pid] };
  const open = (n, onId) => openSocketIo(b.port, `user-${n}`, ({ id }) => onId(id));
  const results = await eachAudience((count) => tellByPost({ port: a.port, count, processes, open }));
  await Promise.all(servers.map((server) => stop(server.child)));
  return results;
}

async function bare() {
  const relay = await startServer("bare-relay.mjs");
  const open = (n, onId) => openSocket(`ws://127.0.0.1:${relay.port}/user-${n}`, (text) => onId(JSON.parse(text).id));
  const results = await eachAudience((count) =>
    tellByPost({ port: relay.port, count, processes: { server: [relay.pid] }, open }),
  );
  await stop(relay.child);
  return results;
}

/** One result of the results for each audience. */
async function eachAudience(measure) {
  const results = { cpuUs: {}, cpu: {} };
  for (const count of AUDIENCES) {
    const { last, rate, rateCpuUs, cpu } = await measure(count);
    Object.assign(results, { [`last${count}`]: last, [`rate${count}`]: rate });
    results.cpuUs[`rate${count}`] = rateCpuUs;
    results.cpu[`rate${count}`] = cpu;
  }
  return results;
}

/** Tells the sockets of a server that passes on what is posted to it, under an id of ours. */
async function tellByPost({ port, count, processes, open }) {
  const deliveries = new Deliveries();
  const sockets = [];
  for (let from = 0; from < count; from += 50) {
    const some = Array.from({ length: Math.min(50, count - from) }, (_, n) => from + n);
    sockets.push(...(await Promise.all(some.map((n) => open(n, (id) => deliveries.arrive(`${n}/${id}`))))));
  }
  const expected = [];
  let calls = 0;
  const call = (connection) => {
    const id = `${calls++}`;
    for (let n = 0; n < count; n++) expected.push(`${n}/${id}`);
    return connection.json(202, "POST", "/tell", { body: JSON.stringify({ id, body: BODY }) });
  };
  const told = await tell({ port, count, call, deliveries, processes });
  await deliveries.areExactly(expected);
  terminate(sockets);
  await sleep(300);
  return told;
}

async function tell({ port, count, call, deliveries, processes }) {
  const connections = await openConnections(port, IN_FLIGHT);
  const taken = [];
  for (let n = 0; n < CALLS[count]; n++) {
    const beganAt = performance.now();
    await Promise.all([call(connections[0]), deliveries.reach((n + 1) * count)]);
    if (n >= WARM_UP) taken.push(performance.now() - beganAt);
    await sleep(PAUSE_MS);
  }
  const costs = meter(processes);
  const beganAt = performance.now();
  const calls = await keepBusy(connections, ROUND_MS, (connection, n) =>
    Promise.all([call(connection), deliveries.reach((CALLS[count] + n + 1) * count)]),
  );
  const ms = performance.now() - beganAt;
  const cpu = costs();
  for (const connection of connections) connection.close();
  const delivered = calls * count;
  return { last: percentile(taken, 0.5), rate: (delivered / ms) * 1_000, rateCpuUs: cpuEach(cpu, delivered), cpu };
}
