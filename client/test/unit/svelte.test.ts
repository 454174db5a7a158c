// @vitest-environment happy-dom

import { readFileSync } from "node:fs";
import { mount, unmount } from "svelte";
import { compile } from "svelte/compiler";
import { render } from "svelte/server";
import { derived, get } from "svelte/store";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { notifications, readable } from "../../src/svelte.js";
import { type Device, deviceOf } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";
import Inbox from "./Inbox.svelte";
import ServerInbox from "./Inbox.svelte?server";

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 30_000 });

let server: FakeServer;
let device: Device;

beforeEach(() => {
  server = new FakeServer();
  device = deviceOf(server);
});

afterEach(() => {
  device.client.close();
  document.body.replaceChildren();
});

const text = (): string => document.body.textContent.replace(/\s+/g, " ").trim();

test("a component shows the inbox, changes it, and closes when it leaves", async () => {
  server.send({ title: "before" });
  const inbox = mount(Inbox, { target: document.body, props: { client: device.client } });
  await eventually(() => expect(text()).toBe("1 unread, connected before"));
  server.send({ title: "after" });
  await eventually(() => expect(text()).toBe("2 unread, connected after before"));
  document.querySelector("button")?.click();
  await eventually(() => expect(text()).toBe("1 unread, connected after before"));
  await unmount(inbox);
  expect(device.state().wsStatus).toBe("closed");
  expect(server.openSockets).toEqual([]);
});

test("two components share one connection, which the last one closes", async () => {
  const target = document.body;
  const [first, second] = [1, 2].map(() => mount(Inbox, { target, props: { client: device.client } }));
  await eventually(() => expect(text()).toBe("0 unread, connected 0 unread, connected"));
  expect(server.openSockets.length).toBe(1);
  if (first) await unmount(first);
  expect(device.state().wsStatus).toBe("connected");
  if (second) await unmount(second);
  expect(device.state().wsStatus).toBe("closed");
});

test("a server renders the initial state, and calls nothing", async () => {
  const { body } = render(ServerInbox, { props: { client: device.client } });
  expect(body).toContain("<h1>0 unread, closed</h1>");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(server.calls).toEqual([]);
});

test("Svelte's own functions read the stores", () => {
  const unread = derived(notifications(device.client), ({ unreadCount }) => unreadCount);
  expect(get(unread)).toBe(0);
  expect(get(readable(device.client.store))).toBe(device.state());
});

test("with a filter it shows what the server filters, page by page", async () => {
  for (let n = 0; n < 60; n++) server.send({ title: `n${n}`, type: "news" });
  for (let n = 0; n < 60; n++) server.send({ title: `o${n}` });
  const news = notifications(device.client, { type: "news" });
  const seen: number[] = [];
  const unsubscribe = news.subscribe((state) => seen.push(state.notifications.length));
  expect(seen).toEqual([0]);
  await eventually(() => expect(get(news).notifications.length).toBe(50));
  await eventually(() => expect(get(news).unreadCount).toBe(60));
  await news.loadMore();
  await eventually(() => expect(get(news).notifications.map(({ type }) => type)).toEqual(Array(60).fill("news")));
  server.send({ title: "fresh", type: "news" });
  await eventually(() => expect(get(news).notifications[0]?.title).toBe("fresh"));
  unsubscribe();
  // A second call does not take the connection from others.
  const other = notifications(device.client).subscribe(() => {});
  unsubscribe();
  await eventually(() => expect(device.state().wsStatus).toBe("connected"));
  other();
  expect(device.state().wsStatus).toBe("closed");
});

test("the component in the README compiles without a warning, and reads what the entry exports", () => {
  const readme = readFileSync("README.md", "utf8");
  const [, source = ""] = /```svelte\n([\s\S]*?)```/.exec(readme) ?? [];
  expect(source).toContain("notifications(client)");
  expect(compile(source, { filename: "Inbox.svelte" }).warnings).toEqual([]);
});
