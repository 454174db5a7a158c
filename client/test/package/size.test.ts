import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { expect, test } from "vitest";
import { root } from "./run.js";

const KB = 1_024;

/** The minified and compressed bytes that a page loads first, and of all that it can load on demand. */
async function sizeOf(
  entries: readonly string[],
  without: readonly RegExp[] = [],
  names = "*",
): Promise<{ first: number; all: number }> {
  const name = "entry";
  const bundle = await rolldown({
    input: name,
    platform: "browser",
    // As in an application, whose own entry exports nothing: what the core shares with later parts stays in one chunk.
    preserveEntrySignatures: "allow-extension",
    checks: { moduleLevelDirective: false },
    external: [/^react/, ...without],
    plugins: [
      {
        name,
        resolveId: (id) => (id === name ? `\0${name}` : null),
        load: (id) =>
          id === `\0${name}` ? entries.map((entry) => `export ${names} from "${root}${entry}";`).join("\n") : null,
      },
    ],
  });
  const { output } = await bundle.generate({ format: "es", minify: true });
  const chunks = output.map((chunk) => {
    if (chunk.type !== "chunk") throw new Error(`unexpected asset ${chunk.fileName}`);
    return chunk;
  });
  // What an entry shares with a part that is loaded on demand is a chunk of its own, and still loaded first.
  const first = new Set(chunks.filter(({ isEntry }) => isEntry));
  for (const { imports } of first) for (const chunk of chunks) if (imports.includes(chunk.fileName)) first.add(chunk);
  const sizes = chunks.map((chunk) => ({
    isFirst: first.has(chunk),
    bytes: gzipSync(chunk.code, { level: 9 }).length,
  }));
  const sum = (some: typeof sizes): number => some.reduce((total, { bytes }) => total + bytes, 0);
  return { first: sum(sizes.filter(({ isFirst }) => isFirst)), all: sum(sizes) };
}

const store = [/\/(store|inbox|overlay)\.js$/];

/** The store, which every application loads too, counts with the hooks. */
const CORE = 8.5 * KB;
/** What only applications load that use it. */
const optional = [/\/preferences\.js$/, /\/push\/push\.js$/];

test("the core is at most 8.5 KB, hooks and store at most 3 KB more, and everything together at most 22.5 KB", async () => {
  const core = await sizeOf(["src/index.ts"], store);
  const index = await sizeOf(["src/index.ts"]);
  const whole = await sizeOf(["src/index.ts", "src/react.tsx"], optional);
  console.log(
    `min+gzip: core ${core.first} B; with the store ${index.first} B; with the hooks ${whole.first} B; ` +
      `with all that is loaded on demand, ${whole.all} B`,
  );
  expect(core.first).toBeGreaterThan(4 * KB);
  expect(core.first).toBeLessThanOrEqual(CORE);
  expect(whole.first - core.first).toBeLessThanOrEqual(3 * KB);
  expect(whole.all).toBeLessThanOrEqual(22.5 * KB);
});

test("preferences are at most 1.25 KB more where they are used, push 3.5 KB where it is on, and its worker 2.75 KB", async () => {
  const names = "{ CarillonProvider, useNotifications }";
  const all = ["src/index.ts", "src/react.tsx"];
  const [without, preferences, push] = await Promise.all([
    sizeOf(all, optional),
    sizeOf(all, optional.slice(1)),
    sizeOf(all, optional.slice(0, 1)),
  ]);
  const worker = gzipSync(await readFile(`${root}dist/push-worker.js`), { level: 9 }).length;
  console.log(
    `min+gzip: preferences ${preferences.all - without.all} B, push ${push.all - without.all} B on demand, ` +
      `the worker ${worker} B`,
  );
  expect(preferences.all - without.all).toBeLessThanOrEqual(1.25 * KB);
  expect(push.all - without.all).toBeLessThanOrEqual(3.5 * KB);
  expect(push.first).toBeLessThanOrEqual(without.first + 50);
  expect(worker).toBeLessThanOrEqual(2.75 * KB);
  // A page with the hooks of notifications alone drops the preferences, while a bundler keeps an import of another package.
  const [dropped, never] = await Promise.all([
    sizeOf(["src/react.tsx"], [], names),
    sizeOf(["src/react.tsx"], optional.slice(0, 1), names),
  ]);
  expect(dropped.all).toBeLessThanOrEqual(never.all);
});

test("the bell, the inbox and the toasts in one language are at most 12.4 KB with the hooks, styles included", async () => {
  const { first } = await sizeOf(["dist/ui.js"], [], "{ Bell, Inbox, Toasts }");
  console.log(`min+gzip: the components ${first} B with the hooks that they use, beside React`);
  expect(first).toBeGreaterThan(8 * KB);
  expect(first).toBeLessThanOrEqual(12.4 * KB);
});

/** The aim is 4 KB. Chats have a queue, a history and drafts of their own, all loaded at once. */
const CHATS = 6.25 * KB;

test("chats and their hooks are at most 6.25 KB more, and only for pages that use them", async () => {
  const all = ["src/index.ts", "src/react.tsx", "src/chat.ts", "src/chat-react.ts"];
  const [without, chats, presence] = await Promise.all([
    sizeOf(["src/index.ts", "src/react.tsx"]),
    sizeOf(all, [/\/presence\.js$/]),
    sizeOf(all),
  ]);
  console.log(
    `min+gzip: chats ${chats.all - without.all} B beside the hooks, presence ${presence.all - chats.all} B more`,
  );
  expect(chats.all - without.all).toBeLessThanOrEqual(CHATS);
  // A page that does not use it drops it.
  expect(presence.all - chats.all).toBeLessThanOrEqual(1.25 * KB);
});

test("the components of chats in one language are at most 14.25 KB more than their hooks, styles included, and 4 KB load on demand", async () => {
  const [hooks, chats] = await Promise.all([
    sizeOf(["dist/chat-react.js"], [], "{ useChat, useChats, usePresence }"),
    sizeOf(["dist/chat-ui.js"], [], "{ Chats }"),
  ]);
  console.log(
    `min+gzip: the components of chats ${chats.first - hooks.first} B beside their hooks, ${hooks.first} B; ` +
      `on demand, ${chats.all - chats.first} B`,
  );
  expect(chats.first - hooks.first).toBeLessThanOrEqual(14.25 * KB);
  expect(chats.all - chats.first).toBeLessThanOrEqual(4 * KB);
});

test("the element is at most 12 KB more than the core, styles included", async () => {
  const [core, element] = await Promise.all([sizeOf(["dist/index.js"]), sizeOf(["dist/element.js"])]);
  console.log(`min+gzip: the element ${element.first - core.first} B beside the core`);
  expect(element.first - core.first).toBeLessThanOrEqual(12 * KB);
});
