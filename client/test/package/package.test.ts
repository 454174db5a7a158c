import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Script } from "node:vm";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { expect, inject, test } from "vitest";
import { newConsumer, root, run } from "./run.js";

const tarball = inject("tarball");

interface Manifest {
  readonly dependencies?: unknown;
  readonly exports: Readonly<Record<string, string | { readonly types: string; readonly default: string }>>;
}

const readManifest = async (): Promise<Manifest> => JSON.parse(await readFile(join(root, "package.json"), "utf8"));

/** The files of each entry of code, without `./`. */
async function entries(): Promise<{ readonly types: string; readonly code: string }[]> {
  const targets = Object.values((await readManifest()).exports).filter((target) => typeof target === "object");
  return targets.map(({ types, default: code }) => ({ types: types.slice(2), code: code.slice(2) }));
}

const packed = async (): Promise<string[]> =>
  (await run(root, "tar", ["-tzf", tarball]))
    .trim()
    .split("\n")
    .map((file) => file.replace(/^package\//, ""));

test("the package passes publint and has no dependencies", async () => {
  const manifest = await readManifest();
  const { messages } = await publint({ pkgDir: root, strict: true });
  expect(messages.map((message) => formatMessage(message, manifest as never))).toEqual([]);
  expect(manifest.dependencies).toBeUndefined();
});

// The profile leaves out the resolution of Node 10, which knows no `exports`. Every supported Node can `require` a module.
test("the types of every entry resolve as its code does", async () => {
  const attw = join(root, "node_modules/.bin/attw");
  await run(root, attw, [
    tarball,
    "--profile",
    "node16",
    "--ignore-rules",
    "cjs-resolves-to-esm",
    "--exclude-entrypoints",
    "ui.css",
    "preferences.css",
    "chat-ui.css",
    "chat-groups.css",
  ]);
});

test("the package contains its entries and nothing else", async () => {
  const files = await packed();
  for (const { types, code } of await entries()) {
    expect(files).toEqual(expect.arrayContaining([types, code]));
  }
  const expected =
    /^(dist\/[\w/-]+\.(js|js\.map|d\.ts)|dist\/(ui|preferences|chat-ui|chat-groups)\.css|package\.json|README\.md|CHANGELOG\.md|LICENSE-\w+)$/;
  expect(files.filter((file) => !expected.test(file))).toEqual([]);
});

test("the service worker is one classic script, which does nothing elsewhere", async () => {
  const code = await readFile(join(root, "dist/push-worker.js"), "utf8");
  // As `importScripts` would read it. A module would be a syntax error.
  new Script(code).runInNewContext({ globalThis: {} });
  const listened: string[] = [];
  const scope = {
    registration: {},
    clients: {},
    indexedDB: {},
    addEventListener: (type: string) => listened.push(type),
  };
  new Script(code).runInNewContext({ globalThis: scope });
  expect(listened).toEqual(["push", "notificationclick", "pushsubscriptionchange"]);
});

test("a source map contains the source, so that a debugger can show it", async () => {
  const chunks = (await packed()).filter((file) => file.endsWith(".js"));
  const folder = join(await newConsumer(tarball), "node_modules/@carillon/client");
  let mapped = 0;
  for (const chunk of chunks) {
    const code = await readFile(join(folder, chunk), "utf8");
    // An entry that only passes on what others export has nothing to debug.
    if (
      code
        .replace(/^"use client";/, "")
        .replace(/(import|export) (\{[^}]*\}|\*)( from "[^"]+")?;/g, "")
        .trim() === ""
    )
      continue;
    expect([chunk, /\n\/\/# sourceMappingURL=\S+\.js\.map\s*$/.test(code)]).toEqual([chunk, true]);
    const { sources, sourcesContent } = JSON.parse(await readFile(join(folder, `${chunk}.map`), "utf8"));
    expect(sourcesContent).toHaveLength(sources.length);
    expect(sourcesContent.every((source: unknown) => typeof source === "string")).toBe(true);
    mapped++;
  }
  expect(mapped).toBeGreaterThan(4);
});

/** Whether a built file needs React, by itself or through what it imports at once. */
async function needsReact(file: string): Promise<boolean> {
  const code = await readFile(join(root, file), "utf8");
  if (/ from "react/.test(code)) return true;
  const imported = [...code.matchAll(/ from "\.\/([^"]+)"/g)].map(([, name]) => `dist/${name}`);
  return (await Promise.all(imported.map(needsReact))).includes(true);
}

/** The files that a built file passes on, if it does nothing else. */
function passedOn(code: string): string[] {
  const lines = code.trim().split("\n");
  const files = lines.map((line) => /^export (?:\*|\{[^}]*\}) from "\.\/([^"]+)";$/.exec(line)?.[1]);
  return files.every((file) => file !== undefined) ? files.map((file) => `dist/${file}`) : [];
}

/** The files behind an entry that begin with "use client": itself, or all that it passes on. */
async function markedOf(file: string): Promise<string[]> {
  const code = await readFile(join(root, file), "utf8");
  if (code.startsWith('"use client";')) return [file];
  const marked = await Promise.all(passedOn(code).map(markedOf));
  return marked.some(({ length }) => length === 0) ? [] : marked.flat();
}

test('exactly the entries for React begin with "use client", or pass on files that do', async () => {
  const marked: string[] = [];
  for (const { code } of await entries()) {
    const files = await markedOf(code);
    expect([code, files.length > 0]).toEqual([code, await needsReact(code)]);
    marked.push(...files);
  }
  const ui = ["dist/chat-ui.js", "dist/components.js"];
  expect(marked).toEqual(["dist/react.js", "dist/chat-react.js", ...ui, "dist/chat-ui.js"]);
});

test("the lock file refers only to the public registry", async () => {
  const lock = await readFile(join(root, "package-lock.json"), "utf8");
  const hosts = new Set([...lock.matchAll(/"resolved": "(https?:\/\/[^/]+)/g)].map(([, host]) => host));
  expect([...hosts].filter((host) => host !== "https://registry.npmjs.org")).toEqual([]);
});
