// Figure 12. The part of a cold start that is up to the function: from the start of its binary until it asks the Runtime API
// for its first event. Functions connect to their stores at their first call, not before.

import { existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join } from "node:path";
import { root } from "../peer-packages.mjs";
import { buildHello, hello } from "../peers/hello.mjs";
import { run, start, stop } from "../processes.mjs";
import { percentile } from "../statistics.mjs";

/** The functions that a ring, a message and everything later go through. */
const FUNCTIONS = ["send", "message", "drain"];
const STARTS = 20;
/** What functions require at their start, though nothing listens there. */
const VARIABLES = {
  DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
  REDIS_URL: "redis://127.0.0.1:1",
  JWT_SECRET: "a secret of the comparison, of 32 bytes or more",
  WS_ENDPOINT: "http://127.0.0.1:1/live",
  WS_URL: "ws://127.0.0.1:1/live",
  DRAIN_FUNCTION: "drain",
  AWS_REGION: "eu-central-1",
  AWS_ACCESS_KEY_ID: "none",
  AWS_SECRET_ACCESS_KEY: "none",
};

/** What Lambda tells every function. */
const LAMBDA = {
  AWS_LAMBDA_FUNCTION_NAME: "compared",
  AWS_LAMBDA_FUNCTION_VERSION: "1",
  AWS_LAMBDA_FUNCTION_MEMORY_SIZE: "256",
  AWS_LAMBDA_LOG_GROUP_NAME: "compared",
  AWS_LAMBDA_LOG_STREAM_NAME: "compared",
  RUST_LOG: "error",
};

export const title = "Start of a function";

export const sides = {
  ...Object.fromEntries(FUNCTIONS.map((name) => [name, (context) => startOf([join(dirname(context.carillon), name)])])),
  node: () => startOf([process.execPath, join(import.meta.dirname, "../peers/node-function.mjs")]),
  hello: () => startOf([hello]),
};

export const rows = FUNCTIONS.flatMap((name) => [
  {
    name: `${name}, until it asks for work`,
    unit: "ms",
    metric: "ms",
    ours: name,
    peer: "node",
    limit: "hello",
    better: "lower",
    target: 1 / 30,
    limitTarget: 1.3,
  },
  { name: `${name}, size`, unit: "MB", metric: "mb", ours: name, limit: "hello", better: "lower" },
]);

/** Builds all of them, unless the gateway is a build that was named: then its functions must lie beside it. */
export async function prepare({ carillon }) {
  await buildHello();
  if (!process.env.CARILLON) {
    const packages = FUNCTIONS.flatMap((name) => ["--package", name]);
    await run("cargo", ["build", "--quiet", "--locked", "--release", ...packages], { cwd: root });
  }
  const missing = FUNCTIONS.filter((name) => !existsSync(join(dirname(carillon), name)));
  return Object.fromEntries(missing.map((name) => [name, { leftOut: `${name} is not built beside the gateway` }]));
}

async function startOf([program, ...args]) {
  const taken = [];
  for (let n = 0; n <= STARTS; n++) {
    const ms = await untilItAsks(program, args);
    // The first start reads the binary from the disk.
    if (n > 0) taken.push(ms);
  }
  return { ms: percentile(taken, 0.5), mb: statSync(program).size / 1e6 };
}

function untilItAsks(program, args) {
  return new Promise((resolve, reject) => {
    let child;
    let beganAt;
    const server = createServer(async (request) => {
      if (!request.url.endsWith("/invocation/next")) return;
      const ms = performance.now() - beganAt;
      server.close(() => resolve(ms));
      await stop(child);
      server.closeAllConnections();
    });
    server.listen(0, "127.0.0.1", () => {
      const env = { ...VARIABLES, AWS_LAMBDA_RUNTIME_API: `127.0.0.1:${server.address().port}`, ...LAMBDA };
      beganAt = performance.now();
      child = start(program, args, { env });
      child.ended.then(() => server.listening && reject(new Error(`${program} ended: ${child.output()}`)));
    });
  });
}
