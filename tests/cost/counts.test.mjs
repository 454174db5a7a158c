// What each act takes is what docs/cost.json says. CARILLON_GATEWAY names the gateway's program, beside which the functions
// lie.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { data } from "../../deploy/cost/estimate.mjs";
import { countActs } from "./acts.mjs";
import { System } from "./system.mjs";

/** Bytes differ with ids and times. Tables and indexes grow by whole pages, and vacuum frees some when it likes. */
const ADMITTED = { bytesOut: 0.1, storedBytes: 0.5 };

let system;
before(async () => {
  const program = process.env.CARILLON_GATEWAY;
  if (!program)
    throw new Error("CARILLON_GATEWAY must be the path of the gateway program, such as target/debug/carillon");
  system = await System.start(program);
});
after(() => system?.stops());

test("each act takes what docs/cost.json says", async () => {
  const counted = await countActs(system);
  const lines = Object.entries(counted).map(([act, each]) => `    "${act}": ${JSON.stringify(each)}`);
  const told = `counted:\n${lines.join(",\n")}\n`;
  assert.deepEqual(Object.keys(counted).sort(), Object.keys(data.counts).sort(), told);
  assert.deepEqual(Object.keys(data.acts).sort(), Object.keys(data.counts).sort());
  for (const [act, stated] of Object.entries(data.counts)) {
    const near = Object.entries(counted[act]).map(([what, found]) => {
      const isNear = Math.abs(found - stated[what]) <= ADMITTED[what] * stated[what];
      return [what, isNear ? stated[what] : found];
    });
    assert.deepEqual(Object.fromEntries(near), stated, `${act}, ${told}`);
  }
});
