// The inbox of one session, kept up to date: what frames, syncs and time change, each event once, and a copy of it all on
// the device.

import { type CatchUp, type CatchUpHost, createCatchUp } from "./catchup.js";
import { createExpiry } from "./expiry.js";
import { allOf, type Inbox, type InboxChange, reduce } from "./inbox.js";
import { createPersistence, type PersistenceHost } from "./persistence.js";
import type { CachedInbox, CarillonEvent, EventCache } from "./types.js";

const MAX_SEEN = 500;

export interface LiveInboxHost
  extends Omit<CatchUpHost, "inbox" | "change" | "emit">,
    Pick<PersistenceHost, "key" | "report"> {
  /** What the user's session before knew. */
  readonly known: Inbox;
  readonly cache: (() => Promise<EventCache>) | null;
  /** Ids of emitted events that listeners have received. */
  readonly seen: Set<string>;
  /** The server's time. */
  now(): number;
  isLeader(): boolean;
  /** The inbox changed, and was `before` until then. Returns whether the session still goes on. */
  changed(change: InboxChange, before: Inbox): boolean;
  /** Sees each event before the listeners do. */
  observe(event: CarillonEvent): void;
  /** Calls the listeners that want it in every tab, or those that want it in one. */
  emit(event: CarillonEvent, inEveryTab: boolean): void;
}

export interface LiveInbox {
  readonly catchUp: CatchUp;
  inbox(): Inbox;
  /** What the device has kept. */
  load(): Promise<CachedInbox | null>;
  change(change: InboxChange): void;
  /** Whether the inbox has a notification, or an event has told of it lately. */
  knows(id: string): boolean;
  emit(events: readonly CarillonEvent[]): void;
  /** It is known now whether this tab leads. */
  leads(isLeader: boolean): void;
  /** Saves what has changed at once. */
  flush(): void;
  storageFailed(thrown: unknown): void;
  stop(): void;
}

export function createLiveInbox(host: LiveInboxHost): LiveInbox {
  const { cache, seen, now } = host;
  let inbox = host.known;
  /** Events for one tab wait here until it is known whether this tab leads. */
  let unclaimed: CarillonEvent[] | null = [];
  /** Notifications of which an event has told lately: whether each is still to be written. */
  const told = new Map(inbox.provisional.map(({ id }) => [id, true]));

  function change(inboxChange: InboxChange): void {
    const before = inbox;
    inbox = reduce(inbox, inboxChange);
    if (inboxChange.type === "sync") for (const id of inboxChange.response.deleted) tells(id, false);
    if (inbox === before || !host.changed(inboxChange, before)) return;
    persistence?.changed([]);
    // An event brings at most one item, so it would be wasteful to go through all of them.
    if (!("event" in inboxChange)) expiry.watch(allOf(inbox), true);
    else if (inboxChange.event.type === "notification") expiry.watch([inboxChange.event.notification], false);
  }

  /** Notes that an event tells of a notification. Returns whether one has told of it as provisional, and none since. */
  function tells(id: string, isProvisional: boolean): boolean {
    const wasProvisional = told.get(id) ?? false;
    told.set(id, isProvisional);
    bound(told);
    return wasProvisional;
  }

  function emit(events: readonly CarillonEvent[]): void {
    for (const event of events) {
      // An emitted event has no cursor, so a second copy can be recognised only by its id.
      if ("id" in event) {
        if (seen.has(event.id)) continue;
        seen.add(event.id);
        bound(seen);
      }
      persistence?.changed([event]);
      // What changes has been written, so a provisional copy that is late tells nothing.
      if (event.type === "changed") for (const id of event.ids) tells(id, false);
      // What was written takes the place of the provisional one, and does not ring again.
      if (event.type === "notification" && tells(event.notification.id, event.cursor === null)) continue;
      host.observe(event);
      host.emit(event, true);
      if (host.isLeader()) host.emit(event, false);
      else unclaimed?.push(event);
    }
  }

  const persistence = cache && createPersistence({ ...host, cache, told, inbox: () => inbox, isSaver: host.isLeader });

  const expiry = createExpiry(now, () => {
    change({ type: "expire", nowMs: now() });
    // Needed even if nothing has expired yet, because a timer may be unable to wait long enough.
    expiry.watch(allOf(inbox), true);
  });

  const catchUp = createCatchUp({ ...host, inbox: () => inbox, change, emit });

  return {
    catchUp,
    inbox: () => inbox,
    load: async () => persistence?.load() ?? null,
    change,
    knows: (id) => told.has(id) || inbox.items.some((item) => item.id === id),
    emit,
    leads(isLeader) {
      const events = unclaimed ?? [];
      unclaimed = null;
      // The leader emits every event for one tab, also those that came before it led.
      if (isLeader) for (const event of events) host.emit(event, false);
    },
    flush: () => persistence?.flush(),
    storageFailed: (thrown) => persistence?.failed(thrown),
    stop() {
      persistence?.stop();
      expiry.stop();
      catchUp.stop();
    },
  };
}

/** Forgets the oldest. */
function bound(known: Set<string> | Map<string, boolean>): void {
  if (known.size > MAX_SEEN) for (const first of known.keys()) if (known.delete(first)) break;
}
