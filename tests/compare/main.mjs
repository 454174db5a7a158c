// Compares Carillon with its peers and with the limits of this machine, in one interleaved run: `make compare`.
//
//   node tests/compare/main.mjs
//
//   ONLY=chat,7     figures, by name or number; all by default
//   REPS=3          how often each side runs; the sides take turns
//   CARILLON=PATH   the gateway, by default the release build
//   WRITE=1         puts the figures into docs/performance.md, .json and .svg
//
// A figure whose deliveries were not exact has failed, which the exit code tells. A target that is not met does not.

import { fork } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeDocs } from "./docs.mjs";
import { figures } from "./figures.mjs";
import { load, machine } from "./machine.mjs";
import { install, root } from "./peer-packages.mjs";
import { run } from "./processes.mjs";
import { judge } from "./rows.mjs";
import { startStores } from "./stores.mjs";
import { printed } from "./table.mjs";
import { summary, verdicts } from "./verdicts.mjs";

/** Longer than a side takes, unless something is lost. */
const SIDE_TIMEOUT_MS = 300_000;

const reps = Number(process.env.REPS || 3);
const chosen = choose(process.env.ONLY ?? "");
const carillon = process.env.CARILLON || join(root, "target/release/carillon");
if (!existsSync(carillon)) {
  console.error(`${carillon} is missing: cargo build --release --package gateway`);
  process.exit(78);
}

await install();
// On a disk, unlike a temporary folder; and where the account that Postgres runs under may enter.
const folder = mkdtempSync("/var/tmp/carillon-compare-");
chmodSync(folder, 0o755);
process.on("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
const stores = await startStores(folder);
const context = {
  folder,
  carillon,
  redis: pick(stores.redis),
  postgres: pick(stores.postgres),
};

const about = await machine(carillon, reps);
console.log(about.text);
const results = [];
for (const figure of chosen) results.push(await compare(figure));
await stores.stop();

console.log(`${printed(results)}\n\n${summary(results)}\n`);
const runs = results.flatMap((figure) => Object.values(figure.runs)).reduce((sum, some) => sum + some.length, 0);
const failed = results.flatMap((figure) => figure.rows.filter((row) => row.failed)).length;
console.log(`${runs} runs were exact: nothing lost, nothing twice; ${failed} figures failed; load after: ${load()}`);
const output = join(root, "target/compare");
mkdirSync(output, { recursive: true });
const all = { machine: about, verdicts: verdicts(results), figures: results };
writeFileSync(join(output, "results.json"), `${JSON.stringify(all, null, 2)}\n`);
console.log(`written: ${join(output, "results.json")}`);
if (process.env.WRITE) writeDocs(about, results);
process.exit(failed > 0 ? 1 : 0);

/** Runs all sides of a figure in turn, `reps` times. */
async function compare({ id, numbers }) {
  const figure = await import(`./figures/${id}.mjs`);
  const beganAt = Date.now();
  const loads = [];
  // What keeps sides from running, by side or of all: the text of an error, or `{ leftOut }` with a reason.
  const problems = { ...(await figure.prepare?.(context).catch((error) => ({ all: error.message }))) };
  const runs = Object.fromEntries(Object.keys(figure.sides).map((side) => [side, []]));
  for (let rep = 0; rep < reps; rep++) {
    for (const side of Object.keys(figure.sides)) {
      if (problems.all || problems[side]) continue;
      process.stderr.write(`${figure.title}: ${side}, ${rep + 1} of ${reps}\n`);
      loads.push(load());
      // Keys of the side before would expire while the memory of this one is counted.
      await run("redis-cli", ["-p", `${context.redis.port}`, "flushall"]);
      const { result, error } = await runSide(id, side);
      if (result) runs[side].push(result);
      if (error) {
        problems[side] = error;
        process.stderr.write(`${error}\n`);
      }
    }
  }
  const rows = figure.rows.map((row) => judge(row, runs, problems));
  const seconds = Math.round((Date.now() - beganAt) / 1_000);
  const about = {
    id,
    number: numbers.join(", "),
    title: figure.title,
    date: new Date().toISOString().slice(0, 10),
    reps,
    seconds,
  };
  return { ...about, load: { from: Math.min(...loads), to: Math.max(...loads) }, rows, runs };
}

function runSide(figure, side) {
  return new Promise((resolve) => {
    const child = fork(join(import.meta.dirname, "side.mjs"), [figure, side], {
      env: { ...process.env, COMPARE_CONTEXT: JSON.stringify(context) },
      execArgv: ["--expose-gc"],
    });
    let answer = null;
    const timer = setTimeout(() => {
      answer = { error: `it took longer than ${SIDE_TIMEOUT_MS / 1_000} s` };
      child.kill("SIGTERM");
    }, SIDE_TIMEOUT_MS);
    child.on("message", (message) => {
      answer ??= message;
    });
    child.on("close", () => {
      clearTimeout(timer);
      resolve(answer ?? { error: "it ended without a result" });
    });
  });
}

function choose(only) {
  const words = only.split(",").filter(Boolean);
  const isMeant = ({ id, numbers }, word) => word === id || numbers.includes(Number(word));
  const unknown = words.filter((word) => !figures.some((figure) => isMeant(figure, word)));
  if (unknown.length > 0) {
    const known = figures.map(({ id, numbers }) => `${id} (${numbers})`).join(", ");
    console.error(`no such figure: ${unknown}; there are ${known}`);
    process.exit(64);
  }
  return words.length === 0 ? figures : figures.filter((figure) => words.some((word) => isMeant(figure, word)));
}

function pick({ pid, port, url }) {
  return { pid, port, url };
}
