// An example as an application of its own: with the packed package, built, and served.
//
// Its other packages are those that lie in a folder above it, locked there, so that no test depends on what a registry
// answers today: those of the client, or those of `next`, which needs an older TypeScript.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { env, run, unpack } from "../package/run.js";

export const examples: string = fileURLToPath(new URL("../../../examples/", import.meta.url));

export class App {
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  #server: ChildProcess | null = null;

  private constructor(folder: string, gatewayUrl: string) {
    this.#folder = folder;
    // With CI=true servers print their addresses in colours, between which a port is not found.
    this.#env = { ...env, CARILLON_URL: gatewayUrl, NEXT_TELEMETRY_DISABLED: "1", NO_COLOR: "1", FORCE_COLOR: "0" };
  }

  /** Copies an example below `packages`, a folder with what it needs, adds files to it, and unpacks the package there. */
  static async install(
    name: string,
    packages: string,
    tarball: string,
    gatewayUrl: string,
    files: Readonly<Record<string, string>> = {},
  ): Promise<App> {
    const parent = join(packages, ".apps");
    await mkdir(parent, { recursive: true });
    const app = new App(await mkdtemp(join(parent, `${name}-`)), gatewayUrl);
    const isSource = (path: string): boolean => !/\/(node_modules|dist|\.next|package-lock\.json)$/.test(path);
    await cp(join(examples, name), app.#folder, { recursive: true, filter: isSource });
    for (const [path, content] of Object.entries(files)) await writeFile(join(app.#folder, path), content);
    await unpack(tarball, app.#folder);
    await app.#hasItsPackages();
    return app;
  }

  /** Throws unless the packages that it finds are of the versions that its manifest asks for. */
  async #hasItsPackages(): Promise<void> {
    const manifest = JSON.parse(await readFile(join(this.#folder, "package.json"), "utf8"));
    const { "@carillon/client": _, ...wanted } = { ...manifest.dependencies, ...manifest.devDependencies };
    const found: Record<string, string> = {};
    for (const name of Object.keys(wanted)) {
      found[name] = JSON.parse(await readFile(this.#find(`${name}/package.json`), "utf8")).version;
    }
    expect(found).toEqual(wanted);
  }

  /** The path of a file of a package, which lies in this folder or above it. */
  #find(file: string): string {
    const folders = createRequire(join(this.#folder, "package.json")).resolve.paths(file) ?? [];
    const path = folders.map((folder) => join(folder, file)).find(existsSync);
    if (!path) throw new Error(`${file} is not installed`);
    return path;
  }

  async build(): Promise<void> {
    await run(this.#folder, "npm", ["run", "build"], this.#env);
  }

  /** Serves the built application on a free port, and returns its address. */
  async serve(program: string, ...args: string[]): Promise<string> {
    const server = spawn("node", [this.#find(program), ...args], { cwd: this.#folder, env: this.#env });
    this.#server = server;
    return new Promise((resolve, reject) => {
      let printed = "";
      const read = (chunk: Buffer): void => {
        printed += chunk;
        const [, port] = /http:\/\/(?:localhost|127\.0\.0\.1):(\d+)/.exec(printed) ?? [];
        if (port) resolve(`http://127.0.0.1:${port}`);
      };
      server.stdout.on("data", read);
      server.stderr.on("data", read);
      server.once("exit", (code) => reject(new Error(`${program} exited with ${code}: ${printed}`)));
    });
  }

  async remove(): Promise<void> {
    const server = this.#server;
    if (server && server.exitCode === null && server.signalCode === null) {
      server.kill("SIGKILL");
      await once(server, "exit");
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}
