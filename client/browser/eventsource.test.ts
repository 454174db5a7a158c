// The browser's own EventSource on the page's origin. It sends no headers, so each stream begins with a new ticket and the
// position of the last event.

import type { Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness } from "./harness.js";
import { randomFrom } from "./random.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

/** What the script in the page has heard. */
interface Heard {
  readonly titles: readonly string[];
  /** From which position to which each event with a cursor leads. */
  readonly steps: readonly (readonly [prev: string, cursor: string])[];
  readonly streams: number;
  readonly isOpen: boolean;
}

/** Runs in the page: listens for good, with a new stream after each end. */
function listen(token: string): void {
  const heard = { titles: [] as string[], steps: [] as [string, string][], streams: 0, isOpen: false };
  Object.assign(globalThis, { heard });
  let since = "";
  const open = async (): Promise<void> => {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch("/api/ws/ticket", { method: "POST", headers });
    const { ticket } = (await response.json()) as { ticket: string };
    const query = new URLSearchParams({ ticket, ...(since !== "" && { since }) });
    const source = new EventSource(`/api/events?${query}`);
    const again = (): void => {
      source.close();
      heard.isOpen = false;
      setTimeout(() => open().catch(again), 200);
    };
    source.onopen = () => {
      heard.streams++;
      heard.isOpen = true;
    };
    source.onmessage = ({ data, lastEventId }) => {
      const event = JSON.parse(data) as {
        type: string;
        prev?: string;
        cursor?: string;
        notification?: { title: string };
      };
      if (event.prev && event.cursor) heard.steps.push([event.prev, event.cursor]);
      if (event.type === "notification" && event.notification) heard.titles.push(event.notification.title);
      // Before the first event that has a position, the pong tells it.
      since = lastEventId || since || (event.type === "pong" ? (event.cursor ?? "") : "");
      if (event.type === "reconnect") again();
    };
    // It would come back with the ticket that has been used.
    source.onerror = again;
  };
  void open();
}

const heard = (page: Page): Promise<Heard> => page.evaluate(() => (globalThis as unknown as { heard: Heard }).heard);

test("the browser's own EventSource resumes through kills of the gateway, without loss or doubling", async () => {
  const alice = harness.user("alice");
  const { page } = await harness.visit(alice);
  await page.evaluate(listen, await harness.gateway.token(alice));
  const sent: string[] = [];
  const send = async (title: string): Promise<void> => {
    sent.push(title);
    await harness.gateway.send({ userIds: [alice], title });
  };
  const isOpen = (): Promise<void> => expect.poll(async () => (await heard(page)).isOpen).toBe(true) as Promise<void>;
  const hears = (): Promise<void> => expect.poll(async () => (await heard(page)).titles).toEqual(sent) as Promise<void>;

  await isOpen();
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 3; n++) await send(`${round} ${n}`);
    await hears();
    await harness.gateway.kill();
    await expect.poll(async () => (await heard(page)).isOpen).toBe(false);
    await harness.gateway.start();
    // This one may come before or after the stream is open again.
    await send(`${round} meanwhile`);
    await hears();
    await isOpen();
  }
  expect((await heard(page)).streams).toBe(4);
});

/** Sends until there is an answer: whether a killed gateway accepted it is unknown, so the key stays the same. */
async function sendAgain(user: string, title: string): Promise<void> {
  const idempotencyKey = `${user}-${title}`;
  for (;;) {
    try {
      await harness.gateway.call("shop", "POST", "/api/notifications/send", {
        type: "NEWS",
        userIds: [user],
        title,
        idempotencyKey,
      });
      return;
    } catch (thrown) {
      if (!(thrown instanceof TypeError)) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

test.each([1, 20261129])("cuts of the network and kills amid sends lose and double nothing, seed %i", async (seed) => {
  const { gateway } = harness;
  const alice = harness.user("alice");
  const random = randomFrom(seed);
  const { page } = await harness.visit(harness.user("host"));
  const pause = (below: number): Promise<void> => page.waitForTimeout(random(below));
  await page.evaluate(listen, await gateway.token(alice));
  await expect.poll(async () => (await heard(page)).isOpen).toBe(true);
  // Without a position a stream begins at the head, so the first one must have told where that is.
  await sendAgain(alice, "0");
  await expect.poll(async () => (await heard(page)).titles).toEqual(["0"]);

  for (let n = 1; n <= 60; n++) {
    const sending = sendAgain(alice, String(n));
    if (n % 15 === 0) {
      await pause(20);
      await gateway.kill();
      await pause(500);
      await gateway.start();
    } else if (random(3) === 0) {
      await pause(20);
      gateway.network.cut();
      await pause(100);
      gateway.network.restore();
    }
    await sending;
    await pause(150);
  }

  const wanted = Array.from({ length: 61 }, (_, n) => String(n));
  await expect.poll(async () => (await heard(page)).titles).toEqual(wanted);
  const { steps, streams } = await heard(page);
  expect(steps.slice(1).map(([prev]) => prev)).toEqual(steps.slice(0, -1).map(([, cursor]) => cursor));
  expect(streams).toBeGreaterThan(5);
});
