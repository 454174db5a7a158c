// Two browsers talk while the gateway is killed four times: nothing is lost, nothing is doubled, and both show the same.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Panel } from "./chat.js";
import { Harness, type Visit } from "./harness.js";
import { randomFrom } from "./random.js";

const KILLS = 4;
const MESSAGES_BETWEEN_KILLS = 10;

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ RATE_LIMIT_CHAT: "100000/1s" });
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

interface Side {
  readonly visit: Visit;
  readonly panel: Panel;
  readonly said: string[];
}

test.each([1, 20261129])("two browsers with four kills, seed %i", { timeout: 600_000 }, async (seed) => {
  const random = randomFrom(seed);
  const users = [harness.user("alice"), harness.user("bob")] as const;
  const chatId = await harness.chat(...users);
  const sides: Side[] = [];
  for (const user of users) {
    const visit = await harness.visit(user, { viewport: { width: 1_280, height: 900 } });
    const panel = Panel.of(visit, user);
    await panel.open(user === users[0] ? users[1] : users[0]);
    sides.push({ visit, panel, said: [] });
  }
  const [alice, bob] = sides as [Side, Side];

  async function write({ panel, said }: Side): Promise<void> {
    const text = `${panel.user} ${said.length + 1}.`;
    said.push(text);
    await panel.write(text);
  }

  for (let kill = 0; kill < KILLS; kill++) {
    for (let n = 0; n < MESSAGES_BETWEEN_KILLS; n++) await write(random(2) === 0 ? alice : bob);
    // In the middle of messages that are on their way.
    const writing = [write(alice), write(bob)];
    await new Promise((resolve) => setTimeout(resolve, random(30)));
    await harness.gateway.kill();
    await Promise.all(writing);
    await write(alice);
    if (random(2) === 0) await write(bob);
    await new Promise((resolve) => setTimeout(resolve, random(3_000)));
    await harness.gateway.start();
    // What has no answer yet is kept over a reload.
    if (kill === 1) {
      await alice.visit.page.reload();
      await alice.panel.open(users[1]);
    }
    await write(bob);
  }

  const all = [...alice.said, ...bob.said].sort();
  for (const { panel, visit } of sides) {
    await visit.showsStatus("Connected");
    await expect.poll(async () => (await panel.texts()).sort()).toEqual(all);
    await expect.poll(() => panel.root.locator("[data-state=sending]").count()).toBe(0);
    expect(visit.errors).toEqual([]);
  }
  const shown = await alice.panel.texts();
  await bob.panel.shows(shown);
  // Each one's messages are in the order in which they were written, and the record has what both show.
  for (const { said, panel } of sides) expect(shown.filter((text) => text.startsWith(panel.user))).toEqual(said);
  const stored = await harness.gateway.call(users[0], "GET", `/api/chats/${chatId}/messages?limit=200`);
  expect((stored as { items: { body: string }[] }).items.map(({ body }) => body)).toEqual(shown);
});
