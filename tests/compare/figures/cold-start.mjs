// Figure 12. The part of a cold start that is up to the function: from the start of its binary until it asks the Runtime
// API for its first event, and until it posts the answer. Functions connect to Postgres and Redis at their first call, so
// the first answer contains that.

import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { Connection } from "../http.mjs";
import { peer, root } from "../peer-packages.mjs";
import { buildHello, hello } from "../peers/hello.mjs";
import { run } from "../processes.mjs";
import { httpEvent, invokeOnce, socketEvent } from "../runtime-api.mjs";
import { percentile } from "../statistics.mjs";

/** The functions that a ring, a message and everything later go through: the first event of each, and its answer. */
const FUNCTIONS = {
  send: {
    event: (carillon) =>
      httpEvent("POST", "/api/notifications/send", {
        headers: carillon.as("service", "notify:send"),
        body: JSON.stringify({ type: "reminder", userIds: ["alice"], title: "New message", body: "x".repeat(120) }),
      }),
    expected: /"statusCode":202/,
    told: (answer) => JSON.parse(JSON.parse(answer).body).notifications.map(({ id }) => id),
  },
  message: {
    event: (_, connectionId) => socketEvent(connectionId, JSON.stringify({ action: "ping" })),
    expected: /pong/,
  },
  drain: { event: () => ({}), expected: /"failed":false/ },
};
const STARTS = 20;

export const title = "Start of a function";

export const sides = {
  ...Object.fromEntries(Object.keys(FUNCTIONS).map((name) => [name, (context) => ours(context, name)])),
  node: () => smallest([process.execPath, join(import.meta.dirname, "../peers/node-function.mjs")]),
  hello: () => smallest([hello]),
};

export const rows = Object.keys(FUNCTIONS).flatMap((name) => {
  const common = { ours: name, limit: "hello", better: "lower" };
  return [
    {
      ...common,
      name: `${name}, until it asks for work`,
      unit: "ms",
      metric: "asksMs",
      peer: "node",
      target: 1 / 30,
      limitTarget: 1.3,
    },
    {
      ...common,
      name: `${name}, until its first answer`,
      unit: "ms",
      metric: "answersMs",
      peer: "node",
      note: "ours also connects to its stores, and uses them",
    },
    { ...common, name: `${name}, size`, unit: "MB", metric: "mb" },
  ];
});

/** Builds all of them, unless the gateway is a build that was named: then its functions must lie beside it. */
export async function prepare({ carillon }) {
  await buildHello();
  const names = Object.keys(FUNCTIONS);
  if (!process.env.CARILLON) {
    const packages = names.flatMap((name) => ["--package", name]);
    await run("cargo", ["build", "--quiet", "--locked", "--release", ...packages], { cwd: root });
  }
  const missing = names.filter((name) => !existsSync(join(dirname(carillon), name)));
  return Object.fromEntries(missing.map((name) => [name, { leftOut: `${name} is not built beside the gateway` }]));
}

/** Starts a function of ours beside a gateway on the same stores, which has the one socket that `send` tells. */
async function ours(context, name) {
  const carillon = await startCarillon(context, "servers");
  const connection = await Connection.open(carillon.port);
  const deliveries = new Deliveries();
  const socket = await carillon.openSocket(await carillon.ticket(connection, "alice"), (frame) => {
    if (frame.type === "notification") deliveries.arrive(frame.notification.id);
  });
  connection.close();
  const { event, expected, told } = FUNCTIONS[name];
  const first = event(carillon, await onlyConnection(carillon));
  const program = join(dirname(context.carillon), name);
  const { answers, ...figures } = await startOf([program], carillon.functionVariables(), first, expected);
  await deliveries.areExactly(told ? answers.flatMap(told) : []);
  socket.terminate();
  await carillon.stop();
  return figures;
}

async function smallest(command) {
  const { answers, ...figures } = await startOf(command, {}, httpEvent("GET", "/", {}), /"statusCode":200/);
  return figures;
}

/** The id of the only socket. */
async function onlyConnection({ databaseUrl }) {
  const database = new (peer("pg").Client)(databaseUrl);
  await database.connect();
  const { rows } = await database.query("SELECT id FROM connections");
  await database.end();
  if (rows.length !== 1) throw new Error(`${rows.length} connections instead of one`);
  return rows[0].id;
}

/** Starts a program again and again; fails unless each answer is the expected one. */
async function startOf(command, variables, event, expected) {
  const starts = [];
  for (let n = 0; n <= STARTS; n++) {
    const started = await invokeOnce(command, variables, event);
    if (!expected.test(started.answer)) throw new Error(`${command[0]} answered ${started.answer}`);
    starts.push(started);
  }
  // The first start reads the binary from the disk.
  const median = (metric) => percentile(starts.slice(1).map((started) => started[metric]), 0.5);
  return {
    asksMs: median("asksMs"),
    answersMs: median("answersMs"),
    mb: statSync(command[0]).size / 1e6,
    answers: starts.map(({ answer }) => answer),
  };
}
