// Does what a document says, block by block, in terminals of its own at a gateway.

import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { root, type Step } from "./document.js";
import { findPrinted, isPrinted } from "./shown.js";
import { Terminal } from "./terminal.js";

/** Where the documents say that the gateway is. */
const DOCUMENTED = "127.0.0.1:3000";
const WITHIN_MS = 60_000;
const APPS = fileURLToPath(new URL(".apps/", import.meta.url));

/** `carillon` is the gateway's program, and `cargo run` runs it. */
const CARILLON = `#!/bin/sh
# Without an address, it listens where the documents say that the gateway is.
case "$1" in listen | why) set -- "$@" --url "$CARILLON_URL" ;; esac
exec "$CARILLON_GATEWAY" "$@"
`;
const CARGO = `#!/bin/sh
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do shift; done
shift
exec carillon "$@"
`;

/** A block that was not run, and why. */
export interface Left {
  readonly at: string;
  readonly reason: string;
}

export class Reader {
  readonly left: Left[] = [];
  /** Where the commands run. */
  readonly folder: string;
  readonly #host: string;
  readonly #hasRedis: boolean;
  readonly #env: NodeJS.ProcessEnv;
  readonly #terminals: Map<string, Terminal> = new Map();
  /** What the last block printed, until it is compared. */
  #printed = "";

  private constructor(folder: string, url: string, env: NodeJS.ProcessEnv) {
    this.folder = folder;
    this.#host = new URL(url).host;
    this.#hasRedis = env["REDIS_URL"] !== undefined;
    const { PATH } = { ...process.env, ...env };
    this.#env = { ...process.env, ...env, PATH: `${join(folder, ".bin")}:${PATH}`, CARILLON_URL: url };
  }

  /** At the gateway of this address. `env` has its JWT_SECRET, and the REDIS_URL of its Redis if it has one. */
  static async at(url: string, env: NodeJS.ProcessEnv): Promise<Reader> {
    await mkdir(APPS, { recursive: true });
    const folder = await mkdtemp(join(APPS, "reader-"));
    const programs = join(folder, ".bin");
    await mkdir(programs);
    for (const [name, script] of Object.entries({ carillon: CARILLON, cargo: CARGO })) {
      await writeFile(join(programs, name), script);
      await chmod(join(programs, name), 0o755);
    }
    for (const name of ["deploy", "examples"]) await symlink(join(root, name), join(folder, name));
    return new Reader(folder, url, env);
  }

  async does(step: Step): Promise<void> {
    if (step.kind === "read") return this.#leaves(step.at, step.reason);
    if ("needsRedis" in step && step.needsRedis && !this.#hasRedis)
      return this.#leaves(step.at, "redis-server is missing");
    try {
      if (step.kind === "run") await this.#runs(step.text, step.terminal);
      else if (step.kind === "file") await writeFile(join(this.folder, step.name), this.#here(step.text));
      else if (step.kind === "part") await isPart(step.text, step.of);
      else await this.#sees(step.text, step.isJson, step.terminal);
    } catch (error) {
      throw new Error(`${step.at}:\n${step.text}\n${error instanceof Error ? error.message : error}`);
    }
  }

  async stops(): Promise<void> {
    for (const terminal of this.#terminals.values()) await terminal.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  #leaves(at: string, reason: string): void {
    this.left.push({ at, reason });
  }

  async #runs(text: string, name: string | null): Promise<void> {
    const terminal = this.#terminal(name);
    if (name === null) this.#printed = await terminal.run(this.#here(text), WITHIN_MS);
    else await terminal.begin(this.#here(text));
  }

  async #sees(shown: string, isJson: boolean, name: string | null): Promise<void> {
    if (name === null) {
      const printed = this.#there(this.#printed);
      if (!isPrinted(shown, isJson, printed)) throw new Error(`is not what was printed:\n${printed}`);
      return;
    }
    const terminal = this.#terminal(name);
    let [rest, taken] = ["", null as number | null];
    const isSeen = (): boolean => {
      rest += terminal.take();
      // The last line may be a part of one.
      const whole = rest.split("\n").slice(0, -1);
      taken = findPrinted(shown, isJson, whole.map(this.#there));
      return taken !== null;
    };
    if (!(await terminal.until(isSeen, WITHIN_MS))) throw new Error(`is not what the ${name} printed:\n${rest}`);
    terminal.putBack(
      rest
        .split("\n")
        .slice(taken ?? 0)
        .join("\n"),
    );
  }

  #terminal(name: string | null): Terminal {
    const known = this.#terminals.get(name ?? "");
    if (known) return known;
    const opened = new Terminal(this.folder, this.#env);
    this.#terminals.set(name ?? "", opened);
    return opened;
  }

  /** A text of the document, with the address at which the gateway is here. */
  readonly #here = (text: string): string => text.replaceAll(DOCUMENTED, this.#host);

  /** What was printed, with the address that is documented. */
  readonly #there = (text: string): string => text.replaceAll(this.#host, DOCUMENTED);
}

async function isPart(text: string, path: string): Promise<void> {
  if (!(await readFile(join(root, path), "utf8")).includes(text)) throw new Error(`is not part of ${path}`);
}
