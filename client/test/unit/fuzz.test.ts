// Whatever arrives on the socket, the client neither fails nor shows what it cannot have.
//
// The target `client_frames` of `make fuzz`. `FUZZ_SECONDS` is how long it runs, and `SEED`, which a failure names,
// repeats the frames of an earlier run. What failed once is in `tests/fuzz/found/client_frames/`, and is tried first.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { readFrame } from "../../src/frames.js";
import { advance, connected, type Device, deviceOf } from "../harness/device.js";
import { numbers } from "../harness/numbers.js";
import { FakeServer } from "../harness/server.js";

const DEFAULT_MS = 2_000;
const ms = process.env["FUZZ_SECONDS"] ? Number(process.env["FUZZ_SECONDS"]) * 1_000 : DEFAULT_MS;
const seed = Number(process.env["SEED"] || (process.env["FUZZ_SECONDS"] ? process.pid : 1));
/** The time of the machine, which no test turns. */
const now = performance.now.bind(performance);
const frames = new URL("../../../tests/frames/", import.meta.url);
const found = new URL("../../../tests/fuzz/found/client_frames/", import.meta.url);

const WORDS = [
  ...["null", "true", "{}", "[]", '""', "0", "-1", "1e309", "9007199254740993", "0.5", "\\ud800", "\\u0000", "\u2028"],
  ...["{", "}", "[", "]", '"', ":", ",", ".", "__proto__", "constructor", "toString", "type", "cursor", "prev", "ids"],
  ...["notification", "changed", "resync", "sync", "pong", "error", "ok", "fetch", "read", "deleted", "e1.1", "e1.2"],
  ...["e1.99999999999999999999", "00000000000000aa.7", "token_expired", "invalid_ticket", "rate_limited"],
];

function filesOf(folder: URL): string[] {
  const names = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  return names.map(({ name }) => readFileSync(new URL(name, folder), "utf8"));
}

function knownFailures(): string[] {
  try {
    return filesOf(found);
  } catch {
    return [];
  }
}

function mutated(texts: readonly string[], below: (count: number) => number): string {
  let text = texts[below(texts.length)] ?? "";
  for (let changes = 1 + below(6); changes > 0; changes--) {
    const start = below(text.length + 1);
    const end = Math.min(text.length, start + below(1 << below(8)));
    const kind = below(5);
    const other = texts[below(texts.length)] ?? "";
    const from = below(other.length + 1);
    const inserted =
      kind === 0
        ? ""
        : kind === 1
          ? text.slice(start, end).repeat(2)
          : kind === 2
            ? other.slice(from, from + below(200))
            : kind === 3
              ? String.fromCharCode(below(0x10000))
              : (WORDS[below(WORDS.length)] ?? "");
    text = text.slice(0, start) + inserted + text.slice(end);
  }
  return text;
}

let server: FakeServer;
let device: Device;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
});

afterEach(() => {
  device.client.close();
  vi.useRealTimers();
});

async function anew(): Promise<void> {
  device?.client.close();
  server = new FakeServer();
  device = await connected(deviceOf(server));
  server.send({ title: "first" });
  server.send({ title: "second" });
  await advance(3_000);
}

/** A frame that is read is read again from what it says, and breaks nothing. */
async function attempt(text: string): Promise<void> {
  const frame = readFrame(text);
  if (frame !== null && frame.type !== "other") {
    const said = JSON.stringify(frame);
    expect(JSON.stringify(readFrame(said))).toBe(said);
  }
  const socket = server.sockets.at(-1);
  socket?.receive(text);
  await advance(300);
  const { notifications, unreadCount } = device.state();
  expect(new Set(notifications.map(({ id }) => id)).size).toBe(notifications.length);
  expect(Number.isSafeInteger(unreadCount)).toBe(true);
}

test("random frames break nothing", { timeout: ms + 60_000 }, async () => {
  await anew();
  const { frame } = server.sendFast({ title: "provisional", frame: "held" });
  const examples = [...filesOf(frames), JSON.stringify(frame)];
  const below = numbers(seed);
  const end = now() + ms;
  const tried = [...knownFailures(), ...examples];
  for (let count = 0; tried.length > 0 || now() < end; count++) {
    const text = tried.shift() ?? mutated(examples, below);
    // A frame may end the connection or move the inbox to another cursor; others are to meet a fresh one.
    if (count % 20 === 0) await anew();
    try {
      await attempt(text);
    } catch (error) {
      mkdirSync(found, { recursive: true });
      const file = new URL(`${seed}-${count}`, found);
      writeFileSync(file, text);
      throw new Error(`frame ${count} of seed ${seed} fails, and is kept in ${file.pathname}`, { cause: error });
    }
  }
  // After all of that the client still catches up with the server.
  await anew();
  server.send({ title: "last" });
  await advance(1_000);
  expect(device.titles()).toEqual(["last", "second", "first"]);
});
