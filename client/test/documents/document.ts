// What a document tells its reader to do: its fenced blocks, in order.
//
// A block says by its language what it is, and by a comment in the line before it what is special about it:
//
//   ```sh                             is run in the terminal of the document
//   ```sh title="second terminal"     is run in another terminal, and may go on for ever
//   ```js title="listen.mjs"          is a file, which a later command uses
//   ```text  ```json                  is what the block before it prints; with a title, what that terminal prints
//
//   <!-- not run: REASON -->          is only read
//   <!-- needs: redis -->             is run where there is a Redis
//   <!-- from: examples/ring.mjs -->  is part of that file, which a test of its own runs
//   <!-- gateway: NAME=VALUE … -->    at the top of a document: the variables of its gateway
//   <!-- run by: FILE -->             at the top of a document: the test that runs it, on servers of its own

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the repository. */
export const root: string = fileURLToPath(new URL("../../../", import.meta.url));

interface Place {
  /** The file and the line, as a terminal links it. */
  readonly at: string;
  /** The heading above it. */
  readonly section: string;
  readonly text: string;
}

export type Step =
  | (Place & { readonly kind: "run"; readonly terminal: string | null; readonly needsRedis: boolean })
  | (Place & {
      readonly kind: "shown";
      readonly terminal: string | null;
      readonly isJson: boolean;
      readonly needsRedis: boolean;
    })
  | (Place & { readonly kind: "file"; readonly name: string })
  | (Place & { readonly kind: "part"; readonly of: string })
  | (Place & { readonly kind: "read"; readonly reason: string });

export interface Document {
  readonly path: string;
  readonly gateway: Readonly<Record<string, string>>;
  /** The file of the test that runs it, if that is a test of its own. */
  readonly runBy: string | null;
  readonly steps: readonly Step[];
}

/** Commands that change more than a folder of their own: they are only run if a test does so by itself. */
const FAR = /^\s*(?:aws|cargo (?!run)|docker|make|npm|psql|sam|sudo|apt-get) /m;

const MARK = /^<!-- (not run|needs|from): (.+) -->$/;

export async function read(path: string): Promise<Document> {
  const lines = (await readFile(join(root, path), "utf8")).split("\n");
  const gateway: Record<string, string> = {};
  let runBy: string | null = null;
  let section = "";
  const steps: Step[] = [];
  for (let at = 0; at < lines.length; at++) {
    const [, variables] = /^<!-- gateway: (.+) -->$/.exec(lines[at] ?? "") ?? [];
    for (const variable of variables?.split(" ") ?? []) {
      const [name = "", value = ""] = variable.split("=");
      gateway[name] = value;
    }
    runBy ??= /^<!-- run by: (.+) -->$/.exec(lines[at] ?? "")?.[1] ?? null;
    section = /^#+ (.+)$/.exec(lines[at] ?? "")?.[1] ?? section;
    // Blocks may stand in lists.
    const [, indent, language, title = null] = /^( *)```(\w*)(?: title="(.+)")?$/.exec(lines[at] ?? "") ?? [];
    if (indent === undefined || language === undefined) continue;
    const end = lines.findIndex((line, number) => number > at && line === `${indent}\`\`\``);
    if (end < 0) throw new Error(`${path}:${at + 1} has no end`);
    const text = lines.slice(at + 1, end).map((line) => line.slice(indent.length));
    const place = { at: `${path}:${at + 1}`, section, text: `${text.join("\n")}\n` };
    const [, name, value = ""] = MARK.exec(lines[at - 1]?.trim() ?? "") ?? [];
    at = end;
    // A block without a language is a quotation.
    if (language === "") continue;
    const next = step(place, language, title, name, value);
    if (next.kind === "run" && runBy === null && FAR.test(next.text))
      throw new Error(`${next.at} must say that it is not run, and why`);
    steps.push(next);
  }
  return { path, gateway, runBy, steps };
}

function step(place: Place, language: string, title: string | null, mark: string | undefined, value: string): Step {
  if (mark === "not run") return { ...place, kind: "read", reason: value };
  if (mark === "from") return { ...place, kind: "part", of: value };
  const needsRedis = mark === "needs" && value === "redis";
  if (mark === "needs" && !needsRedis) throw new Error(`${place.at} needs ${value}, which is unknown`);
  if (language === "sh") return { ...place, kind: "run", terminal: title, needsRedis };
  if (title?.includes(".")) return { ...place, kind: "file", name: title };
  if (language === "text" || language === "json")
    return { ...place, kind: "shown", terminal: title, isJson: language === "json", needsRedis };
  throw new Error(`${place.at}: a block of ${language} needs a title, or a comment that says what runs it`);
}
