// Six tabs that act at random while the gateway is killed four times: nothing is lost, and nothing is doubled.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness, type Visit } from "./harness.js";
import { randomFrom } from "./random.js";

const TABS = 6;
const KILLS = 4;
const STEPS_BETWEEN_KILLS = 12;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

/** What a correct inbox holds at the end. */
interface Expected {
  readonly id: string;
  readonly title: string;
  isRead: boolean;
  isDeleted: boolean;
  /** Each notification is changed at most once, because two offline changes have no order. */
  isChanged: boolean;
}

class Run {
  readonly expected: Expected[] = [];
  readonly tabs: Visit[] = [];
  readonly #user: string;
  readonly #random: (below: number) => number;

  constructor(user: string, seed: number) {
    this.#user = user;
    this.#random = randomFrom(seed);
  }

  async open(): Promise<void> {
    const first = await harness.visit(this.#user);
    this.tabs.push(first);
    while (this.tabs.length < TABS) this.tabs.push(await first.openTab());
  }

  async send(): Promise<void> {
    const title = `Number ${this.expected.length + 1}`;
    const send = {
      type: "NEWS",
      userIds: [this.#user],
      title,
      idempotencyKey: `${this.#user} ${title}`.replace(/ /g, "-"),
    };
    for (;;) {
      try {
        const sent = await harness.gateway.call("shop", "POST", "/api/notifications/send", send);
        const [{ id }] = (sent as { notifications: [{ id: string }] }).notifications;
        this.expected.push({ id, title, isRead: false, isDeleted: false, isChanged: false });
        return;
      } catch (thrown) {
        // No answer: the gateway was killed. Whether it accepted the send is unknown, so it is repeated with its key.
        if (!(thrown instanceof TypeError)) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
  }

  async change(): Promise<void> {
    const open = this.expected.filter(({ isChanged }) => !isChanged);
    const tab = this.pick(this.tabs);
    const one = open.length > 0 ? this.pick(open) : undefined;
    // A tab may not have heard of it yet.
    if (!one || !(await tab.shownIds()).includes(one.id)) return;
    one.isChanged = true;
    if (this.#random(2) === 0) {
      one.isRead = true;
      await tab.button(`Mark as read: ${one.title}`).click();
    } else {
      one.isDeleted = true;
      await tab.button(`Delete: ${one.title}`).click();
    }
  }

  /** Closes a tab, often the leader, and opens another. */
  async replaceTab(): Promise<void> {
    const index = this.#random(TABS);
    const tab = this.tabs[index];
    const other = this.tabs[(index + 1) % TABS];
    if (!tab || !other) throw new Error("a tab is missing");
    await this.settle();
    await tab.page.close();
    this.tabs[index] = await other.openTab();
  }

  async step(): Promise<void> {
    const dice = this.#random(10);
    if (dice < 6) await this.send();
    else if (dice < 9) await this.change();
    else await this.replaceTab();
  }

  /** Kills the gateway in the middle of a send, lets the tabs change something meanwhile, and starts it again. */
  async kill(): Promise<void> {
    const sending = this.send();
    await new Promise((resolve) => setTimeout(resolve, this.#random(20)));
    await harness.gateway.kill();
    await this.change();
    await this.change();
    await new Promise((resolve) => setTimeout(resolve, this.#random(3_000)));
    await harness.gateway.start();
    await sending;
  }

  /** Waits until the changes have been answered: a closed tab takes its unanswered ones with it. */
  async settle(): Promise<void> {
    const wanted = this.expected
      .filter(({ isDeleted }) => !isDeleted)
      .map(({ id, isRead }) => `${id} ${isRead}`)
      .sort();
    await expect
      .poll(async () => {
        const list = await harness.gateway.call(this.#user, "GET", "/api/notifications?limit=200");
        const { items } = list as { items: { id: string; readAt: string | null }[] };
        return items.map(({ id, readAt }) => `${id} ${readAt !== null}`).sort();
      })
      .toEqual(wanted);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.#random(from.length)] as T;
  }
}

test.each([1, 20261128])("six tabs at random with four kills, seed %i", { timeout: 600_000 }, async (seed) => {
  const run = new Run(harness.user("alice"), seed);
  await run.open();
  for (let kill = 0; kill < KILLS; kill++) {
    for (let step = 0; step < STEPS_BETWEEN_KILLS; step++) await run.step();
    await run.kill();
    await run.settle();
  }
  await run.send();

  const kept = run.expected.filter(({ isDeleted }) => !isDeleted);
  for (const tab of run.tabs) {
    await tab.showsStatus("Connected");
    await tab.letsGo();
    await tab.shows(kept.map(({ id }) => id));
    await tab.showsUnread(kept.filter(({ isRead }) => !isRead).length);
    expect(await tab.maxEventsPerNotification()).toBeLessThanOrEqual(1);
    expect(tab.errors).toEqual([]);
  }
  // Meanwhile polling may have kept the tabs connected.
  await expect.poll(() => harness.gateway.network.openSockets).toBe(1);
});
