import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createNotification, getHistory, getMetrics, queueNotification, sendNotification } from "../../src/server.js";
import { json, refusal } from "../harness/server.js";

const send = { type: "REPORT_APPROVED", userIds: ["user-123"], title: "Report approved" };
let asked: { url: string; init: RequestInit; headers: Headers }[];
let answers: (() => Response)[];

const fetch = (async (url: string, init: RequestInit) => {
  asked.push({ url, init, headers: new Headers(init.headers) });
  const answer = answers.length > 1 ? answers.shift() : answers[0];
  if (!answer) throw new TypeError("fetch failed");
  return answer();
}) as unknown as typeof globalThis.fetch;

const options = { baseUrl: "http://carillon.test", token: "t", fetch };
const noAnswer = (): never => {
  throw new TypeError("fetch failed");
};
const accepted = (): Response => json(202, { sendId: "s1", status: "accepted" });
const keys = (): Set<string | null> => new Set(asked.map(({ headers }) => headers.get("idempotency-key")));

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  answers = [accepted];
});

afterEach(() => {
  vi.useRealTimers();
});

test("a send returns its id", async () => {
  expect(await sendNotification(send, options)).toBe("s1");
  expect(asked[0]).toMatchObject({ url: "http://carillon.test/api/notifications/send", init: { method: "POST" } });
  expect(JSON.parse(String(asked[0]?.init.body))).toEqual(send);
  expect(asked[0]?.headers.get("authorization")).toBe("Bearer t");
});

test("what gets no answer, or is refused for now, is sent again under the same key", async () => {
  answers = [noAnswer, () => refusal(503, "outcome_unknown"), () => refusal(429, "rate_limited", 3_000), accepted];
  const sent = sendNotification(send, options);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await sent).toBe("s1");
  expect(asked.length).toBe(4);
  expect(keys().size).toBe(1);
  expect([...keys()][0]).toMatch(/^[0-9a-f-]{36}$/);
});

test("two sends without a key are two", async () => {
  await sendNotification(send, options);
  await sendNotification(send, options);
  expect(keys().size).toBe(2);
});

test("the caller's key is used, and not contradicted by the header", async () => {
  await sendNotification({ ...send, idempotencyKey: "report-123" }, options);
  expect([...keys()]).toEqual(["report-123"]);
  expect(JSON.parse(String(asked[0]?.init.body)).idempotencyKey).toBe("report-123");
});

test("it gives up within its bound, and says what it met", async () => {
  answers = [() => refusal(503, "overloaded")];
  const refused = expect(sendNotification(send, { ...options, withinMs: 5_000 })).rejects.toMatchObject({
    code: "overloaded",
    status: 503,
    requestId: "q1",
  });
  await vi.advanceTimersByTimeAsync(5_000);
  await refused;
  expect(asked.length).toBeGreaterThan(1);
});

test("it does not wait beyond its bound for a server that asks for longer", async () => {
  answers = [() => refusal(429, "rate_limited", 60_000)];
  await expect(sendNotification(send, options)).rejects.toMatchObject({ code: "rate_limited", retryAfterMs: 60_000 });
  expect(asked.length).toBe(1);
});

test("what is wrong is not sent again", async () => {
  answers = [
    () => json(422, { error: { code: "validation_failed", message: "m", requestId: "q", fields: ["title"] } }),
  ];
  await expect(sendNotification(send, options)).rejects.toMatchObject({ code: "validation_failed", fields: ["title"] });
  expect(asked.length).toBe(1);
});

test("a token that has ended is renewed once", async () => {
  answers = [() => refusal(401, "token_expired"), accepted];
  let made = 0;
  const sent = await sendNotification(send, { baseUrl: options.baseUrl, fetch, getToken: async () => `t${++made}` });
  expect(sent).toBe("s1");
  expect(asked.map(({ headers }) => headers.get("authorization"))).toEqual(["Bearer t1", "Bearer t2"]);
});

test("one notification is created as the documents write it", async () => {
  const like = { userId: "u", type: "like", title: "New Like", message: "Someone liked it", content: { storyId: "7" } };
  expect(await createNotification(like, options)).toBe("s1");
  expect(JSON.parse(String(asked[0]?.init.body))).toEqual(like);
});

test("one notification is queued, to ring later", async () => {
  const reminder = { userId: "u", type: "reminder", title: "Stand up" };
  expect(await queueNotification(reminder, 60_000, options)).toBe("s1");
  expect(JSON.parse(String(asked[0]?.init.body))).toEqual({ ...reminder, delayMs: 60_000 });
});

describe("looking", () => {
  test("at metrics", async () => {
    answers = [() => json(200, { accepted: 7 })];
    expect((await getMetrics(options)).accepted).toBe(7);
    expect(asked[0]?.url).toBe("http://carillon.test/api/notifications/metrics/redis");
  });

  test("at history, with what is asked for", async () => {
    answers = [() => json(200, { items: [], nextCursor: null })];
    expect(await getHistory({ limit: 5, type: "like" }, options)).toEqual({ items: [], nextCursor: null });
    expect(asked[0]?.url).toBe("http://carillon.test/api/notifications/history?limit=5&type=like");
  });
});
