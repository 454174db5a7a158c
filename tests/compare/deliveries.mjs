// The check of every run: what was sent arrived, and arrived once.

import { setTimeout as sleep } from "node:timers/promises";

/** Longer than any delivery takes unless it is lost. */
const LOST_AFTER_MS = 20_000;

/** What was sent and what arrived, by id. An id is expected once for each of its recipients. */
export class Deliveries {
  #arrived = new Set();
  #repeated = 0;
  #waiting = new Set();

  /** How many distinct ones have arrived. */
  get count() {
    return this.#arrived.size;
  }

  arrive(id) {
    if (this.#arrived.has(id)) this.#repeated += 1;
    this.#arrived.add(id);
    for (const waiting of this.#waiting) {
      if (this.count >= waiting.count) waiting.resolve();
    }
  }

  /** Resolves when this many have arrived; fails if nothing arrives for a long time. */
  async reach(count) {
    if (this.count >= count) return;
    const waiting = { count };
    const reached = new Promise((resolve, reject) => {
      const arrivedBefore = this.count;
      const timer = setTimeout(() => {
        if (this.count === arrivedBefore) reject(new Error(`lost: ${this.count} of ${count} arrived`));
        else resolve(this.reach(count));
      }, LOST_AFTER_MS);
      waiting.resolve = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#waiting.add(waiting);
    await reached.finally(() => this.#waiting.delete(waiting));
  }

  /** Waits a moment for repeats; fails unless exactly these ids arrived, each once. */
  async areExactly(ids) {
    await sleep(300);
    const expected = new Set(ids);
    const lost = [...expected].filter((id) => !this.#arrived.has(id)).length;
    const strange = [...this.#arrived].filter((id) => !expected.has(id)).length;
    if (lost + strange + this.#repeated > 0) {
      throw new Error(`of ${expected.size}, ${lost} lost, ${this.#repeated} repeated, ${strange} that were never sent`);
    }
  }
}
