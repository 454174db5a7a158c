// Everything that openapi.yaml documents happens, and nothing else: the proxy of the gateway reports what is not documented.

import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { bodiesOf, isInexpressible, variants } from "../api/bodies.js";
import { type Answer, Caller } from "../api/caller.js";
import { type Json, mismatch, type Operation, operation, operations, root } from "../api/descriptions.js";
import { bodyProblem } from "../api/exchange.js";
import type { Seen } from "../api/proxy.js";
import { Gateway } from "./gateway.js";

const ID = "8214134b-5784-8ca4-baf3-8de40ae24211";
/** What no call brings about while everything works. */
const UNSEEN = /^\w+ (500|503|default)$|^(getPushKey|subscribe) 404$/;

let gateway: Gateway;
let admin: Caller;
let shop: Caller;
let alice: Caller;
let bob: Caller;
let anonymous: Caller;

beforeAll(async () => {
  gateway = await Gateway.start({
    RATE_LIMIT_SEND: "100000/1s",
    RATE_LIMIT_SEND_TYPES: "once=1/60s",
    RATE_LIMIT_CHAT: "100000/1s",
  });
  admin = Caller.as(gateway, "operator", "notify:admin");
  shop = Caller.as(gateway, "shop", "notify:send");
  alice = Caller.as(gateway, "alice");
  bob = Caller.as(gateway, "bob");
  anonymous = Caller.anonymous(gateway);
});

afterAll(() => gateway?.stop());

const send = (more: object = {}): object => ({ type: "like", userIds: ["alice"], title: "Hi", ...more });

/** The id of a new notification of alice. */
async function notification(more: object = {}): Promise<string> {
  const { json } = await shop.post("/api/notifications/send", send(more));
  return json.notifications[0].id;
}

async function expectStatus(status: number, answer: Promise<Answer>): Promise<Answer> {
  const got = await answer;
  expect(got.status, got.text).toBe(status);
  return got;
}

const ok = (answer: Promise<Answer>): Promise<Answer> => expectStatus(200, answer);
const done = (answer: Promise<Answer>): Promise<Answer> => expectStatus(204, answer);

/** What comes first on an event stream. */
async function follow(path: string, options: RequestInit): Promise<number> {
  const controller = new AbortController();
  const response = await fetch(gateway.url + path, { ...options, signal: controller.signal });
  await response.body?.getReader().read();
  controller.abort();
  return response.status;
}

test("services send", async () => {
  const key = { headers: { "idempotency-key": "k-1" } };
  await expectStatus(202, shop.post("/api/notifications/send", send(), key));
  const replayed = await expectStatus(202, shop.post("/api/notifications/send", send(), key));
  expect(replayed.headers.get("idempotency-replayed")).toBe("true");
  await expectStatus(422, shop.post("/api/notifications/send", send({ title: "Other" }), key));
  const once = { type: "once", userIds: ["alice", "bob"] };
  await expectStatus(202, shop.post("/api/notifications/send", send({ ...once, userIds: ["alice"] })));
  const partly = await expectStatus(202, shop.post("/api/notifications/send", send(once)));
  expect(partly.json.notifications[0]).toMatchObject({ id: null, status: "rate_limited" });
  await expectStatus(429, shop.post("/api/notifications/send", send(once)));

  await expectStatus(202, shop.post("/api/push/send", send({ channels: ["push"] })));
  await expectStatus(429, shop.post("/api/push/send", send({ type: "once" })));
  const later = await expectStatus(202, shop.post("/api/notifications/send", send({ delayMs: 60_000 })));
  await done(shop.delete(`/api/notifications/scheduled/${later.json.sendId}`));
  await expectStatus(409, shop.delete(`/api/notifications/scheduled/${replayed.json.sendId}`));
  await expectStatus(202, shop.post("/api/events/emit", { type: "announcement", title: "Hi", userIds: ["alice"] }));
  await expectStatus(202, admin.post("/api/events/emit", { type: "system", data: { a: [null] } }));
  await ok(shop.get("/api/notifications/history?limit=2&state=waiting&type=like&userId=alice"));
  const { json } = await ok(admin.get("/api/notifications/history?limit=1"));
  await ok(admin.get(`/api/notifications/history?limit=1&cursor=${json.nextCursor}`));
});

