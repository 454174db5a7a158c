// Builds and packs the package once for all tests of it.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { root, run } from "./run.js";

declare module "vitest" {
  interface ProvidedContext {
    /** The path of the packed package. */
    tarball: string;
  }
}

export default async function pack(project: TestProject): Promise<() => Promise<void>> {
  const folder = await mkdtemp(join(tmpdir(), "carillon-package-"));
  await run(root, "npm", ["run", "build"]);
  const [packed] = JSON.parse(await run(root, "npm", ["pack", "--json", "--pack-destination", folder]));
  project.provide("tarball", join(folder, packed.filename));
  return () => rm(folder, { recursive: true, force: true });
}
