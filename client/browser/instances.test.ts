// The page on three instances of Redis, of which one is killed and comes back while services send.

import { setTimeout as sleep } from "node:timers/promises";
import type { Locator } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test } from "vitest";
import { Redis } from "../test/documents/redis.js";
import type { Gateway } from "./gateway.js";
import { Harness, type Visit } from "./harness.js";
import { Postgres } from "./postgres.js";

/** Together they send every 40 ms or so. More at once could use up the database connections on a slow machine. */
const SERVICES = 4;
const PAUSE_MS = 150;
/** The other recipients. Each has a limit of its own, so that sends depend on all instances. */
const OTHERS = 30;
/** At least so many sends are accepted in each state of the instances. */
const SENDS_MEANWHILE = 50;
/** A killed instance delays a send by some milliseconds. The rest is for a slow machine. */
const MAX_SEND_MS = 5_000;
/** How long an instance that is back is watched before it gets its share again: `WATCHED` of the server. */
const WATCHED_MS = 5_000;

let postgres: Postgres;
let harness: Harness;
const redis: Redis[] = [];
beforeAll(async () => {
  postgres = await Postgres.start();
  // One after the other, so that no two of them get the same port.
  for (let n = 0; n < 3; n++) redis.push(await Redis.start());
  // All functions run in one process, so what the page shows of its calls to Redis includes those of sends.
  harness = await Harness.start({ DATABASE_URL: postgres.url, REDIS_URLS: redis.map(({ url }) => url).join() });
});
afterEach(() => harness.reset());
afterAll(async () => {
  await harness?.stop();
  for (const one of redis) await one.stop();
  await postgres?.stop();
});

/** Services that send to a user, and each time to one of the others, until they are stopped. */
class Services {
  /** The ids of what was accepted for the user. */
  readonly accepted: string[] = [];
  /** What was answered to any other send, or why there was no answer. */
  readonly refused: string[] = [];
  /** How long each answer took. */
  readonly tookMs: number[] = [];
  readonly #gateway: Gateway;
  readonly #user: string;
  #running: Promise<void>[] = [];
  #isStopped = false;

  constructor(gateway: Gateway, user: string) {
    this.#gateway = gateway;
    this.#user = user;
  }

  async start(): Promise<void> {
    const token = await this.#gateway.token("shop");
    for (let n = 0; n < SERVICES; n++) this.#running.push(this.#run(token, n));
  }

  /** Returns once everything is answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#running);
  }

  /** Waits until some more were accepted. Fails with the first that was refused. */
  async goOn(): Promise<void> {
    const wanted = this.accepted.length + SENDS_MEANWHILE;
    await expect.poll(() => this.refused.length > 0 || this.accepted.length >= wanted).toBe(true);
    expect(this.refused).toEqual([]);
  }

  async #run(token: string, first: number): Promise<void> {
    for (let n = first; !this.#isStopped; n += SERVICES) {
      await this.#send(token, n);
      await sleep(PAUSE_MS);
    }
  }

  async #send(token: string, n: number): Promise<void> {
    const send = { type: "NEWS", userIds: [this.#user, `other-${n % OTHERS}`], title: `Number ${n}` };
    const begunMs = performance.now();
    try {
      const response = await this.#gateway.request(token, "POST", "/api/notifications/send", send);
      const text = await response.text();
      // A 202 may still refuse one of the two recipients.
      if (response.status !== 202 || text.includes('"rate_limited"')) {
        this.refused.push(`${response.status} ${text}`);
      } else {
        this.accepted.push((JSON.parse(text) as { notifications: [{ id: string }] }).notifications[0].id);
      }
    } catch (thrown) {
      this.refused.push(`no answer: ${thrown}`);
    }
    this.tookMs.push(performance.now() - begunMs);
  }
}

/** A row of the table of instances. */
interface Instance {
  readonly name: string;
  readonly state: string;
  readonly breaker: string;
  readonly percent: number;
  readonly operations: number;
}

/** The table of instances on the page. */
class Table {
  readonly #rows: Locator;

  constructor(tab: Visit) {
    this.#rows = tab.page.getByRole("region", { name: "Redis instances" }).locator("tbody tr");
  }

  /** Waits until it shows this, and returns what it shows. */
  async shows(expected: readonly object[]): Promise<Instance[]> {
    let shown: Instance[] = [];
    const look = async (): Promise<Instance[]> => {
      shown = await this.#read();
      return shown;
    };
    await expect.poll(look).toMatchObject(expected);
    return shown;
  }