test("a user reads, changes and syncs an inbox", async () => {
  const [first, second] = [await notification({ body: "b", actionUrl: "/x", collapseKey: "c" }), await notification()];
  const page = await ok(alice.get("/api/notifications?limit=1&unread=true&type=like"));
  const { nextCursor, cursor } = page.json;
  await ok(alice.get(`/api/notifications?limit=200&cursor=${nextCursor}`));
  await ok(alice.get("/api/notifications/unread-count?type=like"));
  await ok(alice.get(`/api/notifications/${first}`));
  await done(alice.post(`/api/notifications/${first}/read`));
  await done(alice.post(`/api/notifications/${first}/unread`, {}));
  const trace = await ok(alice.get(`/api/notifications/${first}/trace`));
  expect(trace.json.steps.length).toBeGreaterThan(0);
  await done(alice.post(`/api/notifications/${second}/snooze`, { until: new Date(Date.now() + 60_000).toISOString() }));
  await done(alice.delete(`/api/notifications/${second}`));
  await ok(alice.post("/api/notifications/read-all", { type: "like", before: cursor }));
  await ok(alice.post("/api/notifications/read-all"));
  await done(alice.post("/api/ack", { cursor }));

  await ok(alice.get(`/api/sync?since=${cursor}`));
  const partial = await ok(alice.get("/api/sync?limit=1"));
  expect(partial.json.complete).toBe(false);
  const { json, headers } = await ok(alice.get("/api/sync"));
  expect(headers.get("etag")).toBe(json.etag);
  await expectStatus(304, alice.get(`/api/sync?since=${json.cursor}`, { headers: { "if-none-match": json.etag } }));

  const gone = `${cursor.split(".")[0]}.999999`;
  const foreign = Buffer.from(`0000000000000001.1`).toString("base64url");
  for (const answer of [
    alice.get(`/api/sync?since=${gone}`),
    alice.post("/api/ack", { cursor: gone }),
    alice.post("/api/notifications/read-all", { before: gone }),
    alice.get(`/api/notifications?cursor=${foreign}`),
  ])
    await expectStatus(410, answer);
});

test("connections open, and tell who is online", async () => {
  const ticket = await expectStatus(201, alice.post("/api/ws/ticket"));
  await expectStatus(201, alice.post("/api/ws/ticket", { origin: "http://localhost:5173" }));
  await expectStatus(403, alice.post("/api/ws/ticket", { origin: "http://evil.example" }));
  expect(await follow(`/api/events?ticket=${ticket.json.ticket}`, {})).toBe(200);
  await expectStatus(401, anonymous.get(`/api/events?ticket=${ticket.json.ticket}`));
  await expectStatus(401, anonymous.get("/api/events", { headers: { authorization: "Basic x" } }));
  const elsewhere = await alice.post("/api/ws/ticket", { origin: "http://localhost:1" });
  await expectStatus(
    403,
    anonymous.get(`/api/events?ticket=${elsewhere.json.ticket}`, { headers: { origin: "http://localhost:2" } }),
  );
  const headers = { authorization: `Bearer ${await gateway.token("alice")}`, "last-event-id": "0000000000000001.1" };
  expect(await follow("/api/events", { headers })).toBe(200);
  await ok(admin.get("/api/presence?userIds=alice,bob"));
  const { json } = await ok(admin.get("/api/presence?userId=doe%2C%20jane&userId=bob"));
  expect(json.users.map(({ userId }: { userId: string }) => userId)).toEqual(["doe, jane", "bob"]);
});

