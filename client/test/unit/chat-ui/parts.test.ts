import { expect, test } from "vitest";
import type { Chat, ShownMessage } from "../../../src/chat.js";
import { daysOf } from "../../../src/chat-ui/days.js";
import { whenSeen, whenShort } from "../../../src/chat-ui/format.js";
import { type ChatLabels, complete, de, en, es, filled } from "../../../src/chat-ui/labels.js";
import { chatName, type Setup } from "../../../src/chat-ui/setup.js";
import { heldOrder } from "../../../src/chat-ui/useHeldOrder.js";

test.each([en, de, es])("all labels of $locale exist, with the placeholders of the original", (labels) => {
  expect(Object.keys(labels).sort()).toEqual(Object.keys(en).sort());
  for (const [key, label] of Object.entries(labels)) {
    const text = typeof label === "string" ? label : (label.other ?? "");
    expect([key, text.trim()]).not.toEqual([key, ""]);
    const original = en[key as keyof ChatLabels];
    const placeholders = (typeof original === "string" ? original : original.other).match(/\{\w+\}/g);
    expect([key, text.match(/\{\w+\}/g)]).toEqual([key, placeholders]);
  }
});

test("a label is filled once: what is filled in is no pattern", () => {
  expect(filled("{name}: {text} {other}", { name: "$& {text}", text: "a" })).toBe("$& {text}: a {other}");
});

const message = (key: string, createdAt: string): ShownMessage => ({ key, createdAt }) as ShownMessage;
const local = (day: number, hour = 12): string => new Date(2026, 10, day, hour).toISOString();

test("messages keep their order when a clock goes back over midnight", () => {
  const days = daysOf([
    message("a", local(20, 23)),
    message("b", local(21, 0)),
    message("c", local(20, 23)),
    message("d", local(21, 9)),
  ]);
  expect(days.map(({ messages }) => messages.map(({ key }) => key).join(""))).toEqual(["a", "b", "c", "d"]);
  expect(new Set(days.map(({ key }) => key)).size).toBe(4);
});

test("a time is short: the hour of today, and the day of what is earlier", () => {
  const now = new Date(2026, 10, 21, 15);
  expect(whenShort("de", local(21, 9), now)).toBe("09:00");
  expect(whenShort("de", local(20, 9), now)).toBe("20. Nov.");
  expect(whenShort("de", new Date(2025, 10, 20).toISOString(), now)).toBe("20.11.25");
  expect(whenShort("de", "not a time", now)).toBe("");
  expect(whenSeen("de", local(20, 9), now)).toBe("20. Nov., 09:00");
  expect(whenSeen("de", local(21, 9), now)).toBe("09:00");
});

const chatOf = (id: string, others: (string | null)[], more: Partial<Chat> = {}): Chat =>
  ({
    id,
    kind: others.length > 1 ? "group" : "direct",
    title: null,
    memberCount: others.length + 1,
    participants: ["me", ...others].map((userId) => ({ userId, role: "member", readSeq: 0 })),
    ...more,
  }) as Chat;

test("a chat is called after its title or the others", () => {
  const setup: Setup = { labels: complete(undefined), slots: undefined, me: "me", nameOf: undefined, open() {} };
  expect(chatName(setup, chatOf("1", ["bob"]))).toBe("bob");
  expect(chatName(setup, chatOf("1", [null]))).toBe("Deleted user");
  expect(chatName(setup, chatOf("1", ["a", "b", "c", "d"], { memberCount: 30 }))).toBe("a, b, c +26");
  expect(chatName(setup, chatOf("1", ["a", "b"]))).toBe("a, b");
  expect(chatName(setup, chatOf("1", ["a", "b"], { title: "Lunch" }))).toBe("Lunch");
  expect(chatName(setup, chatOf("1", []))).toBe("You");
  expect(chatName({ ...setup, nameOf: (userId) => `Dr. ${userId}` }, chatOf("1", ["bob"]))).toBe("Dr. bob");
});

test("chats under the pointer stay where they are, and new ones come below", () => {
  const [a, b, c] = [chatOf("a", ["x"]), chatOf("b", ["y"]), chatOf("c", ["z"])];
  const ids = (chats: readonly Chat[]): string => chats.map(({ id }) => id).join("");
  expect(ids(heldOrder(["a", "b", "gone"], [c, b, a], true))).toBe("abc");
  expect(ids(heldOrder(["a", "b"], [c, b, a], false))).toBe("cba");
  expect(ids(heldOrder([], [c, b, a], true))).toBe("cba");
});
