// What axe-core finds on the page and in the components: nothing, at any width, in any theme, online and offline.

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { violations } from "./axe.js";
import { Fixture } from "./fixture.js";
import { Harness, settled, type Visit } from "./harness.js";

const THEMES = [
  { colorScheme: "light", forcedColors: "none" },
  { colorScheme: "dark", forcedColors: "none" },
  { colorScheme: "light", forcedColors: "active" },
  { colorScheme: "dark", forcedColors: "active" },
] as const;

let harness: Harness;
let fixture: Fixture;
beforeAll(async () => {
  harness = await Harness.start();
  fixture = await Fixture.start();
});
afterEach(async () => {
  await fixture.reset();
  await harness.reset();
});
afterAll(async () => {
  await fixture.stop();
  await harness.stop();
});

async function inEveryTheme({ page }: Pick<Visit, "page">): Promise<string[]> {
  const found: string[] = [];
  for (const theme of THEMES) {
    await page.emulateMedia(theme);
    for (const violation of await violations(page)) found.push(`${JSON.stringify(theme)} ${violation}`);
  }
  return found;
}

test.each([320, 390, 768, 1280])("the page has no violations at %i px, online and offline", async (width) => {
  const alice = harness.user("alice");
  const visit = await harness.visit(alice, { viewport: { width, height: 900 } });
  const send = harness.gateway.send.bind(harness.gateway);
  const body = "Maren signed it off; it goes out on Monday.";
  await send({ userIds: [alice], title: "Report approved", body, priority: "high", actionUrl: "/reports/1" });
  await send({ userIds: [alice], title: "Build failed", priority: "critical", actionUrl: "https://example.com/" });
  await send({ userIds: [alice], title: "Read already" });
  await visit.showsUnread(3);
  // At narrow widths the inbox is closed, and a toast shows the arrival.
  if (width < 1088) {
    await visit.page.locator("[data-toast]").first().waitFor();
    expect(await violations(visit.page)).toEqual([]);
    await visit.bell.click();
  }
  await visit.button("Mark as read: Read already").click();
  await visit.button("Trace: Report approved").waitFor();
  await visit.page.getByText(/As of /).waitFor();
  expect(await inEveryTheme(visit)).toEqual([]);

  harness.gateway.network.cut();
  await visit.showsStatus("Offline");
  await visit.page.getByText(/Last seen /).waitFor();
  await visit.inbox.getByText("Offline. Showing saved notifications.").waitFor();
  expect(await inEveryTheme(visit)).toEqual([]);
});

test.each(["ltr", "rtl"])("the components have no violations on a page of their own, written %s", async (dir) => {
  const opened = await fixture.open({ parts: "bell toasts", count: "300", pageSize: "300", labels: "de", dir });
  await opened.send({ title: "Ankunft", priority: "critical", actionUrl: "https://example.com/" });
  await opened.page.locator("[data-toast]").waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
  await opened.bell.click();
  await opened.row("Number 299").waitFor();
  // Scrolled, with rows that stand for a gap above and below, and one that waits.
  await opened.page.getByRole("tabpanel").evaluate((element) => element.scrollTo({ top: 8_000 }));
  // The event comes with the next frame.
  await settled(opened.page);
  await opened.send({ title: "Noch eine" });
  await opened.page.getByRole("button", { name: "1 neue" }).waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
});

test.each([320, 1280])("the preferences and the choices of a snooze have no violations at %i px", async (width) => {
  const opened = await fixture.open(
    { parts: "inbox preferences", count: "2", labels: "de" },
    { viewport: { width, height: 900 } },
  );
  await opened.page.getByText("The chat c1").waitFor();
  await opened.row("Number 1").getByRole("button", { name: "Später erinnern" }).click();
  await opened.page.getByRole("button", { name: "1 Stunde" }).waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
  expect(opened.errors).toEqual([]);
});