test("users chat", async () => {
  const direct = await expectStatus(201, alice.post("/api/chats", { kind: "direct", participantIds: ["bob"] }));
  await ok(alice.post("/api/chats", { kind: "direct", participantIds: ["bob"] }));
  const chat = `/api/chats/${direct.json.id}`;
  await expectStatus(409, alice.post(`${chat}/accept`));
  await expectStatus(403, bob.post(`${chat}/messages`, { clientId: "1", body: "no" }));
  await ok(bob.post(`${chat}/accept`));
  await expectStatus(201, bob.post(`${chat}/messages`, { clientId: "1", body: "Hi", data: { a: 1 } }));
  await ok(bob.post(`${chat}/messages`, { clientId: "1", body: "Hi", data: { a: 1 } }));
  await expectStatus(201, bob.post(`${chat}/messages`, { clientId: "2", body: "fast", accept: "fast" }));
  await ok(alice.get("/api/chats/unread"));
  await ok(alice.get(`${chat}/messages?before=9&limit=1`));
  await ok(alice.post(`${chat}/read`, { seq: 1 }));
  await expectStatus(409, alice.call("PATCH", chat, { title: "no" }));
  await expectStatus(409, alice.post(`${chat}/leave`));
  for (const more of ["members", "members/remove"])
    await expectStatus(409, alice.post(`${chat}/${more}`, { userIds: ["x"] }));
  await ok(bob.post(`${chat}/decline`));
  await expectStatus(409, alice.post(`${chat}/messages`, { clientId: "1", body: "Hi" }));
  await done(alice.delete(chat));
  await ok(alice.get("/api/chats?hidden=true"));
  await done(alice.post(`${chat}/restore`));
  await ok(alice.get("/api/presence?userIds=bob"));

  const wanted = { kind: "group", participantIds: ["bob"], title: "Hiking", clientId: "g" };
  const { json } = await expectStatus(201, alice.post("/api/chats", wanted));
  await expectStatus(422, alice.post("/api/chats", { ...wanted, title: "Other" }));
  const group = `/api/chats/${json.id}`;
  await ok(alice.get(group));
  await ok(alice.call("PATCH", group, { title: "Biking" }));
  await ok(alice.post(`${group}/members`, { userIds: ["carol"] }));
  await expectStatus(403, bob.post(`${group}/members/remove`, { userIds: ["carol"] }));
  await ok(alice.post(`${group}/members/remove`, { userIds: ["carol"] }));
  await expectStatus(409, alice.post(`${group}/decline`));
  const members = await ok(alice.get(`${group}/members?limit=1`));
  await ok(alice.get(`${group}/members?cursor=${members.json.nextCursor}`));
  await done(alice.post(`${group}/leave`));
  await expectStatus(404, alice.post("/api/chats", wanted));
  await ok(alice.get("/api/chats?limit=1"));
});

test("preferences and browsers", async () => {
  await ok(alice.get("/api/preferences"));
  const preferences = { types: { "*": { push: false }, like: {} }, mutedChats: { [ID]: null } };
  const quietHours = { from: "22:00", to: "07:00", timeZone: "Europe/Berlin", days: [1, 7] };
  await ok(alice.call("PUT", "/api/preferences", { ...preferences, quietHours }));
  await ok(alice.call("PUT", "/api/preferences", {}));
  await ok(alice.get("/api/push/key"));
  const [example] = bodiesOf(operation("subscribe"));
  const { json } = await expectStatus(201, alice.post("/api/push/subscriptions", example));
  const { endpoint, keys } = example as { endpoint: string; keys: object };
  await expectStatus(409, bob.post("/api/push/subscriptions", { endpoint, keys: { ...keys, auth: "A".repeat(22) } }));
  await done(alice.delete(`/api/push/subscriptions/${json.id}`));
});

test("administrators look, revoke and erase", async () => {
  await ok(anonymous.get("/health"));
  expect((await ok(anonymous.get("/openapi.json"))).json).toEqual(
    JSON.parse(readFileSync(new URL("docs/openapi.json", root), "utf8")),
  );
  await ok(admin.get("/metrics"));
  await ok(admin.get("/api/notifications/metrics/redis"));
  await done(admin.post("/api/users/revoke", { userId: "mallory" }));
  const { json } = await expectStatus(202, admin.post("/api/users/erase", { userId: "mallory" }));
  expect(json).toEqual({ complete: true });
});

const hasPython = spawnSync("python3", ["-c", "import sqlite3"]).status === 0;
if (!hasPython) console.log("skipped: dead letters (python3 with sqlite3 is missing)");

test.runIf(hasPython)("dead letters are redriven and discarded", async () => {
  // Nothing that works leaves any.
  const insert = `import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30)
for user, payload in ((None, "x"), ("alice", None)):
    db.execute("INSERT INTO dead_letters VALUES (?, NULL, ?, ?, NULL, 0, ?, 'a test', 3, 1)",
        (os.urandom(16), user, user and os.urandom(16), payload))
db.commit()`;
  execFileSync("python3", ["-c", insert, join(gateway.data, "carillon.db")]);
  const { json } = await ok(admin.get("/api/dead-letters?limit=1"));
  const rest = await ok(admin.get(`/api/dead-letters?cursor=${json.nextCursor}`));
  const letters: { id: string; userId: string | null }[] = [...json.items, ...rest.json.items];
  const [held, push] = [null, "alice"].map((userId) => letters.find((letter) => letter.userId === userId)?.id);
  await expectStatus(202, admin.post(`/api/dead-letters/${push}/redrive`));
  await expectStatus(409, admin.post(`/api/dead-letters/${held}/redrive`));
  await done(admin.delete(`/api/dead-letters/${held}`));
});

