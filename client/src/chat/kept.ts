// What is kept on the device: drafts, messages without an answer, and what to show offline. In local storage, because
// it answers at once: a draft is there with the first picture of a page.

import { storageProblem } from "../errors.js";
import type { Wire } from "../types.js";

/** Of what is only there to be shown. A message can be 20 KB large. */
const MAX_SHOWN_LENGTH = 200_000;
/** Begins the names of what the server has as well. */
export const COPY = "copy ";

export interface Kept {
  /** `undefined` if there is nothing, or nothing readable. */
  get(name: string): unknown;
  /** `undefined` forgets. */
  set(name: string, value: unknown): void;
  /** The names that begin with `start`, without it. */
  names(start: string): string[];
}

export function createKept(wire: Wire): Kept {
  const prefix = wire.keptName();
  const storage = prefix === null ? null : wire.environment.localStorage();
  let lastCode = "";

  function names(start: string): string[] {
    const own = `${prefix}${start}`;
    const all = Object.keys(storage ?? {});
    return all.filter((name) => name.startsWith(own)).map((name) => name.slice(own.length));
  }

  function write(name: string, text: string): void {
    try {
      storage?.setItem(`${prefix}${name}`, text);
    } catch (thrown) {
      const copies = names(COPY);
      if (copies.length === 0 || name.startsWith(COPY)) throw thrown;
      // Only what the user has written exists nowhere else.
      for (const copy of copies) storage?.removeItem(`${prefix}${COPY}${copy}`);
      storage?.setItem(`${prefix}${name}`, text);
    }
  }

  return {
    get(name) {
      try {
        return JSON.parse(storage?.getItem(`${prefix}${name}`) ?? "") ?? undefined;
      } catch {
        return undefined;
      }
    },
    set(name, value) {
      try {
        const text = JSON.stringify(value);
        const isTooLong = name.startsWith(COPY) && text?.length > MAX_SHOWN_LENGTH;
        if (text === undefined || isTooLong) storage?.removeItem(`${prefix}${name}`);
        else write(name, text);
        lastCode = "";
      } catch (thrown) {
        const problem = storageProblem(thrown);
        // Otherwise every key that is pressed would report the same problem.
        if (problem.code !== lastCode) wire.report(problem);
        lastCode = problem.code;
      }
    },
    names,
  };
}
