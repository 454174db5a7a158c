import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { rolldown } from "rolldown";
import { afterAll, beforeAll, expect, test } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const example = fileURLToPath(new URL("../../../examples/react/", import.meta.url));
const KB = 1_024;
let folder: string;
let tarball: string;

// Vitest sets NODE_ENV, which would turn the builds into development builds.
const { NODE_ENV: _, ...env } = process.env;

const run = async (cwd: string, program: string, ...args: string[]): Promise<string> => {
  try {
    return (await promisify(execFile)(program, args, { cwd, env })).stdout;
  } catch (failure) {
    const { stdout, stderr } = failure as { stdout: string; stderr: string };
    throw new Error(`${program} ${args.join(" ")} failed:\n${stdout}\n${stderr}`);
  }
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "carillon-package-"));
  await run(root, "npm", "run", "build");
  const [packed] = JSON.parse(await run(root, "npm", "pack", "--json", "--pack-destination", folder));
  tarball = join(folder, packed.filename);
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** The minified and compressed bytes that a page loads first, and of all that it can load on demand. */
async function sizeOf(
  entries: readonly string[],
  without: readonly RegExp[] = [],
): Promise<{ first: number; all: number }> {
  const name = "entry";
  const bundle = await rolldown({
    input: name,
    platform: "browser",
    external: [/^react/, ...without],
    plugins: [
      {
        name,
        resolveId: (id) => (id === name ? `\0${name}` : null),
        load: (id) =>
          id === `\0${name}` ? entries.map((entry) => `export * from "${root}src/${entry}";`).join("\n") : null,
      },
    ],
  });
  const { output } = await bundle.generate({ format: "es", minify: true });
  const sizes = output.map((chunk) => {
    if (chunk.type !== "chunk") throw new Error(`unexpected asset ${chunk.fileName}`);
    return { isFirst: chunk.isEntry, bytes: gzipSync(chunk.code, { level: 9 }).length };
  });
  const sum = (some: typeof sizes): number => some.reduce((total, { bytes }) => total + bytes, 0);
  return { first: sum(sizes.filter(({ isFirst }) => isFirst)), all: sum(sizes) };
}

const store = [/\/(store|inbox|overlay)\.js$/];

test("the core is at most 8 KB, hooks and store at most 3 KB more, and everything together at most 11 KB", async () => {
  const core = await sizeOf(["index.ts"], store);
  const index = await sizeOf(["index.ts"]);
  const whole = await sizeOf(["index.ts", "react.tsx"]);
  console.log(
    `min+gzip: core ${core.first} B; with the store ${index.first} B; with the hooks ${whole.first} B; ` +
      `with cache and tabs, which are loaded on demand, ${whole.all} B`,
  );
  expect(core.first).toBeGreaterThan(4 * KB);
  expect(core.first).toBeLessThanOrEqual(8 * KB);
  expect(whole.first - core.first).toBeLessThanOrEqual(3 * KB);
  expect(whole.all).toBeLessThanOrEqual(11 * KB);
});

test("the package passes publint and has no dependencies", async () => {
  const { messages } = await publint({ pkgDir: root, strict: true });
  const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  expect(messages.map((message) => formatMessage(message, manifest))).toEqual([]);
  expect(manifest.dependencies).toBeUndefined();
});

test("the package contains its exports and nothing else", async () => {
  const files = (await run(folder, "tar", "-tzf", tarball)).trim().split("\n");
  for (const name of ["index.js", "index.d.ts", "react.js", "react.d.ts", "server.js", "server.d.ts"]) {
    expect(files).toContain(`package/dist/${name}`);
  }
  const unexpected = files.filter(
    (file) => !/^package\/(dist\/[\w-]+\.(js|d\.ts)|package\.json|README\.md|LICENSE.*)$/.test(file),
  );
  expect(unexpected).toEqual([]);
});

test("the lock file refers only to the public registry", async () => {
  const lock = await readFile(join(root, "package-lock.json"), "utf8");
  const hosts = new Set([...lock.matchAll(/"resolved": "(https?:\/\/[^/]+)/g)].map(([, host]) => host));
  expect([...hosts].filter((host) => host !== "https://registry.npmjs.org")).toEqual([]);
});

test("the app in the README is the example, word for word, and builds with the package", async () => {
  const readme = await readFile(join(root, "README.md"), "utf8");
  const shown = [...readme.matchAll(/```tsx?\n([\s\S]*?)```/g)].map(([, code]) => code);
  expect(shown).toContain(await readFile(join(example, "src/main.tsx"), "utf8"));
  expect(shown).toContain(await readFile(join(example, "vite.config.ts"), "utf8"));

  const app = join(folder, "app");
  await cp(example, app, { recursive: true, filter: (from) => !/node_modules|dist|package-lock/.test(from) });
  const manifest = JSON.parse(await readFile(join(app, "package.json"), "utf8"));
  manifest.dependencies["@carillon/client"] = `file:${tarball}`;
  await writeFile(join(app, "package.json"), JSON.stringify(manifest));
  // The README's example for a back end.
  const [server] = shown.filter((code) => code?.includes("/server"));
  await writeFile(join(app, "src/server.ts"), `declare const token: string;\n${server}export { sendId };\n`);
  await run(app, "npm", "install", "--prefer-offline", "--no-audit", "--no-fund");
  await run(app, "npm", "run", "build");
  expect((await readdir(join(app, "dist/assets"))).length).toBeGreaterThan(0);
});
