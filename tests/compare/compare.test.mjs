// What the table says must be right before the figures are: `node --test tests/compare`. It needs no peer.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import test from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Deliveries } from "./deliveries.mjs";
import { meterFunction, onCpuUs, usedBetween } from "./function-cpu.mjs";
import { printed, start, stop } from "./processes.mjs";
import { judge } from "./rows.mjs";
import { invokeOnce } from "./runtime-api.mjs";
import { number, percentile } from "./statistics.mjs";
import { summary, verdicts } from "./verdicts.mjs";

const latency = { name: "p50", unit: "ms", metric: "p50", ours: "a", peer: "b", limit: "c", better: "lower" };
const rate = { name: "rate", unit: "/s", metric: "rate", ours: "a", peer: "b", better: "higher" };

test("a ratio is one of medians", () => {
  const runs = { a: [{ p50: 1 }, { p50: 9 }, { p50: 2 }], b: [{ p50: 4 }, { p50: 4 }, { p50: 40 }], c: [{ p50: 1 }] };
  const row = judge({ ...latency, target: 0.5, limitTarget: 1.5, ceiling: 2 }, runs, {});
  assert.equal(row.ratio, 0.5);
  assert.deepEqual(row.checks, [
    { what: "≤ 0.5x peer", isMet: true },
    { what: "≤ 1.5x limit", isMet: false },
    { what: "≤ 2 ms", isMet: true },
  ]);
});

test("a rate that is reached with too much CPU does not meet its target", () => {
  const runs = { a: [{ rate: 20, cpuUs: { rate: 30 } }], b: [{ rate: 10, cpuUs: { rate: 50 } }] };
  const row = judge({ ...rate, target: 2 }, runs, {});
  assert.deepEqual(row.checks, [
    { what: "≥ 2x peer", isMet: true },
    { what: "CPU ≤ 0.5x", isMet: false },
  ]);
});

test("a side that failed fails its rows, and one that is left out does not", () => {
  assert.equal(judge(latency, {}, { b: "lost: 1\nat …" }).failed, "lost: 1");
  const row = judge(latency, {}, { a: { leftOut: "not built" } });
  assert.deepEqual([row.failed, row.leftOut], [undefined, "not built"]);
});

test("a figure is met if every row with a target meets it", () => {
  const row = (name, checks) => ({ name, target: 2, checks: checks.map((isMet) => ({ isMet })) });
  const [met, missed, informative] = [row("a", [true, true]), row("b", [true, false]), { name: "c", checks: [] }];
  const states = (...rows) => {
    const [{ isMet, rows: counts }] = verdicts([{ number: "5", title: "Lateness", rows }]);
    return [isMet, counts];
  };
  assert.deepEqual(states(met, informative), [true, { met: 1 }]);
  assert.deepEqual(states(met, missed), [false, { met: 1, missed: 1 }]);
  assert.deepEqual(states(met, { name: "d", target: 2, leftOut: "not built" }), [false, { met: 1, "left out": 1 }]);
  assert.deepEqual(states(met, { name: "c", failed: "lost: 1" }), [false, { met: 1, failed: 1 }]);
  assert.deepEqual(states(met, { name: "c", leftOut: "not built" }), [true, { met: 1 }]);
  assert.deepEqual(states(informative), [false, {}]);
});

test("the summary counts each number of a module, in order", () => {
  const row = (name, isMet) => ({ name, ceiling: 1, checks: [{ isMet }] });
  const figures = [
    { number: "15, 16", title: "CPU", rows: [row("15: send", true), row("16: frame", false)] },
    { number: "1", title: "Queue", rows: [row("enqueued", true)] },
  ];
  const [total, ...lines] = summary(figures).split("\n");
  assert.match(total, /^2 of 3 figures met: /);
  assert.deepEqual(lines, [" 1. Queue: met (1 met)", "15. CPU: met (1 met)", "16. CPU: not met (1 missed)"]);
});

test("a ceiling needs no peer", () => {
  const row = { name: "send", unit: "µs", metric: "us", ours: "a", better: "lower", ceiling: 150 };
  const check = (us) => judge(row, { a: [{ us }] }, {}).checks;
  assert.deepEqual(check(150), [{ what: "≤ 150 µs", isMet: true }]);
  assert.deepEqual(check(151), [{ what: "≤ 150 µs", isMet: false }]);
});

test("the CPU time of a thread is the first number of its schedstat, in nanoseconds", () => {
  assert.equal(onCpuUs("127630 173138 2\n"), 127.63);
});

test("CPU time is that of all threads, also of new ones, and unknown if one has ended", () => {
  const before = new Map([["1", 100]]);
  assert.equal(usedBetween(before, new Map([["1", 130], ["2", 7]])), 37);
  assert.throws(() => usedBetween(before, new Map([["2", 7]])), /threads have ended .*: 1$/);
});

test("the CPU time of a function is that of its processes only", async () => {
  const child = start("sh", ["-c", `"${process.execPath}" -e "console.log('busy'); for (;;);" & sleep 60; true`]);
  await printed(child, /^(busy)$/);
  const [busy, idle] = [basename(process.execPath), "sleep"].map((name) => meterFunction(child.pid, name));
  while (busy() < 20_000) await sleep(1);
  assert.ok(idle() < 20_000);
  assert.throws(() => meterFunction(child.pid, "send"), /no process of send is running/);
  await stop(child);
});

test("a function is timed until it asks for work and until it answers", async () => {
  const program = join(import.meta.dirname, "peers/node-function.mjs");
  const { asksMs, answersMs, answer } = await invokeOnce([process.execPath, program], {}, {});
  assert.ok(asksMs > 0 && answersMs >= asksMs, `${asksMs}, ${answersMs}`);
  assert.equal(JSON.parse(answer).statusCode, 200);
});

test("a function that ends without an answer is not timed", async () => {
  await assert.rejects(invokeOnce(["sh", "-c", "echo broken; exit 1"], {}, {}), /sh ended: broken/);
});

test("what is lost, repeated or was never sent fails the check", async () => {
  const arrived = async (ids) => {
    const deliveries = new Deliveries();
    for (const id of ids) deliveries.arrive(id);
    await deliveries.areExactly(["a", "b"]);
  };
  await arrived(["b", "a"]);
  await assert.rejects(arrived(["a"]), /1 lost/);
  await assert.rejects(arrived(["a", "b", "a"]), /1 repeated/);
  await assert.rejects(arrived(["a", "b", "c"]), /1 that were never sent/);
});

test("waiting ends with the arrival that completes the count", async () => {
  const deliveries = new Deliveries();
  const reached = [deliveries.reach(1), deliveries.reach(2)];
  deliveries.arrive("a");
  await reached[0];
  deliveries.arrive("b");
  await reached[1];
});

test("numbers have three digits, and percentiles are values that were measured", () => {
  assert.deepEqual([0.0123, 1.234, 12.34, 1_234.5, 0].map(number), ["0.0123", "1.23", "12.3", "1,235", "0"]);
  assert.deepEqual([0.5, 0.99, 1].map((share) => percentile([3, 1, 2], share)), [2, 3, 3]);
});

// Where no peer is installed yet, as in a fresh clone, this fails if a module asks for one as it is loaded.
test("what main.mjs loads before it installs the peers does not need them", async () => {
  const main = readFileSync(join(import.meta.dirname, "main.mjs"), "utf8");
  const modules = [...main.matchAll(/^import .* from "(\.\/.*)";$/gm)].map(([, module]) => module);
  assert.ok(modules.includes("./peer-packages.mjs"));
  for (const module of modules) await import(module);
});
