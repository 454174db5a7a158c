// Finds import cycles among the TypeScript sources, including type-only and dynamic imports.
// Modules in a cycle cannot be understood, tested or moved separately.

import { readdirSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { describe, expect, test } from "vitest";

const ROOT = new URL("../../", import.meta.url);
const FOLDERS = ["src", "page/src", "test", "browser"];

/** Source texts by their path. */
type Modules = ReadonlyMap<string, string>;

/** Captures the relative path after `from`, `import` or `import(`. */
const RELATIVE_IMPORT = /\b(?:from|import)\s*\(?\s*["'](\.[^"']*)["']/g;

function sourcesIn(folder: string): [string, string][] {
  const names = readdirSync(new URL(`${folder}/`, ROOT), { recursive: true, encoding: "utf8" });
  return names
    .filter((name) => /\.(tsx?|svelte|css)$/.test(name) && !/(^|\/)(node_modules|\.apps)\//.test(name))
    .map((name) => posix.join(folder, name))
    .map((path) => [path, readFileSync(new URL(path, ROOT), "utf8")]);
}

function importsOf(path: string, modules: Modules): string[] {
  return [...(modules.get(path) ?? "").matchAll(RELATIVE_IMPORT)].map(([, imported = ""]) => {
    // A query says how the bundler reads the file.
    const target = posix.join(posix.dirname(path), imported.replace(/\?.*/, ""));
    const names = [target, target.replace(/\.js$/, ".ts"), target.replace(/\.js$/, ".tsx")];
    const found = names.find((name) => modules.has(name));
    // An unresolved import could hide a cycle.
    if (!found) throw new Error(`${path} imports ${imported}, which is not among the sources`);
    return found;
  });
}

/** The first cycle, as a path that ends with the module it starts from. */
function findCycle(modules: Modules): string[] | null {
  const acyclic = new Set<string>();
  const visit = (path: string, importers: readonly string[]): string[] | null => {
    if (importers.includes(path)) return [...importers.slice(importers.indexOf(path)), path];
    if (acyclic.has(path)) return null;
    for (const imported of importsOf(path, modules)) {
      const cycle = visit(imported, [...importers, path]);
      if (cycle) return cycle;
    }
    acyclic.add(path);
    return null;
  };
  for (const path of modules.keys()) {
    const cycle = visit(path, []);
    if (cycle) return cycle;
  }
  return null;
}

test.each(FOLDERS)("%s contains sources to check", (folder) => {
  expect(sourcesIn(folder).length).toBeGreaterThan(0);
});

test("the sources have no import cycle", () => {
  const cycle = findCycle(new Map(FOLDERS.flatMap(sourcesIn)));
  expect(cycle?.join(" -> ") ?? "no cycle").toBe("no cycle");
});

describe("the check", () => {
  const imports = (...paths: string[]): string => paths.map((path) => `import "${path}";`).join("\n");

  test.each([
    ["an import", (path: string) => `import { a } from "${path}";`],
    ["an import over several lines", (path: string) => `import {\n  a,\n  b,\n} from "${path}";`],
    ["a type-only import", (path: string) => `import type { A } from "${path}";`],
    ["a side-effect import", imports],
    ["a dynamic import", (path: string) => `const { a } = await import("${path}");`],
    ["a re-export", (path: string) => `export { a } from "${path}";`],
    ["an import with a query", (path: string) => `import text from "${path}?inline";`],
    ["a type-only re-export", (path: string) => `export type * from "${path}";`],
  ])("finds a cycle made with %s", (_, importOf) => {
    const modules = new Map([
      ["src/first.ts", importOf("./second.js")],
      ["src/second.ts", importOf("./parts/third.js")],
      ["src/parts/third.tsx", importOf("../second.js")],
    ]);
    expect(findCycle(modules)).toEqual(["src/second.ts", "src/parts/third.tsx", "src/second.ts"]);
  });

  test("accepts a module with two importers", () => {
    const modules = new Map([
      ["top.ts", imports("./left.js", "./right.js")],
      ["left.ts", imports("./base.js")],
      ["right.ts", imports("./base.js", "node:fs")],
      ["base.ts", ""],
    ]);
    expect(findCycle(modules)).toBeNull();
  });

  test("rejects an import that it cannot resolve", () => {
    const modules = new Map([["lone.ts", imports("./missing.js")]]);
    expect(() => findCycle(modules)).toThrow("lone.ts imports ./missing.js, which is not among the sources");
  });
});
