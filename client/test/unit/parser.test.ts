// The format of event streams, as a proxy may cut and rewrite it.

import { expect, test } from "vitest";
import { createParser } from "../../src/parser.js";

/** The events of a text in chunks of so many bytes. */
function eventsOf(text: string, size: number): string[] {
  const bytes = new TextEncoder().encode(text);
  const parse = createParser();
  const events: string[] = [];
  for (let at = 0; at < bytes.length; at += size) events.push(...parse(bytes.subarray(at, at + size)));
  return events;
}

const sizes = [1, 2, 3, 5, 1_000];
const text = [
  "\u{feff}: a comment",
  "",
  "id: e1.7",
  'data: {"title":"Grüße 🔔"}',
  "",
  "event: named",
  "data:first",
  "data:  second",
  "data",
  "retry: 10",
  "database: no field of ours",
  "",
  "id: without data",
  "",
  "data:",
  "",
  "data: a\u2028b",
  "",
  "data: has not ended",
].join("\n");
const expected = ['{"title":"Grüße 🔔"}', "first\n second\n", "", "a\u2028b"];

test.each(sizes.flatMap((size) => ["\n", "\r", "\r\n"].map((end) => [JSON.stringify(end), size, end] as const)))(
  "lines that end with %s in chunks of %i bytes",
  (_, size, end) => {
    expect(eventsOf(text.replaceAll("\n", end), size)).toEqual(expected);
  },
);

test("an event is there as soon as its last line has ended, also with a CR", () => {
  const parse = createParser();
  const bytes = (part: string): Uint8Array => new TextEncoder().encode(part);
  expect(parse(bytes("data: one\r\r"))).toEqual(["one"]);
  expect(parse(bytes("\ndata: two\r\n\r"))).toEqual(["two"]);
  expect(parse(bytes("\n"))).toEqual([]);
  expect(parse(bytes("\n"))).toEqual([]);
});
