// Writes docs/openapi.json, which the server answers, from docs/openapi.yaml, which people read: `npm run openapi`.

import { readFile, writeFile } from "node:fs/promises";
import { parse } from "yaml";

const docs = new URL("../docs/", import.meta.url);
const description = parse(await readFile(new URL("openapi.yaml", docs), "utf8"));
await writeFile(new URL("openapi.json", docs), `${JSON.stringify(description)}\n`);
