// Writes the inbox and the last events to a cache from time to time. A failure there is reported and does no harm.

import { storageProblem } from "./errors.js";
import { type Inbox, toCached } from "./inbox.js";
import { createPause } from "./pause.js";
import { isListResponse } from "./protocol.js";
import type { CachedInbox, CarillonEvent, EventCache, Problem } from "./types.js";

const SAVE_MS = 1_000;
/** Storage may hang, and its content is not worth a longer wait. */
const LOAD_MS = 1_000;

export interface PersistenceHost {
  readonly cache: () => Promise<EventCache>;
  readonly key: string;
  /** Ids of emitted events that listeners have received. */
  readonly seen: Set<string>;
  /** Notifications of which listeners have heard: whether each is still to be written. */
  readonly told: Map<string, boolean>;
  inbox(): Inbox;
  /** Whether this tab saves. All tabs see the same, so only one of them needs to. */
  isSaver(): boolean;
  report(problem: Problem): void;
}

export interface Persistence {
  load(): Promise<CachedInbox | null>;
  /** The inbox changed, or these events were emitted: save soon. */
  changed(events: readonly CarillonEvent[]): void;
  /** Saves pending changes at once. */
  flush(): void;
  /** Reports a failure of the cache, unless it is the one that was reported last. */
  failed(thrown: unknown): void;
  /** Saves nothing from now on. */
  stop(): void;
}

export function createPersistence(host: PersistenceHost): Persistence {
  const { cache, key, seen, told } = host;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let unsaved: CarillonEvent[] = [];
  let isStopped = false;
  const loadPause = createPause();
  let lastCode = "";

  async function save(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const events = unsaved;
    unsaved = [];
    if (isStopped || !host.isSaver()) return;
    const inbox = host.inbox();
    const { cursor } = inbox;
    try {
      const opened = await cache();
      // Both start together, so that a later `clear` comes after both.
      await Promise.all([
        cursor !== null && opened.saveInbox(key, toCached(inbox, cursor)),
        events.length > 0 && opened.addEvents(key, events),
      ]);
      lastCode = "";
    } catch (thrown) {
      failed(thrown);
    }
  }

  function failed(thrown: unknown): void {
    const problem = storageProblem(thrown);
    // Otherwise every save would report the same problem.
    if (problem.code !== lastCode) host.report(problem);
    lastCode = problem.code;
  }

  return {
    async load() {
      try {
        const cached: unknown = await Promise.race([
          cache().then(async (opened) => {
            // After a reload the server tells once more what it emitted lately, which must not ring again.
            const events = await opened.loadEvents(key).catch(() => []);
            for (const event of events) {
              if ("id" in event) seen.add(event.id);
              // Nor may one that was provisional when the page was left.
              else if (event.type === "notification") told.set(event.notification.id, event.cursor === null);
            }
            return opened.loadInbox(key);
          }),
          loadPause.for(LOAD_MS),
        ]);
        return isCachedInbox(cached) ? cached : null;
      } catch (thrown) {
        failed(thrown);
        return null;
      } finally {
        loadPause.wake();
      }
    },
    changed(events) {
      if (isStopped) return;
      unsaved.push(...events);
      timer ??= setTimeout(() => void save(), SAVE_MS);
    },
    flush() {
      if (timer !== undefined) void save();
    },
    failed,
    stop() {
      isStopped = true;
      clearTimeout(timer);
      loadPause.wake();
    },
  };
}

function isCachedInbox(value: unknown): value is CachedInbox {
  return isListResponse(value) && "hasMore" in value;
}
