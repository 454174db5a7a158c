import { expect, test } from "vitest";
import { complete, counted, de, en, es, type Labels } from "../../../src/ui/labels.js";

test.each([en, de, es])("all labels of $locale exist", (labels) => {
  expect(Object.keys(labels).sort()).toEqual(Object.keys(en).sort());
  for (const [key, label] of Object.entries(labels)) {
    const text = typeof label === "string" ? label : (label.other ?? "");
    expect([key, text.trim()]).not.toEqual([key, ""]);
    // A translation has the placeholders of the original.
    const original = en[key as keyof Labels];
    const placeholders = (typeof original === "string" ? original : original.other).match(/\{\w+\}/g);
    expect([key, text.match(/\{\w+\}/g)]).toEqual([key, placeholders]);
  }
});

test("a missing label is English", () => {
  const labels = complete({ title: "Avis", delete: undefined, all: null } as unknown as Partial<Labels>);
  expect(labels).toEqual({ ...en, title: "Avis" });
  expect(complete(undefined)).toBe(en);
  expect(complete({})).toEqual(en);
});

test("a language that does not exist is written as English", () => {
  expect(complete({ locale: "not a language" }).locale).toBe("en");
});

test("the same labels give the same object, so that no row renders again", () => {
  const labels = { title: "Avis" };
  expect(complete(labels)).toBe(complete(labels));
});

test("a count follows the plural rules and the digits of the language", () => {
  expect(counted(de, de.waiting, 1)).toBe("1 neue");
  expect(counted(de, de.arrivedMany, 1200)).toBe("1.200 neue Benachrichtigungen");
  const russian = complete({ locale: "ru", waiting: { one: "{n} новое", few: "{n} новых (few)", other: "{n} новых" } });
  expect([1, 3, 5].map((n) => counted(russian, russian.waiting, n))).toEqual(["1 новое", "3 новых (few)", "5 новых"]);
});
