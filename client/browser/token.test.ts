// Where no gateway signs tokens, one is pasted.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Stage } from "./stage.js";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.set();
});
afterEach(() => stage.clear());
afterAll(() => stage.strike());

test("a pasted token decides whose inbox it is, lasts for the tab, and can be given back", async () => {
  const alice = stage.user("alice");
  const { page, ...rest } = await stage.visit(stage.user("nobody")).then((visit) => ({ page: visit.page, visit }));
  const token = await stage.gateway.token(alice);
  await page.route(/\/_gateway\//, (route) => route.fulfill({ status: 404, json: {} }));
  await page.evaluate(() => sessionStorage.clear());
  await page.reload();

  const field = page.getByLabel("Bearer token");
  await field.fill("not a token");
  await page.getByRole("button", { name: "Use this token" }).click();
  await page.getByRole("alert").waitFor();
  await field.fill(`Bearer ${token}`);
  await page.getByRole("button", { name: "Use this token" }).click();
  await rest.visit.is("Connected");
  await page.getByRole("heading", { name: `Inbox of ${alice}` }).waitFor();
  await rest.visit.shows(await stage.gateway.send({ userIds: [alice], title: "Hello" }));

  await page.reload();
  await rest.visit.is("Connected");
  await page.getByRole("button", { name: "Use another token" }).click();
  await field.waitFor();
  expect(await page.evaluate(() => JSON.stringify(sessionStorage))).not.toContain(token);
});
