// Programs that the tests of the package run, and the folders they run in.

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";

/** The folder `client`. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

const { NODE_ENV: _, ...others } = process.env;
/** The environment of a program. Vitest sets NODE_ENV, which would turn builds into development builds. */
export const env: NodeJS.ProcessEnv = others;

/** Runs a program, and returns what it prints. */
export async function run(
  cwd: string,
  program: string,
  args: readonly string[],
  vars: NodeJS.ProcessEnv = env,
): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { cwd, env: vars, maxBuffer: 64 * 1_024 * 1_024 })).stdout;
  } catch (failure) {
    const { stdout, stderr } = failure as { stdout: string; stderr: string };
    throw new Error(`${program} ${args.join(" ")} failed:\n${stdout}\n${stderr}`);
  }
}

/** Installs the packages of a folder as its lock file has them, unless they are installed. */
export async function install(folder: string): Promise<void> {
  const changedMs = async (path: string): Promise<number> =>
    stat(join(folder, path)).then(
      ({ mtimeMs }) => mtimeMs,
      () => 0,
    );
  if ((await changedMs("node_modules/.package-lock.json")) > (await changedMs("package-lock.json"))) return;
  await run(folder, "npm", ["ci", "--prefer-offline", "--no-audit", "--no-fund"]);
}

/** Unpacks the packed package into the `node_modules` of a folder. */
export async function unpack(tarball: string, folder: string): Promise<void> {
  const installed = join(folder, "node_modules/@carillon/client");
  await mkdir(installed, { recursive: true });
  await run(folder, "tar", ["-xzf", tarball, "-C", installed, "--strip-components", "1"]);
}

/** A folder that is deleted after the test. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "carillon-consumer-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A project with the packed package, and with packages that this one is developed with. It needs no network. */
export async function newConsumer(tarball: string, packages: readonly string[] = []): Promise<string> {
  const folder = await newFolder();
  await unpack(tarball, folder);
  for (const name of packages) {
    const link = join(folder, "node_modules", name);
    await mkdir(dirname(link), { recursive: true });
    await symlink(join(root, "node_modules", name), link);
  }
  return folder;
}
