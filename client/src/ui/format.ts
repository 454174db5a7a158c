// How dates and long texts are written.

/** Longer texts are cut. A row shows a few lines, and no browser lays out 100,000 characters in time. */
const MAX_TEXT = 600;
/** The longest title within the name of a button. */
const MAX_NAME = 80;

function cut(text: unknown, max: number): string {
  const whole = typeof text === "string" ? text : text === null || text === undefined ? "" : String(text);
  // A cut never parts a surrogate pair.
  return whole.length <= max ? whole : `${whole.slice(0, max).replace(/[\uD800-\uDBFF]$/, "")}…`;
}

export const shown = (text: unknown): string => cut(text, MAX_TEXT);
export const named = (text: unknown): string => cut(text, MAX_NAME);

/** Formats for one locale. */
export interface Formats {
  time(at: Date): string;
  full(at: Date): string;
  weekday(at: Date): string;
  /** The name of a day, relative to `now`. */
  day(date: Date, now: Date): string;
}

const byLocale = new Map<string, Formats>();

/** The browser's own variant of a language, if it has one. */
export function localeOf(language: string): string {
  const own = typeof navigator === "undefined" ? undefined : navigator.language;
  return own?.split("-")[0] === language ? own : language;
}

export function formatsOf(language: string): Formats {
  let formats = byLocale.get(language);
  if (!formats) {
    const locale = localeOf(language);
    const format = (options: Intl.DateTimeFormatOptions): ((at: Date) => string) => {
      const { format } = new Intl.DateTimeFormat(locale, options);
      // A date that cannot be parsed is left out.
      return (at) => (Number.isNaN(at.getTime()) ? "" : format(at));
    };
    const weekday = format({ weekday: "long", day: "numeric", month: "long" });
    const year = format({ day: "numeric", month: "long", year: "numeric" });
    const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
    formats = {
      time: format({ timeStyle: "short" }),
      full: format({ dateStyle: "full", timeStyle: "medium" }),
      weekday: format({ weekday: "long" }),
      day(date, now) {
        const midnight = new Date(now).setHours(0, 0, 0, 0);
        // Rounded, because a day with a clock change has 23 or 25 hours.
        const days = Math.round((date.getTime() - midnight) / 86_400_000);
        if (days !== 0 && days !== -1) return (date.getFullYear() === now.getFullYear() ? weekday : year)(date);
        const name = relative.format(days, "day");
        return name.charAt(0).toLocaleUpperCase(locale) + name.slice(1);
      },
    };
    byLocale.set(language, formats);
  }
  return formats;
}
