// Takes the README's screenshot of the page: an inbox with notifications, on a desktop, in the light theme.

import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { SendBody } from "./gateway.js";
import { Harness } from "./harness.js";

const PICTURE = fileURLToPath(new URL("../../docs/test-page.png", import.meta.url));

const SENDS: readonly Omit<SendBody, "userIds">[] = [
  {
    type: "REPORT_APPROVED",
    title: "Quarterly report approved",
    body: "Maren signed it off; it goes out on Monday.",
    priority: "high",
    actionUrl: "/reports/123",
  },
  { type: "ORDER_SHIPPED", title: "Your parcel is on its way", body: "Expected on Tuesday between 10 and 12." },
  { type: "COMMENT_ADDED", title: "Jonas replied to your comment", body: "“Agreed, let us keep the second chart.”" },
  { type: "like", title: "Ines liked your story", priority: "low" },
  {
    type: "BUILD_FAILED",
    title: "Build 4,182 failed on main",
    body: "3 of 912 tests failed.",
    priority: "critical",
    actionUrl: "/builds/4182",
  },
  { type: "COMMENT_ADDED", title: "Priya mentioned you in “Launch checklist”", body: "Can you look at step 4?" },
];

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start();
});
afterAll(() => harness.stop());

test("the screenshot of the README", async () => {
  const tab = await harness.visit("alice", { viewport: { width: 1280, height: 1210 }, locale: "en-GB" });
  const metrics = tab.page.getByRole("region", { name: "Metrics" });
  const accepted = metrics.getByRole("listitem").filter({ hasText: "Accepted" });
  const ids: string[] = [];
  const send = async (body: Omit<SendBody, "userIds">): Promise<void> => {
    ids.push(...(await harness.gateway.send({ ...body, userIds: ["alice"] })));
    // Waits until the metrics include it, so that the charts have several values to draw.
    await accepted.getByText(String(ids.length), { exact: true }).waitFor();
  };
  for (const body of SENDS) await send(body);
  await tab.button("Mark as read: Ines liked your story").click();
  await tab.button("Mark as read: Your parcel is on its way").click();
  const title = tab.page.getByLabel("Title");
  await title.fill("Your report was approved");
  await tab.button("Send").click();
  await tab.page.getByText("Notification accepted for 1 of 1").waitFor();
  await tab.showsUnread(5);
  await accepted.getByText(String(ids.length + 1), { exact: true }).waitFor();
  await tab.page.mouse.move(0, 0);
  await tab.page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  await tab.page.screenshot({ path: PICTURE, animations: "disabled" });
  expect(statSync(PICTURE).size).toBeLessThanOrEqual(200 * 1024);
});
