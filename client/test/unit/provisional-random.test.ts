// Provisional frames, those that tell the places, changes and syncs in random order: whatever overtakes what, the client
// shows what the server has, and above it what only Redis has or has lost.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { advance, connected, type Device, deviceOf } from "../harness/device.js";
import { numbers } from "../harness/numbers.js";
import { FakeServer } from "../harness/server.js";

const RUNS = 40;
const STEPS = 40;

let server: FakeServer;
let device: Device;

beforeEach(() => {
  vi.useFakeTimers({ now: Date.parse("2026-11-21T12:00:00Z") });
});

afterEach(() => {
  device.client.close();
  vi.useRealTimers();
});

/** What holds at any time. */
function check(): void {
  const { notifications, unreadCount, cursor } = device.state();
  const ids = notifications.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const offsets = notifications.map((item) =>
    item.cursor === null ? Number.POSITIVE_INFINITY : offsetOf(item.cursor),
  );
  expect(offsets).toEqual([...offsets].sort((one, other) => (one === other ? 0 : other - one)));
  const placed = notifications.filter((item) => item.cursor !== null);
  expect(Math.max(0, ...placed.map((item) => offsetOf(item.cursor)))).toBeLessThanOrEqual(offsetOf(cursor));
  expect(unreadCount).toBe(placed.filter(({ readAt }) => readAt === null).length);
}

const offsetOf = (cursor: string | null): number => Number(cursor?.split(".")[1]);

test.each(Array.from({ length: RUNS }, (_, seed) => seed + 1))("seed %i", async (seed) => {
  const below = numbers(seed);
  server = new FakeServer();
  device = await connected(deviceOf(server));
  await advance(3_000);
  /** Frames that are still on their way. */
  const held: object[] = [];
  /** Sent by `fast`, in order, and whether the client has heard of it before its place. */
  const fast = new Map<string, { lost: boolean; heard: boolean }>();
  const gone = new Set<string>();
  const ids: string[] = [];

  function deliver(frame: object): void {
    const { cursor, notification } = frame as { cursor: string | null; notification?: { id: string } };
    const entry = fast.get(notification?.id ?? "");
    if (cursor === null && entry) entry.heard = true;
    server.push(frame);
  }

  function drain(): void {
    const way = below(3);
    const frames = server.drain({ frame: way === 0 ? "pushed" : "held" });
    // What is neither pushed nor held is lost.
    if (way === 1) held.push(...frames);
  }

  const steps: (() => unknown)[] = [
    () => {
      const { id, frame } = server.sendFast({ frame: "held" });
      fast.set(id, { lost: false, heard: false });
      ids.push(id);
      if (below(3) > 0) deliver(frame);
      if (below(3) > 0) held.push(frame);
    },
    () => {
      drain();
      const { id, frame } = server.send({ frame: "held" });
      ids.push(id);
      const way = below(3);
      if (way === 0) server.push(frame);
      else if (way === 1) held.push(frame);
    },
    drain,
    () => {
      const [frame] = held.splice(below(held.length + 1), 1);
      if (frame) deliver(frame);
      // Twice, now and then.
      if (frame && below(4) === 0) held.push(frame);
    },
    () => {
      const id = ids[below(ids.length + 1)];
      const kind = (["read", "unread", "deleted"] as const)[below(3)] ?? "read";
      if (!id) return;
      drain();
      const frame = server.change(kind, [id], false);
      if (frame && below(3) > 0) held.push(frame);
      if (frame && kind === "deleted") gone.add(id);
    },
    () => {
      const id = ids[below(ids.length + 1)];
      if (!id) return;
      const act = ["markAsRead", "markAsUnread", "deleteNotification"] as const;
      const kind = act[below(3)] ?? "markAsRead";
      drain();
      const isShown = device.state().notifications.some((item) => item.id === id);
      if (isShown && kind === "deleteNotification") gone.add(id);
      void device.client[kind](id).catch(() => {});
      return advance(1_000);
    },
    () => {
      for (const { id } of server.log.splice(0)) {
        const entry = fast.get(id);
        if (entry) entry.lost = true;
      }
    },
    () => device.client.refresh(),
    () => advance(below(600)),
  ];

  for (let n = 0; n < STEPS; n++) {
    await steps[below(steps.length)]?.();
    if (below(3) === 0) {
      await advance(5_000);
      check();
    }
  }
  while (held.length > 0) for (const frame of held.splice(0)) deliver(frame);
  server.drain();
  await device.client.refresh();
  await advance(5_000);
  check();

  const lost = [...fast].filter(([id, entry]) => entry.lost && entry.heard && !gone.has(id)).map(([id]) => id);
  const live = [...server.rows.values()].filter(({ isDeleted }) => !isDeleted).map(({ notification }) => notification);
  const shown = device.state().notifications;
  expect(new Set(shown.filter(({ cursor }) => cursor === null).map(({ id }) => id))).toEqual(new Set(lost));
  expect(shown.filter(({ cursor }) => cursor !== null).map(({ id }) => id)).toEqual(live.map(({ id }) => id).reverse());
  for (const { id, readAt } of live)
    expect(shown.find((item) => item.id === id)?.readAt === null).toBe(readAt === null);
  expect(device.state().unreadCount).toBe(server.unreadCount);
  const rung = device.events.flatMap((event) => (event.type === "notification" ? event.notification.id : []));
  expect(new Set(rung).size).toBe(rung.length);
});
