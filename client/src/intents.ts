// Carries out what the user did: in order, until it is done or refused.

import { backoffMs } from "./backoff.js";
import { GAP_MS } from "./catchup.js";
import type { Answer } from "./http.js";
import type { Intent } from "./overlay.js";
import { createPause } from "./pause.js";
import { asError, type CarillonError, closed, isTemporary } from "./problem.js";
import type { CarillonEvent, ChangeKind, RequestOptions } from "./types.js";

export interface IntentsHost {
  random(): number;
  call(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  /** They differ, so what is shown does. */
  changed(): void;
  failed(error: CarillonError): void;
  refused(error: CarillonError): void;
  keepSyncing(): void;
}

export interface Intents {
  all(): readonly Intent[];
  /** Shows at once; settles when the server has done or refused it. */
  add(kind: Intent["kind"], ids: readonly string[], before: string | null, type?: string): Promise<void>;
  /** An event may tell what was waited for. */
  observe(event: CarillonEvent): void;
  /** What is done so far; to be called when the inbox is known to be that far. */
  settling(): () => void;
  wake(): void;
  stop(): void;
}

const kinds: Partial<Record<ChangeKind, Intent["kind"]>> = { read: "read", unread: "unread", deleted: "delete" };

export function createIntents(host: IntentsHost): Intents {
  let intents: readonly Intent[] = [];
  // One after the other: `read` and `unread` of the same one must not overtake each other on the way.
  let last: Promise<unknown> = Promise.resolve();
  let isStopped = false;
  const pause = createPause();

  function remove(which: readonly Intent[]): void {
    const left = intents.filter((intent) => !which.includes(intent));
    if (left.length === intents.length) return;
    intents = left;
    host.changed();
  }

  /** Repeats until there is an answer: every change may be made twice. */
  async function insist(attempt: () => Promise<Answer>): Promise<void> {
    for (let failures = 1; ; failures++) {
      if (isStopped) throw closed();
      try {
        await attempt();
        // Nothing else may be left to show that whatever was in the way is gone.
        if (failures > 1) host.keepSyncing();
        return;
      } catch (thrown) {
        const error = asError(thrown);
        if (!isTemporary(error)) throw error;
        if (isStopped) continue;
        host.failed(error);
        await pause.for(backoffMs(failures, host.random, error.retryAfterMs));
      }
    }
  }

  function call({ kind, type, before }: Intent, id?: string): Promise<Answer> {
    if (id === undefined) {
      const body = { ...(type !== undefined && { type }), ...(before && { before }) };
      return host.call("POST", "/api/notifications/read-all", { body });
    }
    const path = `/api/notifications/${encodeURIComponent(id)}`;
    return kind === "delete" ? host.call("DELETE", path) : host.call("POST", `${path}/${kind}`);
  }

  async function carryOut(intent: Intent): Promise<void> {
    const isAll = intent.kind === "readAll";
    let refusal: CarillonError | undefined;
    await Promise.all(
      (isAll ? [undefined] : [...intent.ids]).map(async (id) => {
        try {
          await insist(() => call(intent, id));
        } catch (thrown) {
          refusal = asError(thrown);
          if (isAll) remove([intent]);
          else intent.ids.delete(id ?? "");
        }
      }),
    );
    intent.isDone = true;
    settle(intent);
    if (!refusal) return;
    if (refusal.code !== "closed") host.refused(refusal);
    host.changed();
    // That it is refused may be the first sign of what has changed.
    host.keepSyncing();
    throw refusal;
  }

  /** Done by the server is not yet told by it: it stays laid over until then, so that nothing flickers. */
  function settle(intent: Intent): void {
    const isTold = intent.kind !== "readAll" && [...intent.ids].every((id) => !intent.untold.has(id));
    if (isTold) return remove([intent]);
    if (isStopped) return;
    void pause.for(GAP_MS).then(() => {
      if (!isStopped && intents.includes(intent)) host.keepSyncing();
    });
  }

  return {
    all: () => intents,
    add(kind, ids, before, type) {
      const at = new Date().toISOString();
      const made = new WeakMap();
      const intent: Intent = { kind, ids: new Set(ids), untold: new Set(ids), type, before, at, isDone: false, made };
      intents = [...intents, intent];
      host.changed();
      const done = last.then(() => carryOut(intent));
      last = done.catch(() => {});
      // Whoever does not wait for it reads `error` instead; it is nobody's unhandled rejection.
      done.catch(() => {});
      return done;
    },
    observe(event) {
      if (event.type !== "changed") return;
      const told: Intent[] = [];
      for (const intent of intents) {
        if (intent.kind !== kinds[event.change]) continue;
        for (const id of event.ids) intent.untold.delete(id);
        if (intent.isDone && intent.untold.size === 0) told.push(intent);
      }
      remove(told);
    },
    settling() {
      const done = intents.filter((intent) => intent.isDone);
      return () => remove(done);
    },
    wake: pause.wake,
    stop() {
      isStopped = true;
      pause.wake();
    },
  };
}
