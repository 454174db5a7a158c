// Every command in the documents runs, and prints what they show.

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, inject, test } from "vitest";
import { read, root } from "./document.js";
import { type Left, Reader } from "./reader.js";
import { findPrinted, isPrinted } from "./shown.js";

const documents = (await readdir(join(root, "docs")))
  .filter((name) => name.endsWith(".md"))
  .map((name) => `docs/${name}`);
const left: Left[] = [];

afterAll(() => {
  const lines = left.map(({ at, reason }) => `  ${at}: ${reason}`);
  if (lines.length > 0) console.info(`${lines.length} blocks of the documents were not run:\n${lines.join("\n")}`);
});

test.each(["README.md", ...documents])("%s does what it says", async (path) => {
  const document = await read(path);
  const reader = await Reader.of(document, inject("tarball"));
  try {
    for (const step of document.steps) await reader.does(step);
  } finally {
    left.push(...reader.left);
    await reader.stops();
  }
});

test("what is shown is compared but for spaces in JSON and what `…` stands for", () => {
  expect(isPrinted('{ "id": "…", "n": [1, …] }\n', true, '{"id":"a b","n":[1,2,3]}')).toBe(true);
  expect(isPrinted('{"title": "a b"}', true, '{"title":"ab"}')).toBe(false);
  expect(isPrinted('{"n": 1}', true, '{"n":1,"m":2}')).toBe(false);
  expect(isPrinted("one …\n…\nlast\n", false, "one 1\n2\n3\nlast\n\n")).toBe(true);
  expect(isPrinted("one\nlast", false, "one\nmore\nlast")).toBe(false);
});

test("what another terminal shows is found among the rest of it", () => {
  const printed = ["connected", '{"type":"pong"}', '{"type":"notification","id":1}'];
  expect(findPrinted('{ "type": "notification", … }', true, printed)).toBe(3);
  expect(findPrinted('connected\n{"type":"notification",…', false, printed)).toBe(3);
  expect(findPrinted("connected\nclosed", false, printed)).toBeNull();
});
