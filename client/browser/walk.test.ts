// An operator's walk: docs/operators-walk.md says what the operator does, and this looks at what users and CloudWatch
// see meanwhile. It takes minutes, since a process publishes the metrics of the deployment every 30 s at most.
//
// With WRITE=1 the pictures that it takes become those of the document: `npm run pictures`.

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Locator } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Document, read, root } from "../test/documents/document.js";
import { Reader } from "../test/documents/reader.js";
import { Redis } from "../test/documents/redis.js";
import { breached, publishedSince } from "./alarms.js";
import { PROGRAM } from "./gateway.js";
import { Harness, settled, type Visit } from "./harness.js";
import { Postgres } from "./postgres.js";

const DOCUMENT = "docs/operators-walk.md";
const JWT_SECRET = "operators-walk-operators-walk-32";
const MAX_PICTURE_BYTES = 100 * 1_024;
/** The drain may have published just before, and a process that was frozen may notice late that Redis is back. */
const PUBLISH_MS = 120_000;

let document: Document;
let postgres: Postgres;
let redis: Redis;
let harness: Harness;
let reader: Reader;

/** The sections that were followed, and the pictures that were taken. */
const followed: string[] = [];
const pictures: string[] = [];
/** When the last section began. */
let begunMs = 0;

beforeAll(async () => {
  document = await read(DOCUMENT);
  [postgres, redis] = await Promise.all([Postgres.start(), Redis.start()]);
  const stores = { JWT_SECRET, DATABASE_URL: postgres.url, REDIS_URL: redis.url };
  // Only functions in processes of their own publish metrics, as those in the cloud do.
  harness = await Harness.start({ ...stores, ...document.gateway }, ["--lambda", "spawn"]);
  reader = await Reader.at(harness.gateway.url, {
    ...stores,
    REDIS_PORT: new URL(redis.url).port,
    CARILLON_GATEWAY: PROGRAM,
    PATH: `${postgres.programs}:${process.env["PATH"]}`,
  });
});
afterAll(async () => {
  await reader?.stops();
  await harness?.stop();
  await redis?.stop();
  await postgres?.stop();
});

/** Runs the commands of a section, and compares what they print with what it shows. */
async function follow(section: string): Promise<void> {
  const steps = document.steps.filter((step) => step.section === section);
  expect(steps, section).not.toHaveLength(0);
  begunMs = Date.now();
  for (const step of steps) {
    // The document has the gateway log there.
    await writeFile(join(reader.folder, "carillon.log"), harness.gateway.log);
    await reader.does(step);
  }
  followed.push(section);
}

/** Waits until what is published from the begin of the last section on breaches these alarms, and no others. */
async function breaches(names: readonly string[]): Promise<void> {
  const { gateway } = harness;
  const look = async (): Promise<string[]> => {
    await gateway.drain();
    return breached(publishedSince(begunMs, gateway.log, document.gateway["METRICS_NAMESPACE"] ?? ""));
  };
  await expect.poll(look, { timeout: PUBLISH_MS, interval: 2_000 }).toEqual(names);
}

/** Takes a picture of a part of a page. */
async function picture(name: string, part: Locator): Promise<void> {
  const file = `operators-walk-${name}.png`;
  await settled(part.page());
  const bytes = await part.screenshot({ animations: "disabled" });
  expect(bytes.length).toBeLessThanOrEqual(MAX_PICTURE_BYTES);
  if (process.env["WRITE"] === "1") await writeFile(join(root, "docs", file), bytes);
  pictures.push(file);
}

const visit = (user: string): Promise<Visit> =>
  harness.visit(user, { viewport: { width: 1280, height: 640 }, locale: "en-GB" });

/** Waits until the inbox of a page shows this, and has told of nothing twice. */
async function shows(page: Visit, title: string): Promise<void> {
  await page.inbox.getByRole("listitem").getByText(title, { exact: true }).waitFor();
  expect(await page.maxEventsPerNotification()).toBeLessThanOrEqual(1);
}

test("an operator walks through an outage of Redis and a dead letter", { timeout: 900_000 }, async () => {
  const alice = await visit("alice");
  const metrics = alice.page.getByRole("region", { name: "Metrics" });
  const instance = metrics.getByRole("row").filter({ hasText: "redis-1" });
  const deadLetters = metrics.getByRole("listitem").filter({ hasText: "Dead letters" }).locator(".tile-value");
  await breaches([]);

  await follow("Before you start");
  await follow("A send rings");
  await shows(alice, "Your parcel is on its way");
  await alice.showsUnread(1);
  await instance.getByText(/healthy/).waitFor();
  await picture("rings", alice.inbox);

  await follow("Redis is killed");
  await follow("Sends are still accepted");
  await shows(alice, "Your second parcel is on its way");
  await alice.showsUnread(2);

  await follow("The metrics say what is wrong");
  await metrics.getByText(/^Degraded: /).waitFor();
  await instance.getByText(/^away since /).waitFor();
  await picture("away", metrics);

  await breaches(["Degraded"]);
  await follow("The alarm");
  await follow("Why a notification waits");

  const bob = await visit("bob");
  await shows(bob, "A parcel waits for you");
  await picture("arrives", bob.inbox);
  await bob.button("Mark as read: A parcel waits for you").click();
  const unread = (): Promise<unknown> => harness.gateway.call("bob", "GET", "/api/notifications/unread-count");
  await expect.poll(unread).toEqual({ count: 0 });
  await follow("It arrives from the database");

  await follow("Redis is back");
  await instance.getByText(/healthy/).waitFor();
  await metrics.getByText(/^Degraded: /).waitFor({ state: "detached" });
  await picture("back", metrics);
  await breaches([]);

  await follow("A dead letter");
  await expect.poll(() => deadLetters.textContent()).toBe("1");
  const history = alice.page.getByRole("region", { name: "History" });
  await history.getByText("dead 1").waitFor();
  await picture("dead", history);
  await breaches(["DeadLetters"]);
  expect(await alice.inbox.getByText("Your invoice").count()).toBe(0);

  await follow("It is redriven");
  await shows(alice, "Your invoice");
  await alice.showsUnread(3);
  await expect.poll(() => deadLetters.textContent()).toBe("0");
  await picture("redriven", alice.inbox);
  await breaches([]);

  expect([...alice.errors, ...bob.errors]).toEqual([]);
  expect(followed).toEqual([...new Set(document.steps.map(({ section }) => section))]);
  const text = await readFile(join(root, DOCUMENT), "utf8");
  expect(pictures).toEqual([...text.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)].map(([, file]) => file));
});
