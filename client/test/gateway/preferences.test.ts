// Preferences and snoozes of the client against a real server.

import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { type CarillonEvent, type Client, createClient } from "../../src/index.js";
import { preferencesOf } from "../../src/preferences.js";
import { sendNotification } from "../../src/server.js";
import { Gateway } from "./gateway.js";

let gateway: Gateway;
let users = 0;
let user: string;
const clients: Client[] = [];

beforeAll(async () => {
  gateway = await Gateway.start();
});
beforeEach(() => {
  user = `user-${++users}`;
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
afterAll(() => gateway?.stop());

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 45_000, interval: 20 });

interface Device {
  readonly client: Client;
  /** The titles of arrivals. */
  readonly rang: string[];
  titles(): string[];
}

async function device(): Promise<Device> {
  const client = createClient({
    baseUrl: gateway.url,
    getToken: () => gateway.token(user, ""),
    environment: { WebSocket: WebSocket as unknown as typeof globalThis.WebSocket },
  });
  clients.push(client);
  const rang: string[] = [];
  client.onEvent((event: CarillonEvent) => event.type === "notification" && rang.push(event.notification.title));
  client.connect();
  const state = client.store.getState;
  await until(() => expect(state()).toMatchObject({ wsStatus: "connected", loading: false }));
  return { client, rang, titles: () => state().notifications.map(({ title }) => title) };
}

const send = (title: string): Promise<string> =>
  sendNotification(
    { type: "like", userId: user, title },
    { baseUrl: gateway.url, getToken: () => gateway.token("shop") },
  );

test("a snoozed notification leaves every device, and comes back on top, unread, ringing once", async () => {
  const [phone, laptop] = [await device(), await device()];
  for (const title of ["a", "b"]) await send(title);
  for (const { titles } of [phone, laptop]) await until(() => expect(titles()).toEqual(["b", "a"]));
  const { id = "", cursor } = phone.client.store.getState().notifications[1] ?? {};
  await phone.client.markAsRead(id);
  await phone.client.snooze(id, new Date(Date.now() + 2_000));
  for (const { titles } of [phone, laptop]) await until(() => expect(titles()).toEqual(["b"]));
  await expect(phone.client.request("GET", `/api/notifications/${id}`)).rejects.toMatchObject({ status: 404 });
  for (const { titles, rang, client } of [phone, laptop]) {
    await until(() => expect(titles()).toEqual(["a", "b"]));
    const [first] = client.store.getState().notifications;
    expect(first).toMatchObject({ id, readAt: null });
    expect(first?.cursor).not.toBe(cursor);
    expect(client.store.getState().unreadCount).toBe(2);
    expect(rang).toEqual(["a", "b", "a"]);
  }
});

test("one that comes back while no device is there is on top at the next visit", async () => {
  const phone = await device();
  for (const title of ["a", "b"]) await send(title);
  await until(() => expect(phone.titles()).toEqual(["b", "a"]));
  await phone.client.snooze(phone.client.store.getState().notifications[1]?.id ?? "", new Date(Date.now() + 1_500));
  phone.client.close();
  await new Promise((resolve) => setTimeout(resolve, 4_000));
  phone.client.connect();
  await until(() => expect(phone.titles()).toEqual(["a", "b"]));
  expect(phone.rang).toEqual(["a", "b", "a"]);
});

test("a time that the server refuses shows the notification again", async () => {
  const phone = await device();
  await send("a");
  await until(() => expect(phone.titles()).toEqual(["a"]));
  const id = phone.client.store.getState().notifications[0]?.id ?? "";
  const inTwoYears = new Date(Date.now() + 2 * 365 * 24 * 3_600_000);
  await expect(phone.client.snooze(id, inTwoYears)).rejects.toMatchObject({ code: "validation_failed", status: 422 });
  expect(phone.titles()).toEqual(["a"]);
  expect(phone.client.store.getState().error).toMatchObject({ action: "snooze", ids: [id] });
});

test("preferences are saved as a whole, and every device reads the same", async () => {
  const [phone, laptop] = [preferencesOf((await device()).client), preferencesOf((await device()).client)];
  const chat = "8214134b-5784-8ca4-baf3-8de40ae24211";
  await phone.setChannel("like", "push", false);
  await phone.setQuietHours({ from: "22:00", to: "07:00", timeZone: "Europe/Berlin", days: [1, 2, 3] });
  await phone.mute(chat);
  await laptop.refresh();
  expect(laptop.store.getState().preferences).toEqual({
    types: { like: { push: false } },
    quietHours: { from: "22:00", to: "07:00", timeZone: "Europe/Berlin", days: [1, 2, 3] },
    mutedChats: { [chat]: null },
  });
  expect([laptop.isOn("like", "push"), laptop.isOn("like", "realtime"), laptop.isMuted(chat)]).toEqual([
    false,
    true,
    true,
  ]);
  await laptop.unmute(chat);
  await laptop.setQuietHours(null);
  await phone.refresh();
  expect(phone.store.getState().preferences).toMatchObject({ quietHours: null, mutedChats: {} });
});

test("a time zone that does not exist is refused, and undone", async () => {
  const preferences = preferencesOf((await device()).client);
  const refused = preferences.setQuietHours({ from: "22:00", to: "07:00", timeZone: "Mars/Olympus" });
  await expect(refused).rejects.toMatchObject({ code: "validation_failed", status: 422 });
  expect(preferences.store.getState()).toMatchObject({ preferences: { quietHours: null }, saving: false });
});
