import { expect, test } from "vitest";
import type { Notification } from "../../../src/index.js";
import { type Hold, hold } from "../../../src/ui/held.js";

const one = (id: string, readAt: string | null = null): Notification => ({ id, readAt }) as Notification;
const list = (ids: string): Notification[] => [...ids].map((id) => one(id));
const ids = (rows: readonly Notification[]): string => rows.map(({ id }) => id).join("");

const free: Hold = { pointer: false, reading: false };
const pointer: Hold = { pointer: true, reading: false };
const reading: Hold = { pointer: false, reading: true };

test("a list that is not in use shows what there is", () => {
  const { rows, waiting, gone } = hold(list("cba"), list("edba"), list("edba"), free);
  expect([ids(rows), waiting, gone.size]).toEqual(["edba", 0, 0]);
});

test.each([pointer, reading])("an arrival waits while the list is in use: %j", (by) => {
  const { rows, waiting } = hold(list("cba"), list("edcba"), list("edcba"), by);
  expect([ids(rows), waiting]).toEqual(["cba", 2]);
});

test("what belongs between two rows waits too", () => {
  const { rows, waiting } = hold(list("ca"), list("cba"), list("cba"), pointer);
  expect([ids(rows), waiting]).toEqual(["ca", 1]);
});

test("the next page is appended", () => {
  const { rows, waiting } = hold(list("dc"), list("edcba"), list("edcba"), reading);
  expect([ids(rows), waiting]).toEqual(["dcba", 1]);
});

test("under the pointer a deleted row leaves a gap, and otherwise the rows below move up", () => {
  const under = hold(list("cba"), list("ca"), list("ca"), pointer);
  expect([ids(under.rows), [...under.gone]]).toEqual(["cba", ["b"]]);
  const focused = hold(list("cba"), list("ca"), list("ca"), reading);
  expect([ids(focused.rows), focused.gone.size]).toEqual(["ca", 0]);
});

test("under the pointer a row that leaves its tab stays as it is now", () => {
  const read = one("b", "2026-11-20T16:00:00.000Z");
  const { rows, gone } = hold(list("cba"), list("ca"), [one("c"), read, one("a")], pointer);
  expect([ids(rows), gone.size]).toEqual(["cba", 0]);
  expect(rows[1]).toBe(read);
});

test("the first notifications of an empty list do not wait", () => {
  const { rows, waiting } = hold([], list("ba"), list("ba"), pointer);
  expect([ids(rows), waiting]).toEqual(["ba", 0]);
});

test("a list all of whose rows disappeared shows the present ones", () => {
  expect(ids(hold(list("ba"), list("dc"), list("dc"), reading).rows)).toBe("dc");
  const under = hold(list("ba"), list("dc"), list("dc"), pointer);
  expect([ids(under.rows), [...under.gone].join("")]).toEqual(["badc", "ba"]);
});
