// Keeps the inbox and the last events in a cache, now and then; whatever fails there is told and does no harm.

import { cachedOf, type Inbox } from "./inbox.js";
import { createPause } from "./pause.js";
import { storageProblem } from "./problem.js";
import { isListAnswer } from "./protocol.js";
import type { CachedInbox, CarillonEvent, EventCache, Problem } from "./types.js";

const SAVE_MS = 1_000;
/** Storage may hang; what it holds is then not worth waiting for. */
const LOAD_MS = 1_000;

export interface KeeperHost {
  readonly cache: () => Promise<EventCache>;
  readonly key: string;
  inbox(): Inbox;
  /** The other tabs see the same; one of them keeping it is enough. */
  isKeeping(): boolean;
  report(problem: Problem): void;
}

export interface Keeper {
  load(): Promise<CachedInbox | null>;
  /** The inbox has changed; so has what was told. */
  note(events: readonly CarillonEvent[]): void;
  /** What was noted is kept at once. */
  flush(): void;
  /** Keeps nothing from now on. */
  forget(): void;
}

export function createKeeper(host: KeeperHost): Keeper {
  const { cache, key } = host;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let unsaved: CarillonEvent[] = [];
  let isForgotten = false;
  const hurry = createPause();
  let lastCode = "";

  async function save(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const events = unsaved;
    unsaved = [];
    if (isForgotten || !host.isKeeping()) return;
    const inbox = host.inbox();
    const { cursor } = inbox;
    try {
      const kept = await cache();
      // Both at once, so that what clears them comes after both.
      await Promise.all([
        cursor !== null && kept.saveInbox(key, cachedOf(inbox, cursor)),
        events.length > 0 && kept.addEvents(key, events),
      ]);
      lastCode = "";
    } catch (thrown) {
      failed(thrown);
    }
  }

  function failed(thrown: unknown): void {
    const what = storageProblem(thrown);
    // It would be said with every save.
    if (what.code !== lastCode) host.report(what);
    lastCode = what.code;
  }

  return {
    async load() {
      try {
        const cached: unknown = await Promise.race([cache().then((kept) => kept.loadInbox(key)), hurry.for(LOAD_MS)]);
        return isCachedInbox(cached) ? cached : null;
      } catch (thrown) {
        failed(thrown);
        return null;
      } finally {
        hurry.wake();
      }
    },
    note(events) {
      if (isForgotten) return;
      unsaved.push(...events);
      timer ??= setTimeout(() => void save(), SAVE_MS);
    },
    flush() {
      if (timer !== undefined) void save();
    },
    forget() {
      isForgotten = true;
      clearTimeout(timer);
      hurry.wake();
    },
  };
}

function isCachedInbox(value: unknown): value is CachedInbox {
  return isListAnswer(value) && "hasMore" in value;
}
