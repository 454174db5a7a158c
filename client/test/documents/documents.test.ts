// Every command in the documents runs, and prints what they show.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, expect, inject, test } from "vitest";
import { Gateway } from "../gateway/gateway.js";
import { unpack } from "../package/run.js";
import { type Document, read, root } from "./document.js";
import { type Left, Reader } from "./reader.js";
import { hasRedis, Redis } from "./redis.js";
import { findPrinted, isPrinted } from "./shown.js";

const documents = (await readdir(join(root, "docs")))
  .filter((name) => name.endsWith(".md"))
  .map((name) => `docs/${name}`);
const left: Left[] = [];
/** Signs tokens in the terminals and verifies them in the gateway. */
const JWT_SECRET = "documents-documents-documents-32";

afterAll(() => {
  const lines = left.map(({ at, reason }) => `  ${at}: ${reason}`);
  if (lines.length > 0) console.info(`${lines.length} blocks of the documents were not run:\n${lines.join("\n")}`);
});

test.each(["README.md", ...documents])("%s does what it says", async (path) => {
  const document = await read(path);
  if (document.runBy === null) return run(document);
  expect(await readFile(join(root, document.runBy), "utf8")).toContain(path);
  left.push({ at: path, reason: `${document.runBy} runs it` });
});

/** Does what a document says, from its first block to its last, with a gateway of its own. */
async function run({ gateway: variables, steps }: Document): Promise<void> {
  const needsRedis = steps.some((step) => "needsRedis" in step && step.needsRedis);
  const redis = needsRedis && hasRedis ? await Redis.start() : null;
  const own: Record<string, string> = { JWT_SECRET };
  if (redis) own["REDIS_URL"] = redis.url;
  let gateway: Gateway | undefined;
  let reader: Reader | undefined;
  try {
    // The limits are those of a deployment.
    gateway = await Gateway.start({ RATE_LIMIT_SEND_TYPES: "", RATE_LIMIT_CHAT: "", ...own, ...variables });
    reader = await Reader.at(gateway.url, own);
    if (steps.some(({ kind }) => kind === "file")) await unpack(inject("tarball"), reader.folder);
    for (const step of steps) await reader.does(step);
  } finally {
    left.push(...(reader?.left ?? []));
    await reader?.stops();
    await gateway?.stop();
    await redis?.stop();
  }
}

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
