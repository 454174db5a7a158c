// A browser of a test: a server, the tabs that are open, and the storage that they share. `beforeEach(begin)`.

import { vi } from "vitest";
import { FakeBrowser } from "./browser.js";
import { advance, connected, type Device, deviceOf, settle } from "./device.js";
import { FakeServer } from "./server.js";

export let server: FakeServer;
export let browser: FakeBrowser;
export const tabs: Device[] = [];

export type Options = Parameters<typeof deviceOf>[1];

export function begin(): void {
  // Only these are faked, because fake-indexeddb needs the other timers.
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z"), toFake: ["setTimeout", "clearTimeout", "Date"] });
  server = new FakeServer();
  browser = new FakeBrowser();
}

export function end(): void {
  for (const tab of tabs.splice(0)) tab.client.close();
  vi.useRealTimers();
}

export async function opens(options: Options = {}): Promise<Device> {
  const tab = deviceOf(server, { ...options, environment: { ...browser.tab(), ...options?.environment } });
  tabs.push(tab);
  await connected(tab);
  await stored();
  return tab;
}

/** Waits until pending storage operations are complete, which takes real time. */
export async function stored(): Promise<void> {
  await vi.dynamicImportSettled();
  for (let n = 0; n < 30; n++) {
    await new Promise((resolve) => setImmediate(resolve));
    await settle();
  }
}

/** Lets time pass, for storage too. */
export async function passes(ms: number): Promise<void> {
  await advance(ms);
  await stored();
}

/** The browser is killed: nothing of it runs on, and only the device remembers. */
export function crash(): void {
  for (const tab of tabs.splice(0)) {
    const { fault } = server;
    // What a closing client would still do must not reach the server.
    server.fault = () => new Promise(() => {});
    tab.client.close();
    server.fault = fault;
  }
  for (const channel of [...browser.channels]) channel.close();
}

/** The server dies. What was sent to it has no answer. */
export function goesDown(): void {
  server.fault = () => {
    throw new TypeError("fetch failed");
  };
  server.areSocketsRefused = true;
  for (const socket of server.openSockets) socket.end();
}

export function comesBack(): void {
  server.fault = () => undefined;
  server.areSocketsRefused = false;
}

/** When the server had a notification marked as read. */
export const readAt = (id: string): string | null | undefined => server.rows.get(id)?.notification.readAt;
