// Bodies that put the schemas of requests to the test: the documented examples, each varied in one member.

import { type Json, type Operation, resolvedSchema, type Schema } from "./descriptions.js";

/** The documented examples of an operation's body. */
export function bodiesOf({ body }: Operation): Json[] {
  const media = body?.content["application/json"];
  if (!media) return [];
  const named = Object.values(media.examples ?? {}).map(({ value }) => value);
  const schema = resolvedSchema(media.schema);
  const ofSchema = (schema["examples"] as Json[] | undefined) ?? [];
  const all = [...(media.example === undefined ? [] : [media.example]), ...named, ...ofSchema];
  return all.length > 0 ? all : [{}];
}

/** The names of the members that a schema defines. */
function membersOf(schema: Schema): string[] {
  const { properties = {}, allOf = [] } = resolvedSchema(schema) as { properties?: Schema; allOf?: Schema[] };
  return [...Object.keys(properties), ...allOf.flatMap(membersOf)];
}

// Controls, blanks, what shows nothing, what changes the direction, and what is more than one unit of UTF-16.
const CHARACTERS = [
  ..."\u0000\u0007\t\n\r\u001f \u007f\u0085\u00a0\u00ad\u034f\u200b\u2028\u2029\u202e\u2066\u2800\u3000\u3164\ufeff\ufff0",
  ..."\u{1bca0}\u{1d173}\u{e0041}\u{e0100}🔔é用",
];

/** Texts that some schemas have and others do not. */
export const TEXTS: readonly Json[] = [
  ...["", "a", "x y", "ä", "null", "HIGH", "__proto__", "direct", "group", "durable", "fast"],
  ...["low", "normal", "high", "critical", "realtime", "push", "system", "dashboard", "announcement"],
  ...CHARACTERS.flatMap((text) => [text, `a${text}b`]),
  ...[64, 65, 200, 201, 255, 256, 257, 300, 301, 2_048, 2_049, 4_000, 4_001].map((length) => "x".repeat(length)),
  ...["🔔".repeat(64), "🔔".repeat(65), "🔔".repeat(200), "🔔".repeat(201)],
  ...[
    "/",
    "/x",
    "//x",
    "/a b",
    "/a\\b",
    "https://x",
    "https:///x",
    "http://x",
    "javascript:1",
    "https://",
    "HTTPS://x",
  ],
  ...[
    "9c1f6e0b7a3d5e24.43",
    "9c1f6e0b7a3d5e24.043",
    "9C1F6E0B7A3D5E24.43",
    "9c1f6e0b7a3d5e24.9223372036854775807",
    "1.1",
  ],
  ...["8214134b-5784-8ca4-baf3-8de40ae24211", "2026-12-24T16:00:00Z", "2026-12-24T16:00:00.123456+02:00"],
  ...["2026-12-24T16:00:00", "2026-12-24", "2026-13-24T16:00:00Z", "2026-12-24t16:00:00z", "2026-12-24 16:00:00Z"],
  ...["2026-12-31T23:59:60Z", "2026-12-24T24:00:00Z", "2026-12-24T16:00:00+0200", "0000-01-01T00:00:00Z"],
];
/** Other values of this kind. */
export const VALUES: readonly Json[] = [
  ...[null, true, false, 0, 1, 7, -1, 1.5, 5e3, 59_999, 60_000, 86_400_000, 86_400_001, 31_536_000_000, 31_536_000_001],
  ...[9_007_199_254_740_991, 9_007_199_254_740_992, 1e300],
  ...[
    [],
    [[]],
    {},
    { a: 1 },
    { windowMs: 60_000 },
    { windowMs: 59_999 },
    { windowMs: 60_000, x: 1 },
    { a: { b: ["\u0007"] } },
  ],
  ...["title", "body", "actionUrl"].flatMap((name) => [
    { [name]: "a" },
    { [name]: "" },
    { [name]: 7 },
    { [name]: "//x" },
  ]),
  ...[{ "\u0007": 1 }, { "": 1, "a.b": { $where: "1" } }],
  ...[
    { like: {} },
    { "*": { push: false, realtime: true } },
    { "a b": {} },
    { like: { push: 1 } },
    { like: { x: true } },
  ],
  ...[
    { "8214134b-5784-8ca4-baf3-8de40ae24211": null },
    { "8214134b-5784-8ca4-baf3-8de40ae24211": "2027-01-01T00:00:00Z" },
  ],
  ...[{ "8214134b-5784-8ca4-baf3-8de40ae24211": 7 }, { p256dh: "x", auth: "y" }],
  ...["22:00", "24:00", "9:00", "07:60"].map((from) => ({ from, to: "08:00", timeZone: "UTC" })),
  ...[[1], [1, 7], [], [0], [8], [1, 1], [1, 2, 3, 4, 5, 6, 7, 1], [1.5], ["1"]].map((days) => ({
    from: "22:00",
    to: "08:00",
    timeZone: "Europe/Berlin",
    days,
  })),
  ...[
    { from: "22:00", to: "08:00" },
    { from: "22:00", to: "08:00", timeZone: "UTC", x: 1 },
  ],
  ...["realtime", "push"].flatMap((one) => [[one], [one, "push"], [one, "sms"], [one, "push", "realtime"]]),
];

/** Operations whose members are read like those of `send`, but for which of them are required. */
const LIKE_SEND = ["sendPush", "trySend", "trySendAs"];

/** Bodies that vary the documented examples. */
export function* variants(operation: Operation): Iterable<Json> {
  const schema = operation.body?.content["application/json"]?.schema;
  if (!schema) return;
  for (const [n, example] of bodiesOf(operation).entries()) {
    const members = example as { [name: string]: Json };
    yield example;
    yield { ...members, unexpected: 1 };
    for (const name of Object.keys(members))
      yield Object.fromEntries(Object.entries(members).filter(([other]) => other !== name));
    for (const name of new Set(membersOf(schema))) {
      // All values once; beside further examples one, which shows what excludes what.
      for (const value of n === 0 && !LIKE_SEND.includes(operation.id) ? [...TEXTS, ...VALUES] : ["a", "/x"]) {
        yield { ...members, [name]: value };
        if (name.endsWith("s") && typeof value === "string") yield { ...members, [name]: ["a", value] };
      }
    }
  }
}

/** Requirements that JSON Schema cannot express, and what a deployment decides, by what the gateway says about them. */
const INEXPRESSIBLE: readonly RegExp[] = [
  /must be 1 to 256 bytes/,
  /must be in Unicode normalisation form C/,
  /must be an uncompressed point of P-256/,
  /must lead to a public host/,
  /must be at most a year ahead/,
  /must be later than the time at which the send is due/,
  /must be at most 90 days after/,
  /must be earlier than the notification expires/,
  /must be the name of an IANA time zone/,
  /must be another time than from/,
  /must name (one other user|1 to 999 other users)/,
  /must be a path that begins with a single \/ or an https URL, of at most 2048 bytes/,
];

/** Whether a refusal has a reason that the document only describes. */
export const isInexpressible = (refusal: string): boolean => INEXPRESSIBLE.some((reason) => reason.test(refusal));
