import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { install, newFolder, root, run } from "./run.js";

test("the API reference is generated for every entry without a warning", async () => {
  const folder = join(root, "reference");
  await install(folder);
  const out = join(await newFolder(), "reference");
  await run(folder, "npm", ["run", "build", "--", "--out", out]);

  const { exports } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  // The worker is a script, which exports nothing.
  const entries = Object.keys(exports).filter((path) => !/\.(json|css|js)$/.test(path));
  const pages = entries.map((path) => `${path === "." ? "index" : path.slice(2)}.md`);
  expect(await readdir(out)).toEqual(expect.arrayContaining(pages));
});
