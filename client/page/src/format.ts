// Labels and formats: how the page writes states, types, dates, counts and durations.

import type { Priority, Status, Transport } from "@carillon/client";

export const STATUS: Record<Status, { name: string; tone: Tone; description: string }> = {
  connecting: { name: "Connecting", tone: "wait", description: "Asking the server for a connection." },
  connected: { name: "Connected", tone: "good", description: "New notifications arrive here at once." },
  reconnecting: { name: "Reconnecting", tone: "wait", description: "Connection lost. Retrying automatically." },
  offline: { name: "Offline", tone: "bad", description: "Nothing responds. Showing cached data." },
  closed: { name: "Closed", tone: "idle", description: "Nothing is received until the page connects again." },
};

/** The meaning of a colour. It always accompanies text. */
export type Tone = "good" | "wait" | "bad" | "idle";

export const TRANSPORT: Record<Transport, string> = {
  websocket: "WebSocket",
  sse: "SSE",
  polling: "Polling",
};

export const PRIORITIES: readonly Priority[] = ["low", "normal", "high", "critical"];

/** Makes a type readable: `REPORT_APPROVED` becomes `Report approved`. */
export function typeName(type: string): string {
  const words = type.replace(/[_.:-]+/g, " ").trim();
  if (words === "") return type;
  const lower = words === words.toUpperCase() ? words.toLowerCase() : words;
  return lower.charAt(0).toUpperCase() + lower.slice(1);
}

// As the inbox writes times: the language says whether an hour has two digits.
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const clockWithSeconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const shortDay = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

export const atSecond = (time: Date): string => clockWithSeconds.format(time);
export const inFull = (time: Date): string => whole.format(time);
export const inShort = (time: Date): string => `${shortDay.format(time)}, ${clock.format(time)}`;

/** The name of a day relative to `now`. */
export function dayName(date: Date, now: Date = new Date()): string {
  const midnight = (time: Date): number => new Date(time).setHours(0, 0, 0, 0);
  // Rounded, because a day with a clock change has 23 or 25 hours.
  const daysAgo = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (daysAgo === 0) return "Today";
  if (daysAgo === 1) return "Yesterday";
  return (date.getFullYear() === now.getFullYear() ? day : dayOfYear).format(date);
}

const exact = new Intl.NumberFormat();
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });

/** Formats a count. From 100,000 it is abbreviated, so that it fits into its tile. */
export function count(value: number): string {
  return Math.abs(value) < 100_000 ? exact.format(value) : compact.format(value);
}

/** Formats a duration in the unit that makes it shortest. */
export function duration(ms: number): string {
  if (ms < 10) return `${Math.round(ms * 10) / 10} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.floor((ms % 3_600_000) / 60_000)} min`;
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`;
  if (value < 1024 ** 2) return `${(value / 1024).toFixed(1)} KB`;
  if (value < 1024 ** 3) return `${(value / 1024 ** 2).toFixed(1)} MB`;
  return `${(value / 1024 ** 3).toFixed(1)} GB`;
}
