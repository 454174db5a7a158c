import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  createNotification,
  emitDashboardUpdate,
  emitEvent,
  emitNotification,
  getHistory,
  getMetrics,
  queueNotification,
  sendNotification,
} from "../../src/server.js";
import { json, refusal } from "../harness/server.js";

const send = { type: "REPORT_APPROVED", userIds: ["user-123"], title: "Report approved" };
let requests: { url: string; init: RequestInit; headers: Headers }[];
let responses: (() => Response)[];

const fetch = (async (url: string, init: RequestInit) => {
  requests.push({ url, init, headers: new Headers(init.headers) });
  const response = responses.length > 1 ? responses.shift() : responses[0];
  if (!response) throw new TypeError("fetch failed");
  return response();
}) as unknown as typeof globalThis.fetch;

const options = { baseUrl: "http://carillon.test", token: "t", fetch };
const noAnswer = (): never => {
  throw new TypeError("fetch failed");
};
const accepted = (): Response => json(202, { sendId: "s1", status: "accepted" });
const keys = (): Set<string | null> => new Set(requests.map(({ headers }) => headers.get("idempotency-key")));

beforeEach(() => {
  vi.useFakeTimers();
  requests = [];
  responses = [accepted];
});

afterEach(() => {
  vi.useRealTimers();
});

test("a send returns its id", async () => {
  expect(await sendNotification(send, options)).toBe("s1");
  expect(requests[0]).toMatchObject({ url: "http://carillon.test/api/notifications/send", init: { method: "POST" } });
  expect(JSON.parse(String(requests[0]?.init.body))).toEqual(send);
  expect(requests[0]?.headers.get("authorization")).toBe("Bearer t");
});

describe("what a call leaves out", () => {
  afterEach(() => vi.unstubAllEnvs());

  test("comes from the environment", async () => {
    vi.stubEnv("CARILLON_URL", "http://from.environment");
    vi.stubEnv("CARILLON_TOKEN", "of-environment");
    await sendNotification(send, { fetch });
    await sendNotification(send, { fetch, baseUrl: "http://own.test", token: "own" });
    const called = requests.map(({ url, headers }) => [new URL(url).origin, headers.get("authorization")]);
    expect(called).toEqual([
      ["http://from.environment", "Bearer of-environment"],
      ["http://own.test", "Bearer own"],
    ]);
    vi.stubGlobal("fetch", fetch);
    expect(await sendNotification(send)).toBe("s1");
    vi.unstubAllGlobals();
  });

  test("is named if it is nowhere, and nothing is retried", async () => {
    await expect(sendNotification(send, { token: "t" })).rejects.toThrow("CARILLON_URL is not set");
    await expect(sendNotification(send, { baseUrl: "http://a.test", fetch })).rejects.toThrow(
      "CARILLON_TOKEN is not set",
    );
    vi.stubGlobal("process", undefined);
    await expect(getMetrics()).rejects.toThrow("CARILLON_TOKEN is not set");
    vi.unstubAllGlobals();
    expect(requests).toEqual([]);
  });
});

test("a send without a response, or with a temporary refusal, is retried with the same key", async () => {
  responses = [noAnswer, () => refusal(503, "outcome_unknown"), () => refusal(429, "rate_limited", 3_000), accepted];
  const sent = sendNotification(send, options);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(await sent).toBe("s1");
  expect(requests.length).toBe(4);
  expect(keys().size).toBe(1);
  expect([...keys()][0]).toMatch(/^[0-9a-f-]{36}$/);
});

test("two sends without a key get different keys", async () => {
  await sendNotification(send, options);
  await sendNotification(send, options);
  expect(keys().size).toBe(2);
});

test("the caller's key is used in the body and in the header", async () => {
  await sendNotification({ ...send, idempotencyKey: "report-123" }, options);
  expect([...keys()]).toEqual(["report-123"]);
  expect(JSON.parse(String(requests[0]?.init.body)).idempotencyKey).toBe("report-123");
});

test("retries stop at the time limit, and the last error is thrown", async () => {
  responses = [() => refusal(503, "overloaded")];
  const refused = expect(sendNotification(send, { ...options, withinMs: 5_000 })).rejects.toMatchObject({
    code: "overloaded",
    status: 503,
    requestId: "q1",
  });
  await vi.advanceTimersByTimeAsync(5_000);
  await refused;
  expect(requests.length).toBeGreaterThan(1);
});

