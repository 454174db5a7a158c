// The changes of the user that still matter: those without an answer, and those that the inbox does not include yet.
// Here they only show. The outbox sends them, and is loaded on demand.

import { EVERYTHING, type Intent } from "./overlay.js";
import type { PendingChange } from "./types.js";

export interface IntentsHost {
  /** The intents as they were before a `close`. */
  readonly initial: readonly Intent[];
  /** The intents changed, and with them what a page shows. */
  changed(): void;
  /** The user made a change. It shows already. */
  added(intent: Intent): void;
  /** Whether a notification shows that is not written yet. */
  isProvisional(id: string): boolean;
}

export interface Intents {
  all(): readonly Intent[];
  /** Shows at once. Settles when the server has done or refused it. */
  add(
    kind: Intent["kind"],
    ids: readonly string[],
    before: string | null,
    type?: string,
    until?: string,
  ): Promise<void>;
  /** Shows changes that came from another tab or from the device. Returns those that were not known. */
  adopt(changes: readonly PendingChange[], source: "tab" | "device"): readonly Intent[];
  /** Of a change of notifications that are not written yet, the part that is about them stays. */
  remove(which: readonly Intent[]): void;
  /** Takes the intents done so far. The returned function drops them; call it when the inbox includes them. */
  takeDone(): () => void;
}

export function createIntents(host: IntentsHost): Intents {
  let intents: readonly Intent[] = host.initial;
  // Unique over tabs and visits. `randomUUID` exists only in secure contexts.
  const prefix = crypto.getRandomValues(new Uint32Array(3)).join("-");
  let count = 0;
  /** The last change of each notification. */
  const last = new Map<string, Intent>();

  function remove(which: readonly Intent[]): void {
    if (which.length === 0) return;
    const removed = new Set(which);
    for (const intent of removed) {
      for (const id of intent.ids) {
        // No answer includes what is not written yet, so its change goes on showing.
        if (host.isProvisional(id)) continue;
        intent.ids.delete(id);
        if (last.get(id) === intent) last.delete(id);
      }
    }
    intents = intents.filter((intent) => !removed.has(intent) || intent.ids.size > 0);
    host.changed();
  }

  function put(fresh: readonly Intent[], isEarlier = false): void {
    intents = isEarlier ? [...fresh, ...intents] : [...intents, ...fresh];
    for (const intent of fresh) for (const id of intent.ids) if (!isEarlier || !last.has(id)) last.set(id, intent);
    host.changed();
  }

  for (const intent of intents) for (const id of intent.ids) last.set(id, intent);

  return {
    all: () => intents,
    add(kind, ids, before, type, until) {
      // A change that is already on its way is not made a second time, and the callers share its answer.
      const shared = new Set<Intent>();
      const fresh = ids.filter((id) => {
        const same = last.get(id);
        if (same?.kind !== kind || same.until !== until || !same.open.has(id)) return true;
        shared.add(same);
        return false;
      });
      if (kind === "readAll" || fresh.length > 0) {
        const at = new Date().toISOString();
        const id = `${prefix}-${++count}`;
        const bounds = { ...(before && { before }), ...(type && { type }), ...(until && { until }) };
        const intent = intentOf({ id, kind, ids: fresh, at, ...bounds }, "user");
        shared.add(intent);
        put([intent]);
        host.added(intent);
      }
      const answered = Promise.all([...shared].map((intent) => intent.answered)).then(() => {});
      // A caller that ignores the promise reads `error` instead, so a refusal must not be an unhandled rejection.
      answered.catch(() => {});
      return answered;
    },
    adopt(changes, source) {
      const known = new Set(intents.map(({ id }) => id));
      const fresh = changes.filter(({ id }) => !known.has(id)).map((change) => intentOf(change, source));
      // Those of an earlier visit were made before those of this one.
      if (fresh.length > 0) put(fresh, source === "device");
      return fresh;
    },
    remove,
    takeDone() {
      const done = intents.filter(({ isDone }) => isDone);
      return () => remove(done);
    },
  };
}

/** An intent of which nothing has been answered yet. */
export function intentOf({ id, kind, ids, type, before, until, at }: PendingChange, source: Intent["source"]): Intent {
  let settle: Intent["settle"] = () => {};
  const answered = new Promise<void>((resolve, reject) => {
    settle = (refusal) => (refusal ? reject(refusal) : resolve());
  });
  answered.catch(() => {});
  return {
    id,
    kind,
    ids: new Set(ids),
    type,
    before: before ?? null,
    until,
    at,
    source,
    open: new Set(kind === "readAll" ? [EVERYTHING] : ids),
    isDone: false,
    unconfirmed: new Set(ids),
    results: new WeakMap(),
    answered,
    settle,
  };
}
