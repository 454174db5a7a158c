// Alice and Bob in a chat: a server that has one, and the devices of a test that show it. `beforeEach(begin)`.

import { vi } from "vitest";
import { FakeBrowser } from "./browser.js";
import { FakeServer } from "./server.js";
import { type Talker, talkerOf } from "./talker.js";

export let server: FakeServer;
export let browser: FakeBrowser;
/** The chat between alice and bob. */
export let id: string;
const talkers: Talker[] = [];

type Options = Parameters<typeof talkerOf>[1];

export function begin(): void {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z"), toFake: ["setTimeout", "clearTimeout", "Date"] });
  server = new FakeServer();
  browser = new FakeBrowser();
  id = server.chats.between("alice", "bob");
}

export function end(): void {
  for (const { client } of talkers.splice(0)) client.close();
  vi.useRealTimers();
}

export async function opens(options: Options = {}): Promise<Talker> {
  const talker = await talkerOf(server, options);
  talkers.push(talker);
  return talker;
}

/** A tab of a browser that keeps things. */
export const opensTab = (options: Options = {}): Promise<Talker> =>
  opens({ ...options, environment: { ...browser.tab(), indexedDB: null, ...options?.environment } });

/** Says many things at once, as bob. */
export function bobSays(...bodies: string[]): void {
  for (const body of bodies) server.chats.say(id, "bob", body);
}

export const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `${index + 1}`);

/** How many calls have sent a message. */
export const posts = (): number =>
  server.calls.filter(({ method, path }) => method === "POST" && /messages$/.test(path)).length;
