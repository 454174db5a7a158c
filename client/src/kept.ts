// Keeps changes without an answer on the device, so that neither a reload nor a closed tab loses them.

import type { Intent } from "./overlay.js";
import { isObject } from "./protocol.js";
import type { EventCache, PendingChange } from "./types.js";

export interface KeptHost {
  readonly cache: (() => Promise<EventCache>) | null;
  /** Names the server and the user. */
  readonly key: string;
  storageFailed(thrown: unknown): void;
}

export interface Kept {
  load(): Promise<readonly PendingChange[]>;
  /** Keeps the part of an intent that has no answer, or forgets it if there is none. Many in a row are one write. */
  save(intent: Intent): void;
  /** `isForgotten`: what is not written yet never will be. */
  stop(isForgotten: boolean): void;
}

const kinds: ReadonlySet<unknown> = new Set(["read", "unread", "delete", "readAll", "snooze"]);

/** Storage and other tabs may hold what another version of the client wrote. */
export function isPendingChange(value: unknown): value is PendingChange {
  if (!isObject(value)) return false;
  const { id, kind, ids, at, type, before, until } = value;
  const areStrings = [id, at, type ?? "", before ?? "", until ?? ""].every((member) => typeof member === "string");
  return areStrings && kinds.has(kind) && Array.isArray(ids) && ids.every((each) => typeof each === "string");
}

/** The part of an intent that has no answer yet. */
export function pendingOf({ id, kind, open, type, before, until, at }: Intent): PendingChange {
  const ids = kind === "readAll" ? [] : [...open];
  const bounds = { ...(type !== undefined && { type }), ...(before !== null && { before }), ...(until && { until }) };
  return { id, kind, ids, at, ...bounds };
}

export function createKept({ cache, key, storageFailed }: KeptHost): Kept {
  let unsaved = new Map<string, Intent>();
  let isSaving = false;
  let isForgotten = false;

  async function save(): Promise<void> {
    if (isSaving || !cache) return;
    isSaving = true;
    // One after another, because a later write must not be overtaken by an earlier one.
    for (await null; unsaved.size > 0; ) {
      const batch = [...unsaved.values()];
      unsaved = new Map();
      const changes = batch.filter(({ open }) => open.size > 0).map(pendingOf);
      const settled = batch.filter(({ open }) => open.size === 0).map(({ id }) => id);
      try {
        const opened = await cache();
        if (!isForgotten) await opened.saveChanges?.(key, changes, settled);
      } catch (thrown) {
        storageFailed(thrown);
      }
    }
    isSaving = false;
  }

  return {
    async load() {
      try {
        const changes: unknown = await (await cache?.())?.loadChanges?.(key);
        return Array.isArray(changes) ? changes.filter(isPendingChange) : [];
      } catch (thrown) {
        storageFailed(thrown);
        return [];
      }
    },
    save(intent) {
      if (isForgotten) return;
      unsaved.set(intent.id, intent);
      void save();
    },
    stop(forget) {
      isForgotten = forget;
      if (forget) unsaved.clear();
    },
  };
}
