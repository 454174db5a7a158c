// The order in which changes may be sent: rules over a queue of parts, without timers or network.

import { concerns, EVERYTHING, type Intent } from "./overlay.js";
import type { Notification } from "./types.js";

/** One notification of a change, or `EVERYTHING` of a `readAll`: the unit that is sent, retried and settled. */
export interface Part {
  readonly intent: Intent;
  readonly id: string;
  failures: number;
  /** Not before this time. */
  dueMs: number;
  isOnItsWay: boolean;
  /** A frame that contained it was refused, perhaps because of another part. */
  isAlone: boolean;
}

/** The parts of an intent that have no answer. */
export function partsOf(intent: Intent): Part[] {
  return [...intent.open].map((id) => ({ intent, id, failures: 0, dueMs: 0, isOnItsWay: false, isAlone: false }));
}

/**
 * What may be sent now; what has failed comes last. A part waits while another of the same notification is on its way.
 * A `readAll` and an `unread` keep their order too; every other pair has the same outcome either way.
 */
export function sendable(parts: readonly Part[], nowMs: number): Part[] {
  const onTheirWay = parts.filter(({ isOnItsWay }) => isOnItsWay);
  const busy = new Set(onTheirWay.map(({ id }) => id));
  const isUnreading = onTheirWay.some(({ intent }) => intent.kind === "unread");
  let isBehindReadAll = false;
  const ready = parts.filter(({ intent: { kind }, id, dueMs, isOnItsWay }) => {
    const isBlocked = busy.has(id) || (kind === "readAll" && isUnreading) || (kind === "unread" && isBehindReadAll);
    if (id === EVERYTHING) isBehindReadAll = true;
    return !isOnItsWay && dueMs <= nowMs && !isBlocked;
  });
  return ready.sort((one, other) => one.failures - other.failures);
}

/**
 * What a later change makes needless: only the last change of a notification counts, unless an earlier one is on its
 * way already. This is also why nothing waits behind a change that fails. A snooze counts until its end: one that was
 * done without an answer would ring a second time.
 */
export function superseded(
  parts: readonly Part[],
  nowMs: number,
  find: (id: string) => Notification | undefined,
): Part[] {
  const later = new Set<string>();
  const readAlls: Intent[] = [];
  const needless: Part[] = [];
  for (let n = parts.length - 1; n >= 0; n--) {
    const part = parts[n] as Part;
    const { intent, id, isOnItsWay } = part;
    const item = intent.kind === "unread" && readAlls.length > 0 ? find(id) : undefined;
    const isCovered = later.has(id) || (item !== undefined && readAlls.some((all) => concerns(all, item)));
    const isOver = Date.parse(intent.until ?? "") <= nowMs;
    if ((isCovered || isOver) && !isOnItsWay) needless.push(part);
    if (id === EVERYTHING) readAlls.push(intent);
    else later.add(id);
  }
  return needless;
}
