// Measures what a page downloads, minified and compressed, of this client and of others: the same esbuild call for all.
// `npm run measure` prints the table; with `-- --write` it replaces the one in docs/client.md.
// Build this package first: its figures are those of `dist`.

import { readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const own = (entry) => new URL(`../dist/${entry}.js`, import.meta.url).pathname;
const document = new URL("../../docs/client.md", import.meta.url);
const versionOf = (name) =>
  JSON.parse(readFileSync(new URL(`node_modules/${name}/package.json`, import.meta.url))).version;

const ROWS = [
  [
    "an inbox that follows a server, without React",
    [
      ["@carillon/client", `export { createClient } from "${own("index")}";`],
      ["@novu/js", 'export { Novu } from "@novu/js";'],
      ["@stream-io/feeds-client", 'export { FeedsClient } from "@stream-io/feeds-client";'],
      ["stream-chat", 'export { StreamChat } from "stream-chat";'],
    ],
  ],
  [
    "the same with hooks, beside React",
    [
      [
        "@carillon/client",
        `export { createClient } from "${own("index")}"; export { CarillonProvider, useNotifications } from "${own("react")}";`,
      ],
      ["@novu/react", 'export { NovuProvider, useNotifications, useCounts } from "@novu/react/hooks";'],
      [
        "@stream-io/feeds-react-sdk",
        'export { useCreateFeedsClient, StreamFeeds, StreamFeed, useNotificationStatus, useAggregatedActivities } from "@stream-io/feeds-react-sdk";',
      ],
    ],
  ],
  [
    "a bell with an inbox, styles included, beside React",
    [
      [
        "@carillon/client",
        `export { createClient } from "${own("index")}"; export { CarillonProvider } from "${own("react")}"; export { Bell } from "${own("ui")}";`,
      ],
      ["@novu/react", 'export { Inbox } from "@novu/react";'],
      [
        "stream-chat-react",
        'export { StreamChat } from "stream-chat"; export { Chat, ChannelList } from "stream-chat-react"; import "stream-chat-react/css/index.css";',
      ],
    ],
  ],
];

/** The compressed bytes of the files that load at once, and of all that the page can load. */
async function sizeOf(contents) {
  const { outputFiles, metafile } = await build({
    stdin: { contents, resolveDir: new URL(".", import.meta.url).pathname },
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    external: ["react", "react-dom", "react-dom/*", "react/*"],
    define: { "process.env.NODE_ENV": '"production"' },
    loader: { ".woff": "empty", ".woff2": "empty", ".svg": "dataurl", ".png": "empty" },
    outdir: "out",
    write: false,
    metafile: true,
    logLevel: "error",
  });
  const bytes = new Map(outputFiles.map((file) => [file.path, gzipSync(file.contents, { level: 9 }).length]));
  const outputs = Object.entries(metafile.outputs);
  const bytesOf = (path) => [...bytes].find(([absolute]) => absolute.endsWith(`/${path}`))?.[1] ?? 0;
  /** The files of the page, and what they import in these ways. esbuild also writes files that nothing imports. */
  const reached = (kinds) => {
    const paths = new Set(
      outputs
        .filter(([path, { entryPoint }]) => entryPoint === "<stdin>" || path.endsWith(".css"))
        .map(([path]) => path),
    );
    for (const path of paths) {
      for (const { path: imported, kind, external } of metafile.outputs[path].imports) {
        if (kinds.includes(kind) && !external) paths.add(imported);
      }
    }
    return paths;
  };
  const sum = (paths) => [...paths].reduce((total, path) => total + bytesOf(path), 0);
  return {
    first: sum(reached(["import-statement"])),
    all: sum(reached(["import-statement", "dynamic-import"])),
  };
}

const kb = (bytes) => `${(bytes / 1024).toFixed(1)} KB`;
const lines = ["| | package | loaded at once | with what loads on demand |", "| --- | --- | --: | --: |"];
for (const [what, packages] of ROWS) {
  for (const [index, [name, contents]] of packages.entries()) {
    const { first, all } = await sizeOf(contents);
    const label = name === "@carillon/client" ? `**${name}**` : `${name} ${versionOf(name)}`;
    lines.push(`| ${index === 0 ? what : ""} | ${label} | ${kb(first)} | ${kb(all)} |`);
  }
}
const table = lines.join("\n");
console.log(table);
if (process.argv.includes("--write")) {
  const text = readFileSync(document, "utf8");
  writeFileSync(document, text.replace(/(?<=<!-- sizes -->\n).*(?=\n<!-- \/sizes -->)/s, table));
}
