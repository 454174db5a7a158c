// What a project with the package can do, without a bundler.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { newConsumer, root, run } from "./run.js";

const tarball = inject("tarball");
const tsc = join(root, "node_modules/.bin/tsc");
/** The frameworks that entries are for, with their types. */
const FRAMEWORKS = ["react", "@types/react", "csstype", "vue"];

async function entryNames(): Promise<string[]> {
  const { exports } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  return Object.keys(exports).map((path) => `@carillon/client${path.slice(1)}`);
}

/** Checks an index.ts as strictly as TypeScript can, the declarations of all packages included. */
async function check(consumer: string, source: string, module: string, moduleResolution: string): Promise<void> {
  await writeFile(join(consumer, "index.ts"), source);
  await writeFile(join(consumer, "package.json"), '{ "type": "module" }');
  const compilerOptions = {
    target: "ES2022",
    lib: ["ES2022", "DOM", "DOM.Iterable"],
    module,
    moduleResolution,
    jsx: "react-jsx",
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  };
  await writeFile(join(consumer, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["index.ts"] }));
  await run(consumer, tsc, ["-p", "."]);
}

test.each([
  ["NodeNext", "NodeNext"],
  ["ESNext", "bundler"],
])("the types of all entries are valid without skipLibCheck for module %s", async (module, resolution) => {
  const consumer = await newConsumer(tarball, FRAMEWORKS);
  const names = (await entryNames()).filter((name) => !/\.(json|css)$/.test(name));
  const source = names.map((name, n) => `import * as entry${n} from "${name}"; export { entry${n} };`).join("\n");
  await check(consumer, source, module, resolution);
});

test("the types of the core need no framework", async () => {
  const consumer = await newConsumer(tarball);
  const source = `
    import { createClient, type State } from "@carillon/client";
    import { sendNotification } from "@carillon/client/server";
    export const client = createClient({ baseUrl: "", getToken: () => "" });
    export const state: State = client.store.getState();
    export { sendNotification };
  `;
  await check(consumer, source, "NodeNext", "NodeNext");
});

test("every entry can be imported and required without a page", async () => {
  const consumer = await newConsumer(tarball, FRAMEWORKS);
  const names = (await entryNames()).filter((name) => !/\.(json|css)$/.test(name));
  await writeFile(join(consumer, "imported.mjs"), names.map((name) => `import "${name}";`).join("\n"));
  await run(consumer, "node", ["imported.mjs"]);
  // Node warns before version 22.13 that this is experimental.
  await writeFile(join(consumer, "required.cjs"), names.map((name) => `require("${name}");`).join("\n"));
  await run(consumer, "node", ["--no-warnings", "required.cjs"]);
});

/** What the contract names of each entry that has values. */
const CONTRACT: Readonly<Record<string, readonly string[]>> = {
  "@carillon/client": ["createClient"],
  "@carillon/client/react": [
    "CarillonProvider",
    "useNotifications",
    "useChats",
    "useChat",
    "usePresence",
    "usePreferences",
    "signOut",
  ],
  "@carillon/client/ui": ["Bell", "Inbox", "Toasts", "Chats"],
  "@carillon/client/server": [
    "sendNotification",
    "createNotification",
    "queueNotification",
    "emitNotification",
    "emitDashboardUpdate",
    "emitEvent",
    "getMetrics",
    "getHistory",
  ],
};

test("the entries export what the contract names, as code and as types", async () => {
  const consumer = await newConsumer(tarball, FRAMEWORKS);
  const imports = Object.entries(CONTRACT).map(([entry, names]) => `import { ${names.join(", ")} } from "${entry}";`);
  const source = `${imports.join("\n")}\nexport const all = [${Object.values(CONTRACT).flat().join(", ")}];\n`;
  await check(consumer, source, "NodeNext", "NodeNext");
  await writeFile(join(consumer, "contract.mjs"), `${source}console.log(new Set(all.map((one) => typeof one)));`);
  expect(await run(consumer, "node", ["contract.mjs"])).toBe("Set(1) { 'function' }\n");
});

test("package.json can be read by tools", async () => {
  const consumer = await newConsumer(tarball);
  const source =
    'import manifest from "@carillon/client/package.json" with { type: "json" }; console.log(manifest.name);';
  await writeFile(join(consumer, "read.mjs"), source);
  expect(await run(consumer, "node", ["--no-warnings", "read.mjs"])).toBe("@carillon/client\n");
});