test("a retry delay beyond the time limit is not waited for", async () => {
  responses = [() => refusal(429, "rate_limited", 60_000)];
  await expect(sendNotification(send, options)).rejects.toMatchObject({ code: "rate_limited", retryAfterMs: 60_000 });
  expect(requests.length).toBe(1);
});

test("an invalid send is not retried", async () => {
  responses = [
    () => json(422, { error: { code: "validation_failed", message: "m", requestId: "q", fields: ["title"] } }),
  ];
  await expect(sendNotification(send, options)).rejects.toMatchObject({ code: "validation_failed", fields: ["title"] });
  expect(requests.length).toBe(1);
});

test("an expired token is renewed once", async () => {
  responses = [() => refusal(401, "token_expired"), accepted];
  let made = 0;
  const sent = await sendNotification(send, { baseUrl: options.baseUrl, fetch, getToken: async () => `t${++made}` });
  expect(sent).toBe("s1");
  expect(requests.map(({ headers }) => headers.get("authorization"))).toEqual(["Bearer t1", "Bearer t2"]);
});

test("a notification is created with the documented aliases", async () => {
  const like = { userId: "u", type: "like", title: "New Like", message: "Someone liked it", content: { storyId: "7" } };
  expect(await createNotification(like, options)).toBe("s1");
  expect(JSON.parse(String(requests[0]?.init.body))).toEqual(like);
});

test("a notification is queued with its delay", async () => {
  const reminder = { userId: "u", type: "reminder", title: "Stand up" };
  expect(await queueNotification(reminder, 60_000, options)).toBe("s1");
  expect(JSON.parse(String(requests[0]?.init.body))).toEqual({ ...reminder, delayMs: 60_000 });
});

describe("emitting", () => {
  const emitted = (): Response => json(202, { eventId: "x1" });
  const bodyOf = (n: number): unknown => JSON.parse(String(requests[n]?.init.body));

  beforeEach(() => {
    responses = [emitted];
  });

  test("an event returns its id", async () => {
    const event = { type: "system", name: "deployed", data: { version: 7 }, userIds: ["u"] } as const;
    expect(await emitEvent(event, options)).toBe("x1");
    expect(requests[0]).toMatchObject({ url: "http://carillon.test/api/events/emit", init: { method: "POST" } });
    expect(bodyOf(0)).toEqual(event);
  });

  test("an event without a response is retried with the same key", async () => {
    responses = [noAnswer, () => refusal(503, "overloaded"), emitted];
    const id = emitEvent({ type: "system" }, options);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(await id).toBe("x1");
    expect([requests.length, keys().size]).toEqual([3, 1]);
  });

  test("a refused event is not retried", async () => {
    responses = [() => refusal(403, "forbidden")];
    await expect(emitEvent({ type: "system" }, options)).rejects.toMatchObject({ code: "forbidden" });
    expect(requests.length).toBe(1);
  });

  test("a notification is an announcement with its type as name", async () => {
    await emitNotification("New Message", "You have one", { userIds: ["user-123"], type: "info" }, options);
    await emitNotification("To all", "Hello", { idempotencyKey: "hello" }, options);
    const title = "New Message";
    expect(bodyOf(0)).toEqual({
      type: "announcement",
      name: "info",
      title,
      body: "You have one",
      userIds: ["user-123"],
    });
    expect(bodyOf(1)).toEqual({ type: "announcement", title: "To all", body: "Hello", idempotencyKey: "hello" });
    expect(requests[1]?.headers.get("idempotency-key")).toBe("hello");
  });

  test("a dashboard update has a name and data", async () => {
    await emitDashboardUpdate("orders", { open: 3 }, { userIds: ["u"] }, options);
    expect(bodyOf(0)).toEqual({ type: "dashboard", name: "orders", data: { open: 3 }, userIds: ["u"] });
  });
});

describe("reading", () => {
  test("metrics calls their route", async () => {
    responses = [() => json(200, { accepted: 7 })];
    expect((await getMetrics(options)).accepted).toBe(7);
    expect(requests[0]?.url).toBe("http://carillon.test/api/notifications/metrics/redis");
  });

  test("history passes the query on", async () => {
    responses = [() => json(200, { items: [], nextCursor: null })];
    expect(await getHistory({ limit: 5, type: "like" }, options)).toEqual({ items: [], nextCursor: null });
    expect(requests[0]?.url).toBe("http://carillon.test/api/notifications/history?limit=5&type=like");
  });
});
