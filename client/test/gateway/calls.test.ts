// The calls of the services that Carillon replaces, unchanged but for the imports. Where to call comes from the environment.

import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { type CarillonEvent, type Client, createClient } from "../../src/index.js";
import { createNotification, emitNotification, queueNotification, sendNotification } from "../../src/server.js";
import type { Notification } from "../../src/types.js";
import { Gateway } from "./gateway.js";

let gateway: Gateway;
let client: Client;
let events: CarillonEvent[];

beforeAll(async () => {
  gateway = await Gateway.start();
  process.env["CARILLON_URL"] = gateway.url;
  process.env["CARILLON_TOKEN"] = await gateway.token("shop");
});

afterAll(async () => {
  delete process.env["CARILLON_URL"];
  delete process.env["CARILLON_TOKEN"];
  await gateway?.stop();
});

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 45_000, interval: 20 });

/** Connects a device of this user, which collects its events. */
async function listen(user: string): Promise<void> {
  events = [];
  client = createClient({
    baseUrl: gateway.url,
    getToken: () => gateway.token(user, ""),
    environment: { WebSocket: WebSocket as unknown as typeof globalThis.WebSocket },
  });
  client.onEvent((event) => events.push(event));
  client.connect();
  await until(() => expect(client.store.getState()).toMatchObject({ wsStatus: "connected", loading: false }));
}

beforeEach(() => () => client.close());

/** The notification with this title, once it rings; the inbox has it then. */
async function rings(title: string): Promise<Notification> {
  const heard = (): Notification[] =>
    events.flatMap((event) => (event.type === "notification" ? [event.notification] : []));
  await until(() => expect(heard().map((notification) => notification.title)).toEqual([title]));
  const [notification] = heard() as [Notification];
  expect(await client.request("GET", `/api/notifications/${notification.id}`)).toEqual(notification);
  return notification;
}

test("sendNotification, with title, body and actionUrl inside data", async () => {
  await listen("user-123");
  // biome-ignore format: as its callers have it
  const notificationId = await sendNotification({
    type: 'REPORT_APPROVED',
    data: {
      reportId: '123',
      title: 'Report Approved',
      body: 'Your report has been approved',
      actionUrl: '/reports/123'
    },
    userIds: ['user-123'],
    priority: 'high',
    idempotencyKey: `report-123-approved-${Date.now()}`
  });
  expect(notificationId).toMatch(/^[0-9a-f-]{36}$/);
  expect(await rings("Report Approved")).toMatchObject({
    type: "REPORT_APPROVED",
    body: "Your report has been approved",
    actionUrl: "/reports/123",
    data: { reportId: "123" },
    priority: "high",
  });
});

test("emitNotification", async () => {
  await listen("user-123");
  // biome-ignore format: as its callers have it
  const eventId = await emitNotification(
    'New Message',
    'You have a new message',
    {
      userIds: ['user-123'],
      type: 'info'
    }
  );
  await until(() => expect(events).toHaveLength(1));
  expect(events).toEqual([
    { type: "announcement", id: eventId, name: "info", title: "New Message", body: "You have a new message", data: {} },
  ]);
});

const liked = {
  type: "like",
  body: "Someone liked your story",
  data: { storyId: "story-id", storyTitle: "Story Title" },
};

test("createNotification, with message and content", async () => {
  await listen("user-id");
  // biome-ignore format: as its callers have it
  await createNotification({
    userId: 'user-id',
    type: 'like',
    title: 'New Like',
    message: 'Someone liked your story',
    content: {
      storyId: 'story-id',
      storyTitle: 'Story Title',
    },
  });
  expect(await rings("New Like")).toMatchObject(liked);
});

test("queueNotification rings after its delay", async () => {
  await listen("user-id");
  const queuedAt = Date.now();
  // biome-ignore format: as its callers have it
  queueNotification({
    userId: 'user-id',
    type: 'like',
    title: 'New Like',
    message: 'Someone liked your story',
    content: {
      storyId: 'story-id',
      storyTitle: 'Story Title',
    },
  }, 5000); // 5 second delay
  expect(await rings("New Like")).toMatchObject(liked);
  expect(Date.now() - queuedAt).toBeGreaterThan(4_900);
});

test("POST /api/notifications/test", async () => {
  await listen("operator");
  const body = `{
    "type": "like",
    "title": "Test Notification",
    "message": "This is a test notification",
    "content": {
      "storyId": "123",
      "storyTitle": "Test Story"
    },
    "delay": 0
  }`;
  const response = await fetch(`${gateway.url}/api/notifications/test`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${await gateway.token("operator", "notify:admin")}`,
      "content-type": "application/json",
    },
    body,
  });
  expect(response.status).toBe(202);
  // Without a recipient it goes to the caller.
  expect(await rings("Test Notification")).toMatchObject({
    type: "like",
    body: "This is a test notification",
    data: { storyId: "123", storyTitle: "Test Story" },
  });
});
