// A snoozed notification leaves the inbox at once, and comes back as a new arrival.

import { afterEach, beforeEach, expect, test } from "vitest";
import type { CarillonEvent } from "../../src/index.js";
import { advance, type Device } from "../harness/device.js";
import { begin, comesBack, crash, end, goesDown, opens, passes, server, stored } from "../harness/profile.js";
import { refusal } from "../harness/server.js";

const HOUR_MS = 3_600_000;
const inAnHour = (): Date => new Date(Date.now() + HOUR_MS);

beforeEach(() => {
  begin();
  for (const title of ["a", "b", "c"]) server.send({ title });
});
afterEach(end);

const arrivals = ({ events }: Device): string[] =>
  events.flatMap((event: CarillonEvent) => (event.type === "notification" ? [event.notification.title] : []));

test("it leaves the inbox at once, and the server is told until when", async () => {
  const tab = await opens();
  const until = inAnHour();
  const done = tab.client.snooze("n2", until);
  expect(tab.titles()).toEqual(["c", "a"]);
  expect(tab.state().unreadCount).toBe(2);
  await done;
  await passes(5_000);
  expect(tab.titles()).toEqual(["c", "a"]);
  expect(server.callsTo("/api/notifications/n2/snooze").map(({ method, body }) => [method, body])).toEqual([
    ["POST", { until: until.toISOString() }],
  ]);
  expect(tab.state()).toMatchObject({ unreadCount: 2, error: null, cursor: server.cursor });
});

test("it comes back on top, unread, and rings in every tab once", async () => {
  const [first, second] = [await opens(), await opens()];
  await first.client.markAsRead("n1");
  await first.client.snooze("n1", inAnHour());
  await stored();
  for (const tab of [first, second]) expect(tab.titles()).toEqual(["c", "b"]);
  server.wake("n1");
  await passes(5_000);
  for (const tab of [first, second]) {
    expect(tab.titles()).toEqual(["a", "c", "b"]);
    expect(tab.state()).toMatchObject({ unreadCount: 3, notifications: [{ readAt: null }, {}, {}] });
    expect(arrivals(tab)).toEqual(["a"]);
  }
  expect([...first.rung, ...second.rung].filter(({ type }) => type === "notification").length).toBe(1);
});

test("one that was snoozed and came back while the tab was away is on top, and rings", async () => {
  const tab = await opens();
  await tab.client.markAsRead("n1");
  goesDown();
  server.change("snoozed", ["n1"], false);
  server.wake("n1", false);
  comesBack();
  await passes(60_000);
  expect(tab.titles()).toEqual(["a", "c", "b"]);
  expect(arrivals(tab)).toEqual(["a"]);
  // The arrival says that it is unread.
  expect(tab.events.filter((event) => event.type === "changed" && event.change === "unread")).toEqual([]);
});

test("a snooze on another device is told, and takes the notification out of the inbox", async () => {
  const tab = await opens();
  server.change("snoozed", ["n3"]);
  expect(tab.titles()).toEqual(["b", "a"]);
  expect(tab.events.at(-1)).toMatchObject({ type: "changed", change: "snoozed", ids: ["n3"] });
});

test("a refused snooze shows the notification again, with the error", async () => {
  const tab = await opens();
  server.fault = ({ path }) => (path.endsWith("/snooze") ? refusal(422, "validation_failed") : undefined);
  await expect(tab.client.snooze("n2", inAnHour())).rejects.toMatchObject({ code: "validation_failed" });
  expect(tab.titles()).toEqual(["c", "b", "a"]);
  expect(tab.state().error).toMatchObject({ action: "snooze", ids: ["n2"], source: "change" });
});

test("a snooze without an answer survives a crash of the browser", async () => {
  const tab = await opens();
  goesDown();
  const until = inAnHour();
  void tab.client.snooze("n2", until);
  await passes(2_000);
  crash();
  comesBack();
  const next = await opens();
  await passes(2_000);
  expect(next.titles()).toEqual(["c", "a"]);
  expect(server.callsTo("/api/notifications/n2/snooze").at(-1)?.body).toEqual({ until: until.toISOString() });
  expect(server.rows.get("n2")?.isDeleted).toBe(true);
});

test("a snooze that was done without an answer is not repeated after its end, so that it rings once", async () => {
  const tab = await opens();
  server.fault = ({ path }) => {
    if (!path.endsWith("/snooze")) return undefined;
    server.change("snoozed", ["n2"]);
    throw new TypeError("fetch failed");
  };
  void tab.client.snooze("n2", inAnHour());
  await passes(1_000);
  goesDown();
  await passes(HOUR_MS - 1_000);
  const calls = server.calls.length;
  server.wake("n2", false);
  comesBack();
  await passes(60_000);
  expect(tab.titles()).toEqual(["b", "c", "a"]);
  expect(arrivals(tab)).toEqual(["b"]);
  expect(server.calls.slice(calls).filter(({ path }) => path.endsWith("/snooze"))).toEqual([]);
});

test("a snooze that could not be sent before its end shows the notification again", async () => {
  const tab = await opens();
  server.fault = ({ path }) => (path.endsWith("/snooze") ? refusal(503, "overloaded") : undefined);
  const done = tab.client.snooze("n2", new Date(Date.now() + 5_000));
  expect(tab.titles()).toEqual(["c", "a"]);
  await passes(60_000);
  await done;
  expect(tab.titles()).toEqual(["c", "b", "a"]);
});

test("another time replaces the one before, and the same is sent once", async () => {
  const tab = await opens();
  goesDown();
  const [early, late] = [inAnHour(), new Date(Date.now() + 2 * HOUR_MS)];
  for (const until of [early, late, late]) void tab.client.snooze("n2", until);
  await passes(1_000);
  const before = server.calls.length;
  comesBack();
  await passes(60_000);
  const sent = server.calls.slice(before).filter(({ path }) => path.endsWith("/snooze"));
  expect(sent.map(({ body }) => body)).toEqual([{ until: late.toISOString() }]);
});

test("a snooze by this user and one by another device do not cancel each other", async () => {
  const tab = await opens();
  server.fault = ({ path }) => (path.endsWith("/snooze") ? refusal(503, "overloaded") : undefined);
  void tab.client.snooze("n2", inAnHour());
  await advance(0);
  server.change("snoozed", ["n2"]);
  const before = server.calls.length;
  server.fault = ({ path }) => (path.endsWith("/snooze") ? new Response(null, { status: 204 }) : undefined);
  await passes(60_000);
  expect(server.calls.slice(before).filter(({ path }) => path.endsWith("/snooze")).length).toBe(1);
});

test("a filtered view loses it, and has it back on top", async () => {
  const tab = await opens({ pageSize: 2 });
  const view = tab.client.view({ unread: true });
  await passes(1_000);
  const titles = (): string[] => view.store.getState().notifications.map(({ title }) => title);
  expect(titles()).toEqual(["c", "b"]);
  await tab.client.snooze("n2", inAnHour());
  await passes(1_000);
  expect(titles()).toEqual(["c"]);
  server.wake("n2");
  await passes(1_000);
  expect(titles()).toEqual(["b", "c"]);
});

test("the device keeps both arrivals in order, each once", async () => {
  const tab = await opens();
  server.send({ title: "d" });
  server.send({ title: "e" });
  await passes(2_000);
  server.change("snoozed", ["n4"]);
  await passes(2_000);
  server.wake("n4");
  await passes(2_000);
  const kept = await tab.client.loadCachedEvents();
  const told = kept.map((event) => (event.type === "notification" ? event.notification.title : event.type));
  expect(told).toEqual(["e", "changed", "d"]);
});
