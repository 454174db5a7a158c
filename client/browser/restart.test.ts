// An open page while the gateway is killed and restarted.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

test("a killed and restarted gateway loses no notification and shows none twice", async () => {
  const alice = harness.user("alice");
  const first = await harness.visit(alice);
  const second = await first.openTab();
  const ids: string[] = [];
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 5; n++) ids.push(...(await harness.gateway.send({ userIds: [alice], title: `${round} ${n}` })));
    await harness.gateway.kill();
    await first.showsStatus("Offline");
    await harness.gateway.start();
    // This send may come before or after the page has reconnected.
    ids.push(...(await harness.gateway.send({ userIds: [alice], title: `${round} after` })));
    for (const tab of [first, second]) {
      await tab.showsStatus("Connected");
      await tab.shows(ids);
      await tab.showsUnread(ids.length);
      await expect.poll(() => tab.maxEventsPerNotification()).toBe(1);
    }
  }
});
