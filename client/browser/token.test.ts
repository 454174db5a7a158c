// If no gateway signs tokens, the user pastes one.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

test("a pasted token decides which inbox is shown, lasts for the tab, and can be removed", async () => {
  const alice = harness.user("alice");
  const { page, ...rest } = await harness.visit(harness.user("other")).then((visit) => ({ page: visit.page, visit }));
  const token = await harness.gateway.token(alice);
  await page.route(/\/_gateway\//, (route) => route.fulfill({ status: 404, json: {} }));
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();

  const field = page.getByLabel("Bearer token");
  await field.fill("not a token");
  await page.getByRole("button", { name: "Use this token" }).click();
  await page.getByRole("alert").waitFor();
  await field.fill(`Bearer ${token}`);
  await page.getByRole("button", { name: "Use this token" }).click();
  await rest.visit.showsStatus("Connected");
  await page.getByRole("heading", { name: `Inbox of ${alice}` }).waitFor();
  await rest.visit.shows(await harness.gateway.send({ userIds: [alice], title: "Hello" }));

  await page.reload();
  await rest.visit.showsStatus("Connected");
  await page.getByRole("button", { name: "Use another token" }).click();
  await field.waitFor();
  await expect.poll(() => page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain(token);
});
