// The user's changes over tabs: shown in all, sent by one.

import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { settle } from "../harness/device.js";
import { begin, browser, comesBack, end, goesDown, opens, passes, server } from "../harness/profile.js";
import { refusal } from "../harness/server.js";

beforeEach(begin);
afterEach(end);

describe("over tabs", () => {
  test("a change shows in all at once, and is sent once, by the one that holds the connection", async () => {
    for (let n = 0; n < 3; n++) server.send();
    const [first, second, third] = [await opens(), await opens(), await opens()];
    await passes(6_000);
    server.fault = ({ path, method }) =>
      method === "POST" && path.endsWith("/read") ? refusal(503, "overloaded") : undefined;
    const done = second.client.markAsRead("n1");
    await settle();
    for (const tab of [first, second, third]) expect(tab.state().unreadCount).toBe(2);
    await passes(500);
    server.fault = () => undefined;
    const before = server.changeFrames.length;
    await passes(30_000);
    await done;
    expect(server.changeFrames.length - before).toBe(1);
    expect(server.callsTo("/api/notifications/n1")).toEqual([]);
    for (const tab of [first, second, third]) expect(tab.state()).toMatchObject({ unreadCount: 2, error: null });
  });

  test("a follower's change survives the closing of its tab, and of the leader", async () => {
    for (let n = 0; n < 2; n++) server.send();
    const [first, second, third] = [await opens(), await opens(), await opens()];
    await passes(6_000);
    goesDown();
    void second.client.markAsRead("n1");
    void first.client.markAsRead("n2");
    await passes(1_000);
    second.client.close();
    first.client.close();
    await passes(1_000);
    comesBack();
    await passes(60_000);
    expect(server.unreadCount).toBe(0);
    expect(third.state()).toMatchObject({ leader: true, unreadCount: 0 });
    const sent = server.changeFrames.flatMap(({ ids }) => ids as string[]);
    expect(sent.sort()).toEqual(["n1", "n2"]);
  });

  test("a refusal shows in the tab of the user, and is undone in all", async () => {
    server.send();
    const [first, second] = [await opens(), await opens()];
    await passes(6_000);
    server.fault = ({ method }) => (method === "DELETE" ? refusal(403, "forbidden") : undefined);
    const refused = expect(second.client.deleteNotification("n1")).rejects.toMatchObject({ code: "forbidden" });
    await passes(1_000);
    await refused;
    expect(second.state().error).toMatchObject({ code: "forbidden", action: "delete", ids: ["n1"] });
    expect(first.state().error).toBeNull();
    for (const tab of [first, second]) expect(tab.titles()).toEqual(["n1"]);
  });

  test("a change that the leader did not hear of reaches it with its next status", async () => {
    server.send();
    const [, second] = [await opens(), await opens()];
    await passes(6_000);
    const [channel] = browser.channels;
    const onmessage = channel?.onmessage ?? null;
    if (channel) channel.onmessage = null;
    const done = second.client.markAsRead("n1");
    await passes(1_000);
    if (channel) channel.onmessage = onmessage;
    await passes(66_000);
    await done;
    expect(server.unreadCount).toBe(0);
    expect(server.changeFrames.length).toBe(1);
  });

  test("news of an answer that was missed comes with the next status", async () => {
    server.send();
    const [, second] = [await opens(), await opens()];
    await passes(6_000);
    const done = second.client.markAsRead("n1");
    const channel = [...browser.channels][1];
    const onmessage = channel?.onmessage ?? null;
    if (channel) channel.onmessage = null;
    await passes(1_000);
    if (channel) channel.onmessage = onmessage;
    await passes(66_000);
    await done;
    expect(server.changeFrames.length).toBe(1);
  });

  test("malformed messages about changes do no harm", async () => {
    server.send();
    const both = [await opens(), await opens()];
    await passes(3_000);
    const [name = ""] = [...browser.channels].map((channel) => channel.name);
    const stranger = new (browser.tab().BroadcastChannel as typeof BroadcastChannel)(name);
    for (const message of [
      { kind: "changes" },
      { kind: "changes", changes: [null, 7, { id: "x" }, { id: "x", kind: "eat", ids: [], at: "" }] },
      { kind: "settled" },
      { kind: "settled", results: [null, { id: "x" }, { id: 7, ids: [] }] },
      { kind: "status", status: "connected", transport: "websocket", cursor: null, etag: null, pending: [7] },
    ]) {
      stranger.postMessage(message);
      await settle();
    }
    stranger.close();
    await both[1]?.client.markAsRead("n1");
    expect(server.unreadCount).toBe(0);
  });
});
