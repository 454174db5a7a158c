// A silent notification stands in the inbox and is told, and says of itself that it does not ring.

import { afterEach, beforeEach, expect, test } from "vitest";
import type { CarillonEvent } from "../../src/index.js";
import type { Device } from "../harness/device.js";
import { begin, comesBack, end, goesDown, opens, passes, server } from "../harness/profile.js";

beforeEach(begin);
afterEach(end);

const told = ({ events }: Device): unknown[] =>
  events.flatMap((event: CarillonEvent) => ("silent" in event || event.type === "notification" ? [event.silent] : []));

test("it is in the inbox and counts", async () => {
  const tab = await opens();
  server.send({ title: "quiet", silent: true });
  server.send({ title: "loud" });
  expect(tab.titles()).toEqual(["loud", "quiet"]);
  expect(tab.state()).toMatchObject({ unreadCount: 2, notifications: [{ silent: false }, { silent: true }] });
});

test("its event says so, whether the frame or only the notification does", async () => {
  const tab = await opens();
  const { frame } = server.send({ title: "by its frame", frame: "held" });
  server.push({ ...frame, silent: true });
  server.send({ title: "by its own member", silent: true });
  server.send({ title: "loud" });
  expect(told(tab)).toEqual([true, true, undefined]);
});

test("so does the event of one that a sync brought, in every tab", async () => {
  const tabs = [await opens(), await opens()];
  goesDown();
  server.send({ silent: true, frame: "lost" });
  server.send({ frame: "lost" });
  comesBack();
  await passes(60_000);
  for (const tab of tabs) expect(told(tab)).toEqual([true, undefined]);
});

test("and the event of one that is not written yet", async () => {
  const tab = await opens();
  server.sendFast({ silent: true });
  expect(told(tab)).toEqual([true]);
});
