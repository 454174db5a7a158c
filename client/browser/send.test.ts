// The form, and what it says about each answer.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Stage } from "./stage.js";

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.set({ RATE_LIMIT_SEND_TYPES: "rare=1/60s" });
});
afterEach(() => stage.clear());
afterAll(() => stage.strike());

test("the form sends to everybody it names, with type and priority", async () => {
  const [alice, bob] = [stage.user("alice"), stage.user("bob")];
  const hers = await stage.visit(alice);
  const his = await stage.visit(bob);
  const form = hers.page.getByRole("region", { name: "Send" });
  await form.getByLabel("Type").fill("BUILD_FAILED");
  await form.getByLabel("Users").fill(`${alice}, ${bob}`);
  await form.getByRole("radio", { name: "critical" }).check();
  await form.getByLabel("Title").fill("Build 7 failed");
  await form.getByLabel("Text").fill("3 of 912 tests failed");
  await form.getByRole("button", { name: "Send", exact: true }).click();

  await form.getByText("Notification accepted for 2 of 2").waitFor();
  for (const visit of [hers, his]) {
    await visit.inbox.getByText("Build 7 failed").waitFor();
    await visit.inbox.getByText("3 of 912 tests failed").waitFor();
    await visit.inbox.getByText("critical").waitFor();
    await visit.inbox.getByRole("heading", { name: "Build failed 1" }).waitFor();
    await visit.countsUnread(1);
  }
});

test("a refusal shows code, message, request and member", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  const form = tab.page.getByRole("region", { name: "Send" });
  await form.getByLabel("Link").fill("javascript:alert(1)");
  const [answer] = await Promise.all([
    tab.page.waitForResponse(/\/api\/notifications\/send$/),
    form.getByRole("button", { name: "Send", exact: true }).click(),
  ]);
  const { error } = (await answer.json()) as { error: { message: string; requestId: string } };
  const told = form.getByTestId("failure");
  await told.getByText("422 validation_failed").waitFor();
  await told.getByText(error.message).waitFor();
  await told.getByText(error.requestId).waitFor();
  expect(await form.getByLabel("Link").getAttribute("aria-invalid")).toBe("true");
  await tab.shows([]);
});

test("a limited send says when to try again", async () => {
  const tab = await stage.visit(stage.user("alice"));
  const form = tab.page.getByRole("region", { name: "Send" });
  await form.getByLabel("Type").fill("rare");
  const send = form.getByRole("button", { name: "Send", exact: true });
  await send.click();
  await form.getByText("Notification accepted for 1 of 1").waitFor();
  await send.click();
  await form.getByTestId("failure").getByText("429 rate_limited").waitFor();
  await form.getByText(/^Try again in \d+ s$/).waitFor();
});

test("a send without an answer keeps its key, so that trying again is not sending twice", async () => {
  const alice = stage.user("alice");
  const tab = await stage.visit(alice);
  const form = tab.page.getByRole("region", { name: "Send" });
  const send = form.getByRole("button", { name: "Send", exact: true });
  // The server hears it and stores it; only its answer is lost.
  await tab.page.route(/\/api\/notifications\/send$/, async (route) => {
    await route.fetch();
    await route.abort("connectionreset");
  });
  await send.click();
  await form.getByTestId("failure").getByText("No answer no_answer").waitFor();
  await expect.poll(async () => (await tab.shown()).length).toBe(1);

  await tab.page.unroute(/\/api\/notifications\/send$/);
  await send.click();
  await form.getByText("Notification accepted for 1 of 1").waitFor();
  await tab.shows(await tab.shown());
  expect(await tab.shown()).toHaveLength(1);
});
