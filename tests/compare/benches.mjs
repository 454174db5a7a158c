// Ours where it cannot be seen from outside: the benchmarks of the project, whose table this reads.

import { join } from "node:path";
import { root } from "./peer-packages.mjs";
import { run } from "./processes.mjs";

/** Builds the benchmarks, unless CARILLON_BENCHES names a build of them. Resolves to the program. */
export async function buildBenches() {
  if (process.env.CARILLON_BENCHES) return process.env.CARILLON_BENCHES;
  const args = ["bench", "--quiet", "--locked", "--no-run", "--package", "tests", "--message-format", "json"];
  const lines = (await run("cargo", args, { cwd: root })).split("\n").filter((line) => line.startsWith("{"));
  const built = lines
    .map((line) => JSON.parse(line))
    .find(({ target, executable }) => executable && target.kind.includes("bench"));
  return built.executable;
}

/** Measures a topic. Resolves to a function that finds the value of a figure by the whole of its name. */
export async function bench(program, topic) {
  const figures = new Map();
  // The benchmarks start servers of their own, and abort if anything is lost or doubled.
  for (const line of (await run(program, [topic], { cwd: join(root, "tests") })).split("\n")) {
    // The value is right-aligned and may have its extremes behind it.
    const found = /^(.+?) +([\d,.]+)(?: \[\S+\])? {2}\S+ /.exec(line);
    if (found) figures.set(found[1], Number(found[2].replaceAll(",", "")));
  }
  return (name) => {
    if (!figures.has(name)) throw new Error(`the benchmarks print no "${name}": ${[...figures.keys()]}`);
    return figures.get(name);
  };
}
