// The pure functions: cursors, backoff, tokens, errors and days.

import { describe, expect, test } from "vitest";
import { backoffMs } from "../../src/backoff.js";
import { compareCursors, isAhead, isCursor } from "../../src/cursor.js";
import { CarillonError, isTemporary } from "../../src/errors.js";
import { groupByDay } from "../../src/grouping.js";
import type { Notification } from "../../src/index.js";
import { readToken } from "../../src/token.js";

describe("cursors", () => {
  test("are compared within an epoch, whatever the length of their offsets", () => {
    expect(compareCursors("a.9", "a.10")).toBeLessThan(0);
    expect(compareCursors("a.10", "a.10")).toBe(0);
    expect(compareCursors("a.9007199254740993", "a.9007199254740992")).toBeGreaterThan(0);
    expect(isAhead("a.2", "a.1")).toBe(true);
  });

  test("of two epochs have no order", () => {
    expect(compareCursors("a.1", "b.1")).toBeNull();
    expect(isAhead("b.2", "a.1")).toBe(false);
  });

  test("have a single valid form", () => {
    expect(["a.0", "049c0feff77e977e.1"].every(isCursor)).toBe(true);
    expect(["", "a", "a.", ".1", "a.01", "a.-1", "a.1.2", "a.x", 7, null].some(isCursor)).toBe(false);
  });
});

test("backoff doubles up to a limit, has full jitter, and honours the server's delay", () => {
  const longest = (failures: number): number => backoffMs(failures, () => 1);
  expect([1, 2, 3, 7, 50].map(longest)).toEqual([500, 1_000, 2_000, 30_000, 30_000]);
  expect(backoffMs(5, () => 0)).toBe(0);
  expect(backoffMs(1, () => 1, 9_000)).toBe(9_000);
});

describe("tokens", () => {
  test("name their user in any script, and their expiry", () => {
    const claims = Buffer.from(JSON.stringify({ sub: "Zoë ✓", exp: 1_800_000_000 })).toString("base64url");
    expect(readToken(`h.${claims}.s`)).toMatchObject({ userId: "Zoë ✓", expiresMs: 1_800_000_000_000 });
  });

  test("that are malformed have no user", () => {
    for (const text of ["", "x", "a.b.c", "a.bnVsbA.c", "a.W10.c", "a.eyJzdWIiOjd9.c"]) {
      expect(readToken(text), text).toMatchObject({ userId: null, expiresMs: null });
    }
  });
});

test("temporary errors are distinguished from permanent ones", () => {
  const of = (status: number): boolean => isTemporary(new CarillonError("internal", "x", { status }));
  expect([0, 200, 408, 429, 500, 503].every(of)).toBe(true);
  expect([400, 401, 403, 404, 409, 410, 422].some(of)).toBe(false);
});

describe("days", () => {
  const at = (id: string, time: Date): Notification => ({ id, createdAt: time.toISOString() }) as Notification;

  test("follow local time", () => {
    const groups = groupByDay([
      at("c", new Date(2026, 10, 21, 0, 0, 1)),
      at("b", new Date(2026, 10, 20, 23, 59)),
      at("a", new Date(2026, 10, 20, 0, 0)),
    ]);
    expect(groups.map(({ key, items }) => [key, items.map(({ id }) => id)])).toEqual([
      ["2026-11-21", ["c"]],
      ["2026-11-20", ["b", "a"]],
    ]);
    expect(groups[1]?.date).toEqual(new Date(2026, 10, 20));
  });

  test("of what comes back are not earlier than those of what arrived before", () => {
    const [old, older] = [at("old", new Date(2026, 10, 18, 8)), at("older", new Date(2026, 10, 17, 8))];
    const present = at("present", new Date(2026, 10, 21, 8));
    const ids = (...notifications: Notification[]): unknown =>
      groupByDay(notifications).map(({ key, items }) => [key, items.map(({ id }) => id)]);
    expect(ids(older, present, old)).toEqual([
      ["2026-11-21", ["older", "present"]],
      ["2026-11-18", ["old"]],
    ]);
    expect(ids(older, old)).toEqual([["2026-11-18", ["older", "old"]]]);
  });

  test("without changes keep their identity", () => {
    const old = at("a", new Date(2026, 10, 20, 8));
    const groups = groupByDay([at("b", new Date(2026, 10, 21, 8)), old]);
    const after = groupByDay([at("c", new Date(2026, 10, 21, 9)), ...groups.flatMap(({ items }) => items)], groups);
    expect(after[0]).not.toBe(groups[0]);
    expect(after[1]).toBe(groups[1]);
    const { items } = after[1] ?? {};
    expect(items?.[0]).toBe(old);
  });
});
