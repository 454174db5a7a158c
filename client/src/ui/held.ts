// Keeps the rows in place while they are in use: what arrives waits, and what disappears under the pointer leaves a gap.

import type { Notification } from "../types.js";

/** Who uses the list. */
export interface Hold {
  /** The pointer is over it: no row may move. */
  readonly pointer: boolean;
  /** It is focused or scrolled: what arrives waits. */
  readonly reading: boolean;
}

/** The rows to show. */
export interface Held {
  readonly rows: readonly Notification[];
  /** Ids of rows that stand only for the gap that a notification left. */
  readonly gone: ReadonlySet<string>;
  /** The number of notifications that wait. */
  readonly waiting: number;
}

const none: ReadonlySet<string> = new Set();

/**
 * The rows after a change. `items` belong into the list, `all` are known at all, and `previous` are the rows shown.
 * What lies below the last row is appended, because it moves nothing.
 */
export function hold(
  previous: readonly Notification[],
  items: readonly Notification[],
  all: readonly Notification[],
  { pointer, reading }: Hold,
): Held {
  if (!(pointer || reading) || previous.length === 0) return { rows: items, gone: none, waiting: 0 };
  const wanted = new Map(items.map((item) => [item.id, item]));
  const known = pointer ? new Map(all.map((item) => [item.id, item])) : wanted;
  const rows: Notification[] = [];
  const gone = new Set<string>();
  for (const row of previous) {
    // Under the pointer a row that was read stays in the tab of unread ones.
    const present = wanted.get(row.id) ?? known.get(row.id);
    if (present) rows.push(present);
    else if (pointer) {
      rows.push(row);
      gone.add(row.id);
    }
  }
  if (rows.length === 0) return { rows: items, gone: none, waiting: 0 };
  const shown = new Set(rows.map(({ id }) => id));
  let waiting = 0;
  let below: Notification[] = [];
  for (const item of items) {
    if (!shown.has(item.id)) below.push(item);
    else {
      waiting += below.length;
      below = [];
    }
  }
  // Without any of its rows, the list cannot tell above from below.
  return { rows: [...rows, ...below], gone, waiting };
}
