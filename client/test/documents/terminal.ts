// A shell that keeps its variables from one block to the next, as that of a reader does.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

const DONE = "a block is done:";

export class Terminal {
  readonly #shell: ChildProcess;
  readonly #folder: string;
  #count = 0;
  #printed = "";
  #listeners: (() => void)[] = [];

  constructor(folder: string, env: NodeJS.ProcessEnv) {
    this.#folder = folder;
    // In a process group of its own, so that what it started ends with it.
    this.#shell = spawn("bash", ["--noprofile", "--norc"], { cwd: folder, env, detached: true });
    const read = (chunk: Buffer): void => {
      this.#printed += chunk;
      for (const listener of this.#listeners.splice(0)) listener();
    };
    this.#shell.stdout?.on("data", read);
    this.#shell.stderr?.on("data", read);
  }

  /** Begins to run a block, and does not wait for its end. */
  async begin(block: string): Promise<void> {
    const name = `.block-${process.pid}-${this.#count++}.sh`;
    await writeFile(join(this.#folder, name), block);
    // A command that fails shows even if others follow.
    this.#shell.stdin?.write(
      `failed=0; trap 'failed=$?' ERR; source ./${name} </dev/null 2>&1; trap - ERR; echo; echo "${DONE} $failed"\n`,
    );
  }

  /** Runs a block to its end, and returns what it prints. Throws if a command in it fails. */
  async run(block: string, withinMs: number): Promise<string> {
    this.take();
    await this.begin(block);
    const end = new RegExp(`\\n${DONE} (\\d+)\\n`);
    const isDone = await this.until(() => end.test(this.#printed), withinMs);
    const printed = this.take();
    if (!isDone) throw new Error(`it did not end, and printed:\n${printed}`);
    const [match, status] = end.exec(printed) ?? [""];
    const before = printed.slice(0, printed.indexOf(match));
    if (status !== "0") throw new Error(`a command failed with ${status}, and it printed:\n${before}`);
    return before;
  }

  /** What was printed since the last call. */
  take(): string {
    const printed = this.#printed;
    this.#printed = "";
    return printed;
  }

  /** Puts back what was taken and not used. */
  putBack(printed: string): void {
    this.#printed = printed + this.#printed;
  }

  /** Waits for something that more output may make true. */
  async until(isTrue: () => boolean, withinMs: number): Promise<boolean> {
    const deadline = Date.now() + withinMs;
    while (!isTrue()) {
      const left = deadline - Date.now();
      if (left <= 0) return false;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#listeners.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
    return true;
  }

  async stop(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#shell;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const exit = once(this.#shell, "exit");
    process.kill(-pid, "SIGKILL");
    await exit;
  }
}
