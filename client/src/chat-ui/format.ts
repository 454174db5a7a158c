// How the times of chats are written.

import { formatsOf, localeOf } from "../ui/format.js";

const byLanguage = new Map<string, (at: Date, withYear: boolean) => string>();

function shortDate(language: string, at: Date, withYear: boolean): string {
  let write = byLanguage.get(language);
  if (!write) {
    const locale = localeOf(language);
    const day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
    const year = new Intl.DateTimeFormat(locale, { dateStyle: "short" });
    write = (date, isOld) => (isOld ? year : day).format(date);
    byLanguage.set(language, write);
  }
  return write(at, withYear);
}

const isSameDay = (one: Date, other: Date): boolean => one.toDateString() === other.toDateString();

/** A time of today, or an earlier day. */
export function whenShort(language: string, time: string, now: Date): string {
  const at = new Date(time);
  // A date that cannot be parsed is left out.
  if (Number.isNaN(at.getTime())) return "";
  if (isSameDay(at, now)) return formatsOf(language).time(at);
  return shortDate(language, at, at.getFullYear() !== now.getFullYear());
}

/** The same, and an earlier day with its time. */
export function whenSeen(language: string, time: string, now: Date): string {
  const at = new Date(time);
  const short = whenShort(language, time, now);
  return short === "" || isSameDay(at, now) ? short : `${short}, ${formatsOf(language).time(at)}`;
}
