import { expect, test } from "vitest";
import type { NotificationGroup } from "../../../src/grouping.js";
import type { Notification } from "../../../src/index.js";
import { cutTo, Heights, rangeAt } from "../../../src/ui/window.js";

/** Days with these numbers of rows. */
function days(...counts: number[]): NotificationGroup[] {
  return counts.map((count, day) => ({
    key: String(day),
    date: new Date(2026, 0, day + 1),
    items: Array.from({ length: count }, (_, n) => ({ id: `${day} ${n}` }) as Notification),
  }));
}

function heightsOf(groups: readonly NotificationGroup[], px: number): Heights {
  const heights = new Heights();
  for (const { id } of groups.flatMap(({ items }) => [...items])) heights.set(id, px);
  return heights;
}

/** The whole height of the list, as rendered. */
function total(groups: readonly NotificationGroup[], px: number, { from, to }: { from: number; to: number }): number {
  const { parts, abovePx, belowPx } = cutTo(groups, heightsOf(groups, px), { from, to });
  const rendered = parts.map(({ range, abovePx, belowPx }) => 36 + abovePx + belowPx + (range.to - range.from) * px);
  return abovePx + belowPx + rendered.reduce((sum, part) => sum + part, 0);
}

test("wherever a list is scrolled, it is as high as all its rows, and renders those in sight", () => {
  const groups = days(1, 300, 7, 4000, 1, 1, 5690);
  const count = 10_000;
  const whole = count * 50 + groups.length * 36;
  const heights = heightsOf(groups, 50);
  for (let topPx = 0; topPx < whole; topPx += 7_919) {
    const range = rangeAt(groups, heights, topPx, 700);
    expect(total(groups, 50, range)).toBe(whole);
    expect(range.to - range.from).toBeLessThan(80);
    // With all seven headings above or none, the row at the top is one of these.
    const first = Math.max(0, Math.ceil((topPx - 7 * 36) / 50));
    const last = Math.min(count - 1, Math.floor((topPx + 700) / 50));
    expect(range.from).toBeLessThanOrEqual(first);
    expect(range.to).toBeGreaterThan(Math.min(last, count - 1) - 7);
  }
});

test("beyond the end the last rows are rendered", () => {
  const groups = days(500);
  const range = rangeAt(groups, heightsOf(groups, 50), 1_000_000, 700);
  expect(range.to).toBeGreaterThanOrEqual(500);
  expect(cutTo(groups, heightsOf(groups, 50), range).parts).toHaveLength(1);
});

test("a day without a rendered row is a gap with its heading", () => {
  const groups = days(100, 100, 100);
  const { parts, abovePx, belowPx } = cutTo(groups, heightsOf(groups, 10), { from: 150, to: 160 });
  expect(parts.map(({ group, range }) => [group.key, range])).toEqual([["1", { from: 50, to: 60 }]]);
  expect([abovePx, parts[0]?.abovePx, parts[0]?.belowPx, belowPx]).toEqual([1036, 500, 400, 1036]);
});

test("a row that was never rendered counts as the average of those that were", () => {
  const heights = new Heights();
  expect(heights.get("x")).toBe(84);
  heights.set("a", 100);
  heights.set("b", 50);
  expect(heights.get("x")).toBe(75);
  heights.set("b", 60);
  expect([heights.get("x"), heights.get("b")]).toEqual([80, 60]);
});
