import { expect, test } from "vitest";
import { shallow } from "../../src/shallow.js";

test.each([
  [[], []],
  [
    [1, "a"],
    [1, "a"],
  ],
  [{ a: Number.NaN }, { a: Number.NaN }],
  [null, null],
])("%j and %j are the same", (one, other) => {
  expect(shallow(one, other)).toBe(true);
});

test.each([
  [[1], [1, 2]],
  [[1], { 0: 1 }],
  [[[]], [[]]],
  [{ a: undefined }, { b: undefined }],
  [new Map([[1, 1]]), new Map([[1, 2]])],
  [new Date(0), new Date(1)],
  [null, {}],
  [0, -0],
])("%j and %j differ", (one, other) => {
  expect(shallow(one, other)).toBe(false);
});
