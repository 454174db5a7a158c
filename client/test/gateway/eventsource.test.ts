// Event streams as other programs read them: with an EventSource that sends a token, and comes back by itself.

import { EventSource } from "eventsource";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { CarillonEvent } from "../../src/index.js";
import { sendNotification } from "../../src/server.js";
import { Gateway } from "./gateway.js";

let gateway: Gateway;
beforeAll(async () => {
  gateway = await Gateway.start();
});
afterAll(() => gateway?.stop());

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 45_000, interval: 20 });

test("an EventSource resumes through kills of the gateway, without loss or doubling", async () => {
  const token = await gateway.token("alice", "");
  const titles: string[] = [];
  const resumedAt: (string | null)[] = [];
  const source = new EventSource(`${gateway.url}/api/events`, {
    fetch: (url, init) => {
      const headers = new Headers(init.headers);
      resumedAt.push(headers.get("last-event-id"));
      headers.set("authorization", `Bearer ${token}`);
      return fetch(url, { ...init, headers });
    },
  });
  let ids: string[] = [];
  source.onmessage = ({ data, lastEventId }) => {
    const event = JSON.parse(data) as CarillonEvent;
    if (event.type === "notification") {
      titles.push(event.notification.title);
      ids.push(lastEventId);
    }
  };
  const options = { baseUrl: gateway.url, getToken: () => gateway.token("shop") };
  const send = (title: string): Promise<string> => sendNotification({ type: "like", userId: "alice", title }, options);
  const isOpen = (): Promise<void> => until(() => expect(source.readyState).toBe(EventSource.OPEN));

  const sent: string[] = [];
  await isOpen();
  for (let round = 0; round < 3; round++) {
    for (let n = 0; n < 3; n++) {
      sent.push(`${round} ${n}`);
      await send(`${round} ${n}`);
    }
    await until(() => expect(titles).toEqual(sent));
    const last = ids.at(-1);
    ids = [];
    await gateway.kill();
    await until(() => expect(source.readyState).toBe(EventSource.CONNECTING));
    await gateway.restart();
    // This one may come before or after the stream is open again.
    sent.push(`${round} meanwhile`);
    await send(`${round} meanwhile`);
    await until(() => expect(titles).toEqual(sent));
    expect(resumedAt.at(-1)).toBe(last);
    await isOpen();
  }
  source.close();
});
