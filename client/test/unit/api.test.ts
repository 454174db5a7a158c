// The descriptions of the API, as far as they can be checked without a gateway.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { formatProblems, getTotals, lint, loadConfig } from "@redocly/openapi-core";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import {
  type Direction,
  messageNames,
  messageOf,
  mismatch,
  operations,
  root,
  schemaNames,
  templatePaths,
  version,
} from "../api/descriptions.js";

const docs = new URL("docs/", root);
const frames = new URL("tests/frames/", root);

test.for(["openapi", "asyncapi"] as const)("%s.yaml has no lint", async (name) => {
  const config = await loadConfig({ configPath: fileURLToPath(new URL("redocly.yaml", docs)) });
  const ref = fileURLToPath(new URL(`${name}.yaml`, docs));
  const problems = await lint({ ref, config: config.forAlias(name) });
  if (problems.length > 0) formatProblems(problems, { totals: getTotals(problems) });
  expect(problems).toEqual([]);
});

test.for(["openapi", "asyncapi"] as const)("%s.yaml has the version of the package", (name) => {
  const { version: released } = JSON.parse(readFileSync(new URL("client/package.json", root), "utf8"));
  expect(version(name)).toBe(released);
});

test("openapi.json, which the server answers, is openapi.yaml", () => {
  const [served, written] = ["openapi.json", "openapi.yaml"].map((file) => readFileSync(new URL(file, docs), "utf8"));
  expect(served, "run `npm run openapi`").toBe(`${JSON.stringify(parse(written ?? ""))}\n`);
});

test("template.yaml and openapi.yaml have the same paths", () => {
  expect([...new Set(operations.map(({ path }) => path))].sort()).toEqual(templatePaths().sort());
});

const files = (folder: string): [string, unknown][] =>
  readdirSync(new URL(folder, frames))
    .filter((file) => file.endsWith(".json"))
    .map((file) => [`${folder}${file}`, JSON.parse(readFileSync(new URL(folder + file, frames), "utf8"))]);

// What each folder of examples holds.
const examples: Record<Direction, [string, unknown][]> = {
  fromClient: files("client/"),
  fromServer: [...files(""), ...files("chat/")],
  onStream: files("stream/"),
};

describe.for(Object.keys(examples) as Direction[])("frames %s", (direction) => {
  test.for(examples[direction])("%s is one message of asyncapi.yaml", ([, frame]) => {
    expect(messageOf(direction, frame)).toEqual({ name: expect.any(String) });
  });

  test.for(examples[direction])(
    "%s is none with an unknown member, or without one that is required",
    ([name, frame]) => {
      const members = frame as Record<string, unknown>;
      expect(messageOf(direction, { ...members, unexpected: 1 })).toHaveProperty("problem");
      const message = (value: object): string | undefined => {
        const found = messageOf(direction, value);
        return "name" in found ? found.name : undefined;
      };
      const spare = Object.keys(members).filter((member) => {
        const { [member]: _, ...rest } = members;
        return message(rest) === message(members);
      });
      const optional = ["ref", "replaces", "silent", "since", "type", "before", "data", "accept"];
      expect(
        spare.filter((member) => !optional.includes(member)),
        name,
      ).toEqual([]);
    },
  );
});

test("every message of asyncapi.yaml has an example", () => {
  const named = (Object.keys(examples) as Direction[]).flatMap((direction) =>
    examples[direction].map(([, frame]) => {
      const message = messageOf(direction, frame);
      return "name" in message ? message.name : "";
    }),
  );
  const all = (Object.keys(examples) as Direction[]).flatMap(messageNames);
  // Emitted events are examples of `sync.json`.
  expect([...new Set(all)].filter((name) => !named.includes(name))).toEqual(["emitted"]);
});

test.for(["openapi", "asyncapi"] as const)("%s.yaml has schemas that refuse something", (document) => {
  const names = schemaNames(document);
  // A string with a control character and an object with such a name is in none of them.
  const accepting = names.filter((name) =>
    ["\u0007", { "\u0007": 1 }].every(
      (value) => mismatch({ $ref: `#/components/schemas/${name}` }, value, document) === undefined,
    ),
  );
  expect(accepting).toEqual([]);
});

test("a schema refuses what its values are not", () => {
  const refused: [string, unknown[]][] = [
    ["Uuid", ["", "D9A24CC6-F5C2-8BB7-A2A6-3E0D1D39D4B1", "d9a24cc6f5c28bb7a2a63e0d1d39d4b1", null]],
    ["UserId", ["", "a\nb", "\u202ea", "x".repeat(257), 7, null]],
    ["Time", ["2026-11-20T16:00:00Z", "2026-13-20T16:00:00.123Z", "2026-11-20T16:00:00.123+01:00"]],
    ["Cursor", ["", "42", "00abcdef01234567.042", "00ABCDEF01234567.42", "00abcdef01234567.-1"]],
    ["Title", ["", " ", "\u200b\u3164", "a\nb", "\u202ea", "\u{e0041}", "x".repeat(201)]],
    ["MessageBody", ["", "\n", "\u2800", "a\u0007", "x".repeat(4_001)]],
    ["ActionUrl", ["", "//evil", "javascript:1", "http://x", "https:///x", "/a b", "/a\\b"]],
    ["Data", [[], "x", null, { a: "\u0000" }, { a: [{ b: "\u0007" }] }, { "\u0007": 1 }, { a: { "\u0007": 1 } }]],
  ];
  for (const [name, values] of refused) {
    const schema = { $ref: `#/components/schemas/${name}` };
    for (const value of values) expect(mismatch(schema, value), `${name} ${JSON.stringify(value)}`).toBeDefined();
  }
});