test("everything can be tried out, where that is allowed", async () => {
  await ok(admin.get("/api/test/redis-notification"));
  await expectStatus(202, admin.post("/api/test/redis-notification"));
  await expectStatus(202, admin.post("/api/notifications/test", { type: "like", title: "Hi" }));
  await expectStatus(202, admin.post("/api/test/sse-notification", { userId: "alice" }));
  for (const [id, body] of [
    ["trySend", { type: "once" }],
    ["trySendAs", { type: "once", title: "Hi" }],
  ] as const) {
    await admin.post(operation(id).path, body);
    await expectStatus(429, admin.post(operation(id).path, body));
    const key = { headers: { "idempotency-key": id } };
    await admin.post(operation(id).path, { ...body, type: "like" }, key);
    await expectStatus(422, admin.post(operation(id).path, { ...body, type: "other" }, key));
  }
  for (const more of ["", "/page.js", "/page.css", "/push-worker.js"])
    await ok(anonymous.get(`/test/redis-notification${more}`));
});

test("another deployment has no test endpoints, and tight limits", async () => {
  const other = await Gateway.start({ ENABLE_TEST_ENDPOINTS: "false", RATE_LIMIT_CHAT: "1/60s" });
  const operator = Caller.as(other, "operator", "notify:admin");
  for (const { method, path } of operations.filter(({ tags }) => tags.includes("trial")))
    await expectStatus(404, operator.call(method, path));
  const { json } = await operator.post("/api/chats", { kind: "group", participantIds: ["alice"] });
  for (const [path, body] of [
    ["/api/chats", { kind: "group", participantIds: ["bob"] }],
    [`/api/chats/${json.id}/members`, { userIds: ["bob"] }],
    [`/api/chats/${json.id}/messages`, { clientId: "1", body: "Hi" }],
  ] as const)
    await expectStatus(429, operator.post(path, body));
  await other.stop();
  others.push(other.proxy.seen);
});

/** What other gateways were asked. */
const others: Seen[] = [];

const filled = ({ path }: Operation): string => path.replace(/\{\w+\}/, ID);
const documents = ({ responses }: Operation, status: number): boolean => responses[status] !== undefined;
/** Who may call it. */
function allowed({ security }: Operation): Caller {
  const scopes = security[0]?.["bearer"] ?? [];
  return scopes.length > 0 ? Caller.as(gateway, "someone", ...scopes) : alice;
}

test.for(operations)("$id refuses what is wrong with every call", async (operation) => {
  const { method, security } = operation;
  const path = filled(operation);
  const caller = allowed(operation);
  const required = operation.parameters.filter(({ required, ...parameter }) => required && parameter.in === "query");
  const query = required.map(({ name }) => `${name}=x`).join("&");
  const faults: [number, () => Promise<Answer>][] = [
    [401, () => anonymous.call(method, path)],
    [403, () => alice.call(method, path)],
    [404, () => caller.call(method, `${path}${query && "?"}${query}`, bodiesOf(operation)[0])],
    [415, () => caller.call(method, path, undefined, { text: "x", headers: { "content-type": "text/plain" } })],
    [413, () => caller.call(method, path, undefined, { text: " ".repeat(256 * 1_024 + 1) })],
    [400, () => caller.call(method, path, undefined, method === "GET" ? {} : { text: "{" })],
    [422, () => caller.call(method, `${path}?unexpected=1`, bodiesOf(operation)[0])],
  ];
  for (const [status, call] of faults) {
    const hasCause =
      (status !== 403 || security.some((schemes) => schemes["bearer"]?.length)) &&
      (status !== 404 || path.includes(ID)) &&
      (status !== 400 || method !== "GET");
    if (hasCause && documents(operation, status)) await expectStatus(status, call());
  }
  if (method === "GET" && documents(operation, 400)) {
    const name = operation.parameters.find(({ name }) => name === "since" || name === "cursor")?.name;
    await expectStatus(400, caller.get(`${path}?${name}=!`));
  }
});

test("each path has exactly the documented methods", async () => {
  for (const path of new Set(operations.map(({ path }) => path))) {
    const own = operations.filter((operation) => operation.path === path);
    const { status, headers } = await admin.call("PROPFIND", filled(own[0] as Operation));
    expect([path, status, headers.get("allow")?.split(", ").sort()]).toEqual([
      path,
      405,
      own.map(({ method }) => method).sort(),
    ]);
  }
});

const withBodies = operations.filter(({ body }) => body);

