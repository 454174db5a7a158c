// The smallest function in Rust, with the smallest server beside it: built here, and served by `cargo lambda watch`.

import { join } from "node:path";
import { firstAnswer } from "../http.mjs";
import { root } from "../peer-packages.mjs";
import { freePort, run, start } from "../processes.mjs";

const folder = join(import.meta.dirname, "hello");
const target = join(root, "target/compare/hello");
const cargoLambda = join(root, ".tools/watch/bin/cargo-lambda");

/** The function. */
export const hello = join(target, "release/hello");
/** The server, which prints `ready PORT`. */
export const bareServer = join(target, "release/bare");

/** Builds both; takes two minutes the first time. */
export async function buildHello() {
  await run("cargo", ["build", "--quiet", "--locked", "--release", "--target-dir", target], { cwd: folder });
}

/** Installs the version of cargo-lambda that `make watch` uses. */
export async function installCargoLambda() {
  await run("tests/venv", [".tools/watch", "tests/requirements-watch.txt", "--no-deps"], { cwd: root });
}

/** Serves the function at `path`, in a process of its own. */
export async function startCargoLambda() {
  const port = await freePort();
  const args = [
    "lambda",
    "watch",
    "--release",
    "--ignore-changes",
    "--invoke-address",
    "127.0.0.1",
    "--invoke-port",
    `${port}`,
  ];
  const env = { ...process.env, CARGO_TARGET_DIR: target, CARGO_LAMBDA_IGNORE_RELEASES: "1" };
  const child = start(cargoLambda, args, { cwd: folder, env });
  const path = "/lambda-url/hello/";
  await firstAnswer(child, port, path, /^{"ok":true}$/);
  return { child, pid: child.pid, port, path };
}
