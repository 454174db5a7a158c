// The filtered views of a client: equal filters share one, and each outlives the sessions of its user.

import { closed } from "./errors.js";
import { emptyInbox, type Inbox } from "./inbox.js";
import { applyIntents, type Intent } from "./overlay.js";
import type { StoredNotification, ViewFilter, ViewState } from "./types.js";
import { createLiveView, type Followed, type LiveView, type ViewHost } from "./view.js";

/** A view that has no holder any more lives on for a while: a user who goes back to a tab sees it at once. */
const LINGER_MS = 30_000;

/** The part of a session that views follow. */
export interface ViewSession {
  readonly viewHost: ViewHost;
  readonly followed: Followed;
}

/** One holder's access to a view that others may hold as well. */
export interface HeldView {
  loadMore(): Promise<void>;
  refresh(): Promise<void>;
  dismissError(): void;
  release(): void;
}

export interface Views {
  /** `show` receives the state at once and after each change, until the release. */
  open(filter: ViewFilter, show: (state: ViewState) => void): HeldView;
  /** The client has this session now. `isOther`: what is shown belongs to a user who has left. */
  attach(session: ViewSession | null, isOther?: boolean): void;
}

interface Entry {
  readonly filter: ViewFilter;
  readonly holders: Set<(state: ViewState) => void>;
  state: ViewState;
  inbox: Inbox;
  live: LiveView | null;
  /** Identifies the live view that may update the state. */
  owner: object | null;
  linger?: ReturnType<typeof setTimeout>;
}

/** `known` is the state of a view that shows nothing yet. */
export function createViews(known: ViewState): Views {
  const entries = new Map<string, Entry>();
  let session: ViewSession | null = null;

  function start(entry: Entry): void {
    if (!session) return;
    const owner = {};
    entry.owner = owner;
    const live = createLiveView(session.viewHost, entry.filter, entry.inbox, (part) => {
      if (entry.owner === owner) update(entry, part);
    });
    // A holder that saw the first state may have closed the client.
    if (entry.owner !== owner) return live.stop();
    entry.live = live;
    session.followed.followers.add(live);
  }

  function stop(entry: Entry): void {
    const { live } = entry;
    if (live) {
      entry.live = null;
      live.stop();
      entry.inbox = live.inbox();
      session?.followed.followers.delete(live);
    }
    entry.owner = null;
  }

  function unreadChange({ items }: Inbox, intents: readonly Intent[]): number {
    // A change of everything is counted by its bound, wherever the notifications are.
    const single = intents.filter(({ kind }) => kind !== "readAll");
    if (single.length === 0) return 0;
    const wanted = new Set(single.flatMap(({ ids }) => [...ids]));
    for (const { id } of items) wanted.delete(id);
    const others: StoredNotification[] = [];
    for (const { live } of entries.values()) {
      for (const item of live?.inbox().items ?? []) if (wanted.delete(item.id)) others.push(item);
    }
    const all = { ...emptyInbox, items: others, unreadCount: others.length };
    return applyIntents(all, single).unreadCount - others.length;
  }

  function drop(entry: Entry): void {
    clearTimeout(entry.linger);
    stop(entry);
    entries.delete(keyOf(entry.filter));
  }

  function update(entry: Entry, part: Partial<ViewState>): void {
    const { state } = entry;
    if ((Object.keys(part) as (keyof ViewState)[]).every((name) => part[name] === state[name])) return;
    entry.state = { ...state, ...part };
    for (const show of entry.holders) show(entry.state);
  }

  return {
    open(filter, show) {
      const key = keyOf(filter);
      const held: Entry = entries.get(key) ?? {
        filter: { ...filter },
        holders: new Set(),
        state: known,
        inbox: emptyInbox,
        live: null,
        owner: null,
      };
      clearTimeout(held.linger);
      held.holders.add(show);
      if (entries.has(key)) show(held.state);
      else {
        entries.set(key, held);
        start(held);
      }
      return {
        loadMore: () => held.live?.loadMore() ?? Promise.reject(closed()),
        refresh: () => held.live?.refresh() ?? Promise.reject(closed()),
        dismissError: () => held.live?.dismissError(),
        release() {
          if (!held.holders.delete(show) || held.holders.size > 0) return;
          if (held.live) held.linger = setTimeout(drop, LINGER_MS, held);
          else drop(held);
        },
      };
    },
    attach(next, isOther = false) {
      for (const entry of entries.values()) {
        stop(entry);
        if (entry.holders.size === 0) drop(entry);
      }
      session = next;
      if (session) session.followed.unreadChange = unreadChange;
      for (const entry of entries.values()) {
        if (isOther) {
          entry.inbox = emptyInbox;
          update(entry, known);
        }
        start(entry);
      }
    },
  };
}

const keyOf = ({ type, unread = false }: ViewFilter): string => JSON.stringify([type, unread]);
