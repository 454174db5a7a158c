import { readFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";
import { expect, test } from "vitest";
import { root } from "./run.js";

const KB = 1_024;

/** The names that an application imports from each entry. */
type Imports = Readonly<Record<string, string>>;

interface Size {
  readonly first: number;
  readonly all: number;
  /** All the code. */
  readonly code: string;
}

/** The minified and compressed bytes that a page loads first, and of all that it can load on demand. */
async function sizeOf(imports: Imports, without: readonly RegExp[] = []): Promise<Size> {
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
          id === `\0${name}`
            ? Object.entries(imports)
                .map(([entry, names]) => `export ${names} from "${root}${entry}";`)
                .join("\n")
            : null,
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
  const code = chunks.map((chunk) => chunk.code).join("\n");
  return { first: sum(sizes.filter(({ isFirst }) => isFirst)), all: sum(sizes), code };
}

const core: Imports = { "src/index.ts": "*" };
/** The hooks for all but chats. */
const hooks: Imports = {
  "src/react.ts":
    "{ CarillonProvider, signOut, useCarillon, useClient, useEvents, useNotifications, usePreferences, usePush }",
};
/** What an application imports that shows notifications alone. */
const NOTIFICATIONS = "{ CarillonProvider, useNotifications }";
/** Is in all code of chats, because no minifier changes it. */
const CHATS_PATH = "/api/chats";

const store = [/\/(store|inbox|overlay)\.js$/];

/** The store, which every application loads too, counts with the hooks. */
const CORE = 8.5 * KB;
/** What only applications load that use it. */
const optional = [/\/preferences\.js$/, /\/push\/push\.js$/];

test("the core is at most 8.5 KB, hooks and store at most 3 KB more, and everything together at most 22.5 KB", async () => {
  const bare = await sizeOf(core, store);
  const index = await sizeOf(core);
  const whole = await sizeOf({ ...core, ...hooks }, optional);
  console.log(
    `min+gzip: core ${bare.first} B; with the store ${index.first} B; with the hooks ${whole.first} B; ` +
      `with all that is loaded on demand, ${whole.all} B`,
  );
  expect(bare.first).toBeGreaterThan(4 * KB);
  expect(bare.first).toBeLessThanOrEqual(CORE);
  expect(whole.first - bare.first).toBeLessThanOrEqual(3 * KB);
  expect(whole.all).toBeLessThanOrEqual(22.5 * KB);
});

test("preferences are at most 1.25 KB more where they are used, push 3.5 KB where it is on, and its worker 2.75 KB", async () => {
  const all = { ...core, ...hooks };
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
    sizeOf({ "src/react.ts": NOTIFICATIONS }),
    sizeOf({ "src/react.ts": NOTIFICATIONS }, optional.slice(0, 1)),
  ]);
  expect(dropped.all).toBeLessThanOrEqual(never.all);
});

test("the bell, the inbox and the toasts in one language are at most 12.4 KB with the hooks, styles included", async () => {
  const { first, all, code } = await sizeOf({ "dist/ui.js": "{ Bell, Inbox, Toasts }" });
  console.log(`min+gzip: the components ${first} B with the hooks that they use, beside React`);
  expect(first).toBeGreaterThan(8 * KB);
  expect(first).toBeLessThanOrEqual(12.4 * KB);
  expect([all, code.includes(CHATS_PATH)]).toEqual([first, false]);
});

/** The aim is 4 KB. Chats have a queue, a history and drafts of their own, all loaded at once. */
const CHATS = 6.25 * KB;

test("chats and their hooks are at most 6.25 KB more, and only for pages that use them", async () => {
  const all = { ...core, "src/react.ts": "*", "src/chat.ts": "*" };
  const [without, chats, presence] = await Promise.all([
    sizeOf({ ...core, ...hooks }),
    sizeOf(all, [/\/presence\.js$/]),
    sizeOf(all),
  ]);
  console.log(
    `min+gzip: chats ${chats.all - without.all} B beside the hooks, presence ${presence.all - chats.all} B more`,
  );
  expect(chats.all - without.all).toBeLessThanOrEqual(CHATS);
  // A page that does not use it drops it.
  expect(presence.all - chats.all).toBeLessThanOrEqual(1.25 * KB);
  expect([without.code.includes(CHATS_PATH), presence.code.includes(CHATS_PATH)]).toEqual([false, true]);
});

test("a page that imports useNotifications is not larger than one for which the entry has no chats", async () => {
  const imports = { "dist/react.js": NOTIFICATIONS };
  const [page, alone] = await Promise.all([
    sizeOf(imports),
    sizeOf({ "src/provider.tsx": "{ CarillonProvider }", "src/hooks.ts": "{ useNotifications }" }),
  ]);
  console.log(`min+gzip: useNotifications ${page.all} B with its provider, beside React and the core`);
  expect(page.code).not.toContain(CHATS_PATH);
  expect(page.all).toBeLessThanOrEqual(1.75 * KB);
  // The chunks of the package cost a few bytes.
  expect(page.all).toBeLessThanOrEqual(alone.all + 30);
});

test("the components of chats in one language are at most 14.25 KB more than their hooks, styles included, and 4 KB load on demand", async () => {
  const [own, chats] = await Promise.all([
    sizeOf({ "dist/react.js": "{ useChat, useChats, usePresence }" }),
    sizeOf({ "dist/ui.js": "{ Chats }" }),
  ]);
  console.log(
    `min+gzip: the components of chats ${chats.first - own.first} B beside their hooks, ${own.first} B; ` +
      `on demand, ${chats.all - chats.first} B`,
  );
  expect(chats.first - own.first).toBeLessThanOrEqual(14.25 * KB);
  expect(chats.all - chats.first).toBeLessThanOrEqual(4 * KB);
});

test("the element is at most 12 KB more than the core, styles included", async () => {
  const [index, element] = await Promise.all([sizeOf({ "dist/index.js": "*" }), sizeOf({ "dist/element.js": "*" })]);
  console.log(`min+gzip: the element ${element.first - index.first} B beside the core`);
  expect(element.first - index.first).toBeLessThanOrEqual(12 * KB);
});
