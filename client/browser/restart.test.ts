// The gateway dies and comes back under an open page.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Stage } from "./stage.js";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.set();
});
afterEach(() => stage.clear());
afterAll(() => stage.strike());

test("a gateway that is killed and started again loses and doubles nothing", async () => {
  const alice = stage.user("alice");
  const first = await stage.visit(alice);
  const second = await first.nextTab();
  const ids: string[] = [];
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 5; n++) ids.push(...(await stage.gateway.send({ userIds: [alice], title: `${round} ${n}` })));
    await stage.gateway.kill();
    await first.is("Offline");
    await stage.gateway.start();
    // Before the page is back as well as after.
    ids.push(...(await stage.gateway.send({ userIds: [alice], title: `${round} after` })));
    for (const tab of [first, second]) {
      await tab.is("Connected");
      await tab.shows(ids);
      await tab.countsUnread(ids.length);
      expect(await tab.toldAtMost()).toBe(1);
    }
  }
});
