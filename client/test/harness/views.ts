// A device with views of a large inbox. `beforeEach(begin)`.

import { vi } from "vitest";
import type { View, ViewFilter, ViewState } from "../../src/index.js";
import { connected, type Device, deviceOf, settle } from "./device.js";
import { FakeServer } from "./server.js";

export let server: FakeServer;
/** Those of a test, which are closed at its end. */
export const devices: Device[] = [];

export function begin(): void {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
  server = new FakeServer();
}

export function end(): void {
  for (const { client } of devices.splice(0)) client.close();
  vi.useRealTimers();
}

/** A device whose first page holds only some of a large inbox, so that views need pages of their own. */
export async function opens(options: Parameters<typeof deviceOf>[1] = {}): Promise<Device> {
  const device = deviceOf(server, { pageSize: 5, ...options });
  devices.push(device);
  return connected(device);
}

/** 30 notifications of which every third is of type `news`, and every second is read. */
export function fill(): void {
  for (let n = 0; n < 30; n++) {
    const { id } = server.send({ title: `t${n}`, type: n % 3 === 0 ? "news" : "like", frame: "lost" });
    if (n % 2 === 0) server.change("read", [id], false);
  }
}

export async function opened(device: Device, filter: ViewFilter): Promise<View> {
  const view = device.client.view(filter);
  await settle();
  // The module is loaded on demand, which takes real time.
  await vi.dynamicImportSettled();
  await settle();
  return view;
}

export const titles = (view: View): string[] => view.store.getState().notifications.map(({ title }) => title);
export const state = (view: View): ViewState => view.store.getState();
export const lists = (): string[] => server.callsTo("/api/notifications?").map(({ path }) => path.split("?")[1] ?? "");

/** The titles that match, newest first. */
export function matching({ type, unread }: ViewFilter, count?: number): string[] {
  return [...server.rows.values()]
    .filter(({ isDeleted }) => !isDeleted)
    .map(({ notification }) => notification)
    .filter((item) => (type === undefined || item.type === type) && !(unread && item.readAt !== null))
    .map(({ title }) => title)
    .reverse()
    .slice(0, count);
}
