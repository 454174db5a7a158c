import { expect, test, vi } from "vitest";
import { formatsOf } from "../../../src/ui/format.js";

interface PageFormats {
  atSecond(time: Date): string;
  inShort(time: Date): string;
}

/** The formats of the test page, in a browser of that language. */
async function pageIn(language: string): Promise<PageFormats> {
  class DateTimeFormat extends Intl.DateTimeFormat {
    constructor(locale?: string, options?: Intl.DateTimeFormatOptions) {
      super(locale ?? language, options);
    }
  }
  vi.stubGlobal("Intl", Object.create(Intl, { DateTimeFormat: { value: DateTimeFormat } }));
  vi.resetModules();
  // A path that the compiler does not follow: the page has a configuration of its own.
  const path = "../../../page/src/format.ts";
  return await import(path);
}

test.each([
  ["en-GB", "00:25", "09:05"],
  ["en-US", "12:25 AM", "9:05 AM"],
  ["de", "00:25", "09:05"],
  ["es", "0:25", "9:05"],
])("in %s the inbox and the page around it write an hour with the same digits", async (language, night, morning) => {
  const page = await pageIn(language);
  for (const [time, at] of [
    [night, new Date(2026, 1, 3, 0, 25)],
    [morning, new Date(2026, 1, 3, 9, 5)],
  ] as const) {
    // A narrow space stands before AM.
    const [inbox, short, second] = [formatsOf(language).time(at), page.inShort(at), page.atSecond(at)].map((text) =>
      text.replace(/\s/g, " "),
    );
    expect(inbox).toBe(time);
    expect(short?.split(", ")[1]).toBe(time);
    expect(second).toBe(time.replace(/(?<=:\d\d)/, ":00"));
  }
});
