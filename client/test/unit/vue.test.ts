// @vitest-environment happy-dom

import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createApp, createSSRApp, defineComponent, effectScope, h, ref } from "vue";
import { compileScript, parse } from "vue/compiler-sfc";
import { renderToString } from "vue/server-renderer";
import { useNotifications } from "../../src/vue.js";
import { type Device, deviceOf } from "../harness/device.js";
import { FakeServer } from "../harness/server.js";

const eventually = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 30_000 });

let server: FakeServer;
let device: Device;

beforeEach(() => {
  server = new FakeServer();
  device = deviceOf(server);
  document.body.innerHTML = '<div id="first"></div><div id="second"></div>';
});

afterEach(() => device.client.close());

const Inbox = defineComponent(() => {
  const { notifications, unreadCount, wsStatus, markAsRead } = useNotifications(device.client);
  return () => [
    h("h1", `${unreadCount.value} unread, ${wsStatus.value} `),
    ...notifications.value.map(({ id, title }) => h("button", { onClick: () => markAsRead(id) }, `${title} `)),
  ];
});

const text = (): string => document.body.textContent.trim();

test("a component shows the inbox, changes it, and closes when it leaves", async () => {
  server.send({ title: "before" });
  const app = createApp(Inbox);
  app.mount("#first");
  await eventually(() => expect(text()).toBe("1 unread, connected before"));
  server.send({ title: "after" });
  await eventually(() => expect(text()).toBe("2 unread, connected after before"));
  document.querySelector("button")?.click();
  await eventually(() => expect(text()).toBe("1 unread, connected after before"));
  app.unmount();
  expect(device.state().wsStatus).toBe("closed");
  expect(server.openSockets).toEqual([]);
});

test("two components share one connection, which the last one closes", async () => {
  const [first, second] = [createApp(Inbox), createApp(Inbox)];
  first.mount("#first");
  second.mount("#second");
  await eventually(() => expect(text()).toBe("0 unread, connected 0 unread, connected"));
  expect(server.openSockets.length).toBe(1);
  first.unmount();
  expect(device.state().wsStatus).toBe("connected");
  second.unmount();
  expect(device.state().wsStatus).toBe("closed");
});

test("a server renders the initial state and calls nothing, and a page hydrates it without a warning", async () => {
  const html = await renderToString(createSSRApp(Inbox));
  expect(html).toContain("0 unread, closed");
  expect(server.calls).toEqual([]);
  expect(device.state().wsStatus).toBe("closed");

  const warn = vi.spyOn(console, "warn");
  const error = vi.spyOn(console, "error");
  document.body.innerHTML = `<div id="first">${html}</div>`;
  const app = createSSRApp(Inbox);
  app.mount("#first");
  await eventually(() => expect(text()).toBe("0 unread, connected"));
  expect(warn).not.toHaveBeenCalled();
  expect(error).not.toHaveBeenCalled();
  app.unmount();
});

test("a scope outside of any component connects at once, and closes when it stops", async () => {
  const scope = effectScope();
  const inbox = scope.run(() => useNotifications(device.client));
  server.send({ title: "hello" });
  await eventually(() => expect(inbox?.unreadCount.value).toBe(1));
  scope.stop();
  expect(device.state().wsStatus).toBe("closed");
});

test("with a filter it shows what the server filters, also after the filter changed", async () => {
  for (let n = 0; n < 60; n++) server.send({ title: `n${n}`, type: "news" });
  for (let n = 0; n < 60; n++) server.send({ title: `o${n}` });
  const type = ref<string | undefined>("news");
  const scope = effectScope();
  const inbox = scope.run(() => useNotifications(device.client, () => (type.value ? { type: type.value } : undefined)));
  if (!inbox) throw new Error("the scope ran nothing");
  expect([inbox.loading.value, inbox.hasMore.value]).toEqual([true, false]);
  const titles = (): string[] => inbox.notifications.value.map(({ title }) => title);
  await eventually(() => expect([titles().length, inbox.unreadCount.value]).toEqual([50, 60]));
  expect([inbox.unreadCount.value, inbox.hasMore.value, inbox.loading.value]).toEqual([60, true, false]);
  await inbox.loadMore();
  await eventually(() => expect(titles().length).toBe(60));
  expect(titles().every((title) => title.startsWith("n"))).toBe(true);

  await inbox.markAllAsRead();
  expect(server.unreadCount).toBe(60);

  type.value = undefined;
  await eventually(() => expect(titles()[0]).toBe("o59"));
  expect(inbox.unreadCount.value).toBe(60);
  scope.stop();
  expect(device.state().wsStatus).toBe("closed");
});

test("the component in the README compiles, and uses what the composable returns", () => {
  const readme = readFileSync("README.md", "utf8");
  const [, source = ""] = /```vue\n([\s\S]*?)```/.exec(readme) ?? [];
  const { descriptor, errors } = parse(source);
  expect(errors).toEqual([]);
  expect(compileScript(descriptor, { id: "readme", inlineTemplate: true }).content).toContain(
    "useNotifications(client)",
  );
  const scope = effectScope();
  const returned = scope.run(() => Object.keys(useNotifications(device.client)));
  scope.stop();
  const [, used = ""] = /const \{ ([^}]+) \} = useNotifications/.exec(source) ?? [];
  expect(returned).toEqual(expect.arrayContaining(used.split(", ")));
});