  /** All rows, as of one moment. */
  async #read(): Promise<Instance[]> {
    const cells = await this.#rows.evaluateAll((rows) =>
      rows.map((row) => Array.from(row.children, (cell) => (cell.textContent ?? "").trim())),
    );
    return cells.map(([head = "", breaker = "", share = "", operations = ""]) => {
      const [name = "", ...state] = head.split(" ");
      return { name, state: state.join(" "), breaker, percent: figure(share), operations: figure(operations) };
    });
  }
}

/** What the bell says. */
async function unread(tab: Visit): Promise<number> {
  return figure((await tab.bell.getAttribute("aria-label")) ?? "");
}

/** The number in a text such as `1,234 unread`; 0 without one. */
function figure(text: string): number {
  return Number(text.replace(/\D/g, ""));
}

/** The ids of a whole inbox, page by page. */
async function inboxOf(user: string): Promise<string[]> {
  const ids: string[] = [];
  let query = "limit=200";
  for (;;) {
    const page = await harness.gateway.call(user, "GET", `/api/notifications?${query}`);
    const { items, nextCursor } = page as { items: { id: string }[]; nextCursor: string | null };
    ids.push(...items.map(({ id }) => id));
    if (nextCursor === null) return ids;
    query = `limit=200&cursor=${encodeURIComponent(nextCursor)}`;
  }
}

/** What the table says of an instance. The reason of its last failure stays after it has come back. */
const HEALTHY = { state: expect.stringMatching(/^primary healthy/), breaker: "closed" };
const AWAY = {
  state: expect.stringMatching(/^away since \d.*: connection refused$/),
  breaker: expect.stringMatching(/^(open|probing)$/),
};
/** Partitions are divided by a hash of the addresses, so the shares differ a little from run to run. */
const A_THIRD = expect.toSatisfy((percent: number) => percent >= 25 && percent <= 42);
const above = (least: number): unknown => expect.toSatisfy((value: number) => value > least);

test("the page shows three instances, one of them killed and back, while sends go on with no refusal", {
  timeout: 300_000,
}, async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const table = new Table(tab);
  let reloads = 0;
  tab.page.on("load", () => {
    reloads++;
  });
  const services = new Services(harness.gateway, alice);
  onTestFinished(() => services.stop());
  await services.start();
  /** Waits until the page has counted what has been accepted until now. */
  const keepsUp = async (): Promise<void> => {
    const accepted = services.accepted.length;
    await expect.poll(() => unread(tab)).toBeGreaterThanOrEqual(accepted);
  };

  const healthy = ["redis-1", "redis-2", "redis-3"].map((name) => ({ name, ...HEALTHY }));
  const before = await table.shows(healthy.map((one) => ({ ...one, percent: A_THIRD })));
  await services.goOn();
  await table.shows(before.map(({ operations }) => ({ ...HEALTHY, operations: above(operations) })));
  await keepsUp();

  const killed = redis[1] as Redis;
  await killed.kill();
  const meanwhile = await table.shows(
    before.map(({ name, percent, operations }) =>
      name === "redis-2"
        ? { name, ...AWAY, percent: 0 }
        : { name, ...HEALTHY, percent: above(percent), operations: above(operations) },
    ),
  );
  await services.goOn();
  await keepsUp();

  const startedMs = Date.now();
  await killed.start();
  await table.shows(healthy);
  await table.shows(before.map(({ name, percent }) => ({ name, ...HEALTHY, percent })));
  expect(Date.now() - startedMs).toBeGreaterThanOrEqual(WATCHED_MS);
  await services.goOn();
  await table.shows(meanwhile.map(({ operations }) => ({ ...HEALTHY, operations: above(operations) })));
  await keepsUp();

  await services.stop();
  expect(services.refused).toEqual([]);
  expect(Math.max(...services.tookMs)).toBeLessThan(MAX_SEND_MS);
  await expect.poll(() => unread(tab)).toBe(services.accepted.length);
  await tab.letsGo();
  await tab.row(services.accepted.at(-1) ?? "").waitFor();
  expect((await inboxOf(alice)).sort()).toEqual([...services.accepted].sort());
  expect(await tab.maxEventsPerNotification()).toBeLessThanOrEqual(1);
  expect(reloads).toBe(0);
  expect(tab.errors).toEqual([]);
});