test.each([390, 1280])("the chats have no violations at %i px", async (width) => {
  const opened = await fixture.open(
    { parts: "chats", messages: "120", labels: "es" },
    { viewport: { width, height: 800 } },
  );
  await opened.chat("bob").waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
  await opened.chat("bob").click();
  await opened.message("Message 119.").waitFor();
  // Scrolled, with an arrival that waits, a message that was refused, and one that is too long.
  await opened.page.evaluate(() => {
    const { server } = globalThis as unknown as { server: { areSocketsRefused: boolean; fault: unknown } };
    const error = { code: "forbidden", message: "no", requestId: "r" };
    server.fault = ({ path }: { path: string }) =>
      path.endsWith("/messages") ? new Response(JSON.stringify({ error }), { status: 403 }) : undefined;
  });
  await opened.page.evaluate(() => {
    const { chats } = (globalThis as unknown as { server: { chats: { received: unknown } } }).server;
    chats.received = () => ({ type: "error", code: "forbidden", message: "no" });
  });
  await opened.page.getByRole("textbox").fill("Refused");
  await opened.page.keyboard.press("Enter");
  await opened.page.getByText("forbidden").waitFor();
  await opened.page.getByRole("textbox").fill("x".repeat(4_100));
  // The field grows with the next frame, and a conversation that is at its end stays there.
  await settled(opened.page);
  await opened.page
    .locator(".carillon-messages .carillon-chat-scroller")
    .evaluate((element) => element.scrollTo({ top: element.scrollHeight / 2 }));
  await settled(opened.page);
  await opened.say("bob", "Otro");
  await opened.page.getByRole("button", { name: "1 nuevo" }).waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
});

test.each([390, 1280])("groups have no violations at %i px", async (width) => {
  const opened = await fixture.open(
    { parts: "chats", messages: "3", labels: "es" },
    { viewport: { width, height: 800 } },
  );
  const { page } = opened;
  await opened.chat("bob").waitFor();
  await page.getByRole("button", { name: "Nuevo grupo" }).click();
  const person = page.getByRole("combobox", { name: "Añadir ID de usuario" });
  await person.waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
  for (const userId of ["bob", "carol", "dave", "erin", "frank"]) {
    await person.fill(userId);
    await person.press("Enter");
  }
  expect(await inEveryTheme(opened)).toEqual([]);
  await page.getByRole("button", { name: "Crear grupo" }).click();
  await page.getByRole("button", { name: /^Detalles del grupo/ }).click();
  await page.getByRole("button", { name: "Quitar: bob" }).waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
  // With the question whether to leave, and an act that was refused.
  await page.evaluate(() => {
    const { server } = globalThis as unknown as { server: { fault: unknown } };
    const error = { code: "forbidden", message: "no", requestId: "r" };
    server.fault = ({ path }: { path: string }) =>
      path.endsWith("/remove") ? new Response(JSON.stringify({ error }), { status: 403 }) : undefined;
  });
  await page.getByRole("button", { name: "Quitar: bob" }).click();
  await page.getByText("forbidden").waitFor();
  await page.getByRole("button", { name: "Salir del grupo" }).click();
  await page.getByRole("button", { name: "Cancelar" }).waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
});

test("an empty, a loading and a failing inbox have no violations", async () => {
  const opened = await fixture.open({ parts: "inbox" });
  await opened.page.getByText("No notifications yet.").waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);

  await opened.send({ title: "Stays" });
  await opened.page.evaluate(() => {
    const { server } = globalThis as unknown as { server: { fault: unknown } };
    const error = { code: "forbidden", message: "no", requestId: "r" };
    server.fault = ({ method }: { method: string }) =>
      method === "DELETE" ? new Response(JSON.stringify({ error }), { status: 403 }) : undefined;
  });
  await opened.page.getByRole("button", { name: "Delete: Stays" }).click();
  await opened.page.getByRole("alert").getByText("forbidden").waitFor();
  expect(await inEveryTheme(opened)).toEqual([]);
  await opened.page.getByRole("button", { name: "Dismiss" }).click();
  await opened.page.getByText("forbidden").waitFor({ state: "detached" });

  const loading = await fixture.open({ parts: "inbox", hang: "yes" });
  await loading.page.locator(".carillon-skeleton").first().waitFor();
  expect(await inEveryTheme(loading)).toEqual([]);
});
