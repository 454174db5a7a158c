// Groups notifications by the day on which they were created, in the local time zone.

import type { Notification } from "./types.js";

/** One day's notifications, newest first. */
export interface NotificationGroup {
  /** The local day, for example `2026-11-20`. */
  readonly key: string;
  /** The start of the day; `date.toLocaleDateString()` makes a label. */
  readonly date: Date;
  readonly items: readonly Notification[];
}

// Parsing dates costs more than everything else here, and a notification's creation date never changes.
const days = new WeakMap<Notification, Date>();

function dayOf(notification: Notification): Date {
  let day = days.get(notification);
  if (!day) {
    day = new Date(notification.createdAt);
    day.setHours(0, 0, 0, 0);
    days.set(notification, day);
  }
  return day;
}

function keyOf(day: Date): string {
  const twoDigits = (part: number): string => String(part).padStart(2, "0");
  return `${day.getFullYear()}-${twoDigits(day.getMonth() + 1)}-${twoDigits(day.getDate())}`;
}

/**
 * Groups by day, from newest to oldest arrival. None is of an earlier day than one that arrived before it: what comes back
 * from a snooze keeps the date of its creation. An unchanged group is the same object as in `previous`, so it need not
 * render again.
 */
export function groupByDay(
  notifications: readonly Notification[],
  previous: readonly NotificationGroup[] = [],
): readonly NotificationGroup[] {
  const groups: { readonly day: number; readonly items: Notification[] }[] = [];
  for (const notification of [...notifications].reverse()) {
    const day = dayOf(notification).getTime();
    const last = groups.at(-1);
    // A date that cannot be parsed is compared as false, and belongs where it stands.
    if (last && !(day > last.day)) last.items.push(notification);
    else groups.push({ day, items: [notification] });
  }
  const previousByDay = new Map(previous.map((group) => [group.date.getTime(), group]));
  return groups.reverse().map(({ day, items }) => {
    items.reverse();
    const same = previousByDay.get(day);
    if (same?.items.length === items.length && items.every((item, n) => item === same.items[n])) return same;
    const date = new Date(day);
    return { key: keyOf(date), date, items };
  });
}
