// Notifications by the day they were made, in the time zone of whoever looks.

import type { Notification } from "./types.js";

/** One day's notifications, newest first. */
export interface NotificationGroup {
  /** The local day, as `2026-11-20`. */
  readonly key: string;
  /** Its beginning; `date.toLocaleDateString()` makes a label. */
  readonly date: Date;
  readonly items: readonly Notification[];
}

// Reading a date costs more than all the rest, and a notification never changes its own.
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
  const two = (part: number): string => String(part).padStart(2, "0");
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`;
}

/** Groups by day; a group in which nothing changed is the very one of `previous`, so it need not render again. */
export function groupByDay(
  notifications: readonly Notification[],
  previous: readonly NotificationGroup[] = [],
): readonly NotificationGroup[] {
  const groups = new Map<number, Notification[]>();
  for (const notification of notifications) {
    const day = dayOf(notification).getTime();
    const items = groups.get(day);
    if (items) items.push(notification);
    else groups.set(day, [notification]);
  }
  const before = new Map(previous.map((group) => [group.date.getTime(), group]));
  return [...groups].map(([day, items]) => {
    const same = before.get(day);
    if (same?.items.length === items.length && items.every((item, n) => item === same.items[n])) return same;
    const date = new Date(day);
    return { key: keyOf(date), date, items };
  });
}
