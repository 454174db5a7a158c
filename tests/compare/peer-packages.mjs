// The npm packages of the peers, installed at run time into `.tools/compare`, in the versions of `package-lock.json`.

import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { run } from "./processes.mjs";

const here = import.meta.dirname;
export const root = join(here, "../..");
export const tools = join(root, ".tools/compare");

/** The names of the packages. Read beside this file, since this module is loaded before anything is installed. */
export const peerNames = Object.keys(JSON.parse(readFileSync(join(here, "package.json"), "utf8")).dependencies);

/** Imports a package of a peer: `peer('bullmq')`. A module finds packages only in folders above it, and these are not. */
export const peer = createRequire(join(tools, "package.json"));

/** The installed version of a package. */
export function versionOf(name) {
  return JSON.parse(readFileSync(join(tools, "node_modules", name, "package.json"), "utf8")).version;
}

/** Installs all packages, unless exactly these are installed. */
export async function install() {
  const files = ["package.json", "package-lock.json"];
  const wanted = files.map((file) => readFileSync(join(here, file), "utf8")).join("");
  const done = join(tools, "installed");
  if (existsSync(done) && readFileSync(done, "utf8") === wanted) return;
  mkdirSync(tools, { recursive: true });
  for (const file of files) copyFileSync(join(here, file), join(tools, file));
  console.error(`installing the peers into ${tools}`);
  // osls is a fork of Serverless under another name, so that serverless-offline does not find the peer that it names.
  const flags = ["--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"];
  await run("npm", ["ci", ...flags], { cwd: tools });
  writeFileSync(done, wanted);
}