test.for(withBodies)("the gateway admits the body of $id if and only if the document does", async (operation) => {
  const scopes = operation.security.flatMap((schemes) => schemes["bearer"] ?? []);
  const caller = Caller.as(gateway, "mutator", ...new Set(scopes));
  // Something of the caller's own, so that only the body decides.
  const { json } = await shop.post("/api/notifications/send", send({ userIds: ["mutator"] }));
  const chat = await caller.post("/api/chats", { kind: "group", participantIds: ["x"] });
  const id = operation.path.includes("chats") ? chat.json.id : json.notifications[0].id;
  const path = operation.path.replace("{id}", id);
  const bodies = [...variants(operation)];
  const compared = async (body: Json): Promise<string[]> => {
    const { status, text } = await caller.call(operation.method, path, body);
    const isAdmitted = ![400, 413, 422].includes(status) || text.includes("idempotency_key_reused");
    const problem = bodyProblem(operation, body);
    if (isAdmitted === (problem === undefined) || isInexpressible(text)) return [];
    return [`${JSON.stringify(body).slice(0, 300)}: ${status} ${text.slice(0, 200)}, and ${problem ?? "documented"}`];
  };
  const different: string[] = [];
  while (bodies.length > 0) {
    const some = await Promise.all(bodies.splice(0, 32).map(compared));
    different.push(...some.flat());
  }
  expect(different).toEqual([]);
});

test("every documented answer was seen, and is refused once a member is missing or unknown", async () => {
  const statuses = (id: string): Set<string> => {
    const all = [gateway.proxy.seen, ...others].flatMap((seen) => seen.get(id) ?? []);
    return new Set(all.map(({ status }) => String(status)));
  };
  const all = operations.flatMap(({ id, responses }) => Object.keys(responses).map((status) => `${id} ${status}`));
  const unseen = (): string[] =>
    operations.flatMap(({ id, responses }) =>
      Object.keys(responses).flatMap((status) => (statuses(id).has(status) ? [] : [`${id} ${status}`])),
    );
  const skipped = hasPython ? [] : ["redriveDeadLetter 202", "discardDeadLetter 204"];
  await vi.waitFor(
    () => expect(unseen().filter((name) => !UNSEEN.test(name) && !skipped.includes(name))).toEqual([]),
    5_000,
  );
  console.log(
    `${operations.length} operations; ${all.length - unseen().length} of ${all.length} documented answers were seen, not:`,
  );
  console.log(
    unseen()
      .filter((name) => !/(500|503|default)$/.test(name))
      .join(", "),
  );

  // Another standard says what a description may contain.
  const own = operations.filter(({ id }) => id !== "describe");
  const tolerated = own.flatMap(({ id, responses }) =>
    (gateway.proxy.seen.get(id) ?? []).flatMap(({ status, answer, answerHeaders }) => {
      const schema = responses[status]?.content?.["application/json"]?.schema;
      if (!schema || !answerHeaders["content-type"]?.startsWith("application/json")) return [];
      const value = JSON.parse(answer);
      return variations(value).flatMap(([change, varied]) =>
        mismatch(schema, varied) === undefined ? [`${id} ${status}: ${change}`] : [],
      );
    }),
  );
  expect([...new Set(tolerated)].sort()).toEqual(OPTIONAL);
});

/** What answers may leave out. */
const OPTIONAL = [
  "setPreferences 200: without quietHours.days",
  "setPreferences 200: without types.*.push",
  "setPreferences 200: without types.*.realtime",
];

/** The value with a member less or more, at each place that the API defines. */
function variations(value: unknown, path = ""): [string, unknown][] {
  if (Array.isArray(value)) {
    const [first, ...rest] = value;
    return first === undefined ? [] : variations(first, `${path}[]`).map(([change, item]) => [change, [item, ...rest]]);
  }
  if (typeof value !== "object" || value === null) return [];
  const members = Object.entries(value);
  // Maps, whose names the API does not define.
  const isMap = /(^|\.)(data|types|mutedChats)$/.test(path) || (path === "chats" && !Array.isArray(value));
  const inside = members.flatMap(([name, member]) =>
    variations(member, [path, isMap ? "*" : name].filter(Boolean).join(".")).map(
      ([change, varied]): [string, unknown] => [change, { ...value, [name]: varied }],
    ),
  );
  if (/(^|\.)data(\.|$)/.test(path)) return [];
  if (isMap) return inside;
  const without = members.map(([name]): [string, unknown] => [
    `without ${path ? `${path}.` : ""}${name}`,
    Object.fromEntries(members.filter(([other]) => other !== name)),
  ]);
  return [[`with ${path}.unexpected`, { ...value, unexpected: 1 }], ...without, ...inside];
}
