// Carries out the changes that the user makes: in order, with retries until the server has done or refused each.

import { backoffMs } from "./backoff.js";
import { GAP_MS } from "./catchup.js";
import { asError, type CarillonError, closed, isTemporary } from "./errors.js";
import type { ApiResponse } from "./http.js";
import type { Intent } from "./overlay.js";
import { createPause } from "./pause.js";
import type { CarillonEvent, ChangeKind, RequestOptions } from "./types.js";

export interface IntentsHost {
  random(): number;
  call(method: string, path: string, options?: RequestOptions): Promise<ApiResponse>;
  /** The intents changed, and with them what a page shows. */
  changed(): void;
  failed(error: CarillonError): void;
  refused(error: CarillonError): void;
  keepSyncing(): void;
}

export interface Intents {
  all(): readonly Intent[];
  /** Shows at once. Settles when the server has done or refused it. */
  add(kind: Intent["kind"], ids: readonly string[], before: string | null, type?: string): Promise<void>;
  /** An event may confirm an intent. */
  observe(event: CarillonEvent): void;
  /** Takes the intents done so far. The returned function drops them; call it when the inbox includes them. */
  takeDone(): () => void;
  wake(): void;
  stop(): void;
}

const kinds: Partial<Record<ChangeKind, Intent["kind"]>> = { read: "read", unread: "unread", deleted: "delete" };

export function createIntents(host: IntentsHost): Intents {
  let intents: readonly Intent[] = [];
  // One after another: `read` and `unread` of the same notification must not overtake each other on the way.
  let last: Promise<unknown> = Promise.resolve();
  let isStopped = false;
  const pause = createPause();

  function remove(which: readonly Intent[]): void {
    const left = intents.filter((intent) => !which.includes(intent));
    if (left.length === intents.length) return;
    intents = left;
    host.changed();
  }

  /** Retries until there is an answer. Every change is idempotent. */
  async function retry(attempt: () => Promise<ApiResponse>): Promise<void> {
    for (let failures = 1; ; failures++) {
      if (isStopped) throw closed();
      try {
        await attempt();
        // The sync clears the problem that earlier attempts reported; nothing else may do so.
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

  function call({ kind, type, before }: Intent, id?: string): Promise<ApiResponse> {
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
          await retry(() => call(intent, id));
        } catch (thrown) {
          refusal = asError(thrown);
          if (isAll) remove([intent]);
          else intent.ids.delete(id ?? "");
        }
      }),
    );
    intent.isDone = true;
    awaitConfirmation(intent);
    if (!refusal) return;
    if (refusal.code !== "closed") host.refused(refusal);
    host.changed();
    // The refusal may be the first sign of a change.
    host.keepSyncing();
    throw refusal;
  }

  /** A finished intent stays in the overlay until the inbox includes it, so that nothing flickers. */
  function awaitConfirmation(intent: Intent): void {
    const isConfirmed = intent.kind !== "readAll" && [...intent.ids].every((id) => !intent.unconfirmed.has(id));
    if (isConfirmed) return remove([intent]);
    if (isStopped) return;
    void pause.for(GAP_MS).then(() => {
      if (!isStopped && intents.includes(intent)) host.keepSyncing();
    });
  }

  return {
    all: () => intents,
    add(kind, ids, before, type) {
      const at = new Date().toISOString();
      const intent: Intent = {
        kind,
        ids: new Set(ids),
        unconfirmed: new Set(ids),
        type,
        before,
        at,
        isDone: false,
        results: new WeakMap(),
      };
      intents = [...intents, intent];
      host.changed();
      const done = last.then(() => carryOut(intent));
      last = done.catch(() => {});
      // A caller that ignores the promise reads `error` instead, so a refusal must not be an unhandled rejection.
      done.catch(() => {});
      return done;
    },
    observe(event) {
      if (event.type !== "changed") return;
      const confirmed: Intent[] = [];
      for (const intent of intents) {
        if (intent.kind !== kinds[event.change]) continue;
        for (const id of event.ids) intent.unconfirmed.delete(id);
        if (intent.isDone && intent.unconfirmed.size === 0) confirmed.push(intent);
      }
      remove(confirmed);
    },
    takeDone() {
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
