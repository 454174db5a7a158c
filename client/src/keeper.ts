// Keeps the inbox and the last events in a cache, now and then; whatever fails there is told and does no harm.

import type { Inbox } from "./inbox.js";
import { storageProblem } from "./problem.js";
import { isObject } from "./protocol.js";
import type { CachedInbox, CarillonEvent, EventCache, Problem } from "./types.js";

const SAVE_MS = 1_000;
/** Storage may hang; what it holds is then not worth waiting for. */
const LOAD_MS = 1_000;
const MAX_CACHED = 200;

export interface KeeperHost {
  readonly cache: EventCache;
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
      // Both at once, so that what clears them comes after both.
      await Promise.all([
        cursor !== null && cache.saveInbox(key, cachedOf(inbox, cursor)),
        events.length > 0 && cache.addEvents(key, events),
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
      const hurry = new Promise<null>((resolve) => setTimeout(resolve, LOAD_MS, null));
      try {
        const cached: unknown = await Promise.race([cache.loadInbox(key), hurry]);
        return isCachedInbox(cached) ? cached : null;
      } catch (thrown) {
        failed(thrown);
        return null;
      }
    },
    note(events) {
      unsaved.push(...events);
      timer ??= setTimeout(() => void save(), SAVE_MS);
    },
    flush() {
      if (timer !== undefined) void save();
    },
    forget() {
      isForgotten = true;
    },
  };
}

/** The newest of it. What is cut off has no place to page on from. */
function cachedOf(inbox: Inbox, cursor: string): CachedInbox {
  const { items, unreadCount, hasMore, nextCursor } = inbox;
  const cut = items.length > MAX_CACHED && { items: items.slice(0, MAX_CACHED), hasMore: true, nextCursor: null };
  return { items, unreadCount, cursor, hasMore, nextCursor, ...cut };
}

function isCachedInbox(value: unknown): value is CachedInbox {
  return isObject(value) && Array.isArray(value["items"]) && typeof value["cursor"] === "string";
}
