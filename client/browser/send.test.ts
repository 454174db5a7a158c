// The form, and what it shows for each response.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { Harness } from "./harness.js";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ RATE_LIMIT_SEND_TYPES: "rare=1/60s" });
});
afterEach(() => harness.reset());
afterAll(() => harness.stop());

test("the form sends to all recipients it names, with type and priority", async () => {
  const [alice, bob] = [harness.user("alice"), harness.user("bob")];
  const aliceVisit = await harness.visit(alice);
  const bobVisit = await harness.visit(bob);
  const form = aliceVisit.page.getByRole("region", { name: "Send" });
  await form.getByLabel("Type").fill("BUILD_FAILED");
  await form.getByLabel("Users").fill(`${alice}, ${bob}`);
  await form.getByRole("radio", { name: "critical" }).check();
  await form.getByLabel("Title").fill("Build 7 failed");
  await form.getByLabel("Text").fill("3 of 912 tests failed");
  await form.getByRole("button", { name: "Send", exact: true }).click();

  await form.getByText("Notification accepted for 2 of 2").waitFor();
  for (const visit of [aliceVisit, bobVisit]) {
    // Soon the inbox also announces the title.
    const row = visit.inbox.getByRole("listitem");
    await row.getByText("Build 7 failed").waitFor();
    await row.getByText("3 of 912 tests failed").waitFor();
    await row.getByText("Critical").waitFor();
    await row.getByText("Build failed", { exact: true }).waitFor();
    await visit.showsUnread(1);
  }
});

test("a refusal shows its code, message, request id and field", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const form = tab.page.getByRole("region", { name: "Send" });
  await form.getByLabel("Link").fill("javascript:alert(1)");
  const [response] = await Promise.all([
    tab.page.waitForResponse(/\/api\/notifications\/send$/),
    form.getByRole("button", { name: "Send", exact: true }).click(),
  ]);
  const { error } = (await response.json()) as { error: { message: string; requestId: string } };
  const shown = form.getByTestId("failure");
  await shown.getByText("422 validation_failed").waitFor();
  await shown.getByText(error.message).waitFor();
  await shown.getByText(error.requestId).waitFor();
  await expect.poll(() => form.getByLabel("Link").getAttribute("aria-invalid")).toBe("true");
  await tab.shows([]);
});

test("a rate-limited send shows when to retry", async () => {
  const tab = await harness.visit(harness.user("alice"));
  const form = tab.page.getByRole("region", { name: "Send" });
  await form.getByLabel("Type").fill("rare");
  const send = form.getByRole("button", { name: "Send", exact: true });
  await send.click();
  await form.getByText("Notification accepted for 1 of 1").waitFor();
  await send.click();
  await form.getByTestId("failure").getByText("429 rate_limited").waitFor();
  await form.getByText(/^Try again in \d+ s$/).waitFor();
});

test("a send without a response keeps its idempotency key, so that a retry does not send twice", async () => {
  const alice = harness.user("alice");
  const tab = await harness.visit(alice);
  const form = tab.page.getByRole("region", { name: "Send" });
  const send = form.getByRole("button", { name: "Send", exact: true });
  // The server accepts the send, but its response is lost.
  await tab.page.route(/\/api\/notifications\/send$/, async (route) => {
    await route.fetch();
    await route.abort("connectionreset");
  });
  await send.click();
  await form.getByTestId("failure").getByText("No response no_answer").waitFor();
  await expect.poll(async () => (await tab.shownIds()).length).toBe(1);

  await tab.page.unroute(/\/api\/notifications\/send$/);
  await send.click();
  await form.getByText("Notification accepted for 1 of 1").waitFor();
  await tab.shows(await tab.shownIds());
  expect(await tab.shownIds()).toHaveLength(1);
});
