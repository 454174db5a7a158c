// The frames of clients, admitted and refused as asyncapi.yaml has it, and what the server says on the way.

import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { TEXTS, VALUES } from "../api/bodies.js";
import { Caller } from "../api/caller.js";
import { type Json, messageNames, root } from "../api/descriptions.js";
import { Gateway } from "./gateway.js";

type Frame = { readonly [name: string]: Json };

let gateway: Gateway;
let alice: Device;
let bob: Device;
let chat: string;

/** An open socket. */
class Device {
  readonly caller: Caller;
  private readonly socket: WebSocket;
  private readonly replies: Map<string, (frame: Frame) => void> = new Map();
  private asked = 0;

  private constructor(caller: Caller, socket: WebSocket) {
    this.caller = caller;
    this.socket = socket;
    socket.on("message", (data) => {
      const frame = JSON.parse(String(data));
      this.replies.get(frame.ref)?.(frame);
    });
  }

  static async of(user: string): Promise<Device> {
    const caller = Caller.as(gateway, user, "notify:send", "notify:admin");
    const { json } = await caller.post("/api/ws/ticket");
    const socket = new WebSocket(`${json.url}?ticket=${json.ticket}`);
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    return new Device(caller, socket);
  }

  tell(frame: Frame): void {
    this.socket.send(JSON.stringify(frame));
  }

  ask(frame: Frame): Promise<Frame> {
    this.asked += 1;
    const ref = `r${this.asked}`;
    return new Promise((resolve) => {
      this.replies.set(ref, resolve);
      this.tell({ ...frame, ref });
    });
  }

  close(): void {
    this.socket.close();
  }
}

beforeAll(async () => {
  const limits = { RATE_LIMIT_FRAMES: "100000/1s", RATE_LIMIT_CHAT: "100000/1s", RATE_LIMIT_SEND: "100000/1s" };
  gateway = await Gateway.start(limits);
  [alice, bob] = [await Device.of("alice"), await Device.of("bob")];
  const { json } = await alice.caller.post("/api/chats", { kind: "direct", participantIds: ["bob"] });
  chat = json.id;
  await bob.caller.post(`/api/chats/${chat}/accept`);
});

afterAll(async () => {
  alice?.close();
  bob?.close();
  await gateway?.stop();
});

const folder = new URL("tests/frames/client/", root);
const examples: [string, Frame][] = readdirSync(folder).map((file) => [
  file,
  JSON.parse(readFileSync(new URL(file, folder), "utf8")),
]);

/** Replies to all frames have arrived once this has. */
const flushed = (device: Device): Promise<Frame> => device.ask({ action: "ping" });

test.for(examples)("variants of %s are admitted if and only if the document does", async ([, example]) => {
  const { ref: _, ...members } = example;
  const frame = "chatId" in members ? { ...members, chatId: chat } : members;
  const variants: Frame[] = [frame, { ...frame, unexpected: 1 }, { ...frame, action: "unknown" }];
  for (const name of Object.keys(members)) {
    const { [name]: _, ...rest } = frame;
    variants.push(rest);
    // A refused ticket closes the socket.
    const isTicket = name === "ticket";
    for (const value of [...TEXTS, ...VALUES])
      if (!isTicket || typeof value !== "string" || value === "") variants.push({ ...frame, [name]: value });
    if (name.endsWith("s")) for (const value of TEXTS) variants.push({ ...frame, [name]: ["a", value] });
  }
  const device = await Device.of("alice");
  // The proxy compares each reply with what it was asked.
  for (const [n, variant] of variants.entries()) {
    if (variant["action"] !== "auth" || variant["ticket"] !== example["ticket"])
      device.tell({ ...variant, ref: `v${n}` });
    if (n % 100 === 99) await flushed(device);
  }
  await flushed(device);
  for (const text of TEXTS) if (text !== "a") device.tell({ action: "ping", ref: text });
  await flushed(device);
  device.close();
});

test("the server says what the document knows", async () => {
  const { caller } = alice;
  const { json } = await caller.post("/api/notifications/send", {
    type: "like",
    userIds: ["alice"],
    title: "Hi",
    collapseKey: "c",
  });
  const id = json.notifications[0].id;
  await caller.post("/api/notifications/send", { type: "like", userIds: ["alice"], title: "Hi", collapseKey: "c" });
  // Just within a client's frame, and too large for one of the server.
  const large = { body: "🔔".repeat(4_000), data: { text: "x".repeat(16_370) } };
  await caller.post("/api/notifications/send", { type: "like", userIds: ["alice"], title: "x".repeat(200), ...large });
  await caller.post("/api/events/emit", { type: "dashboard", data: { a: 1 } });
  const said = { action: "sendMessage", chatId: chat };
  expect(await alice.ask({ ...said, clientId: "x1", body: "Hi" })).toMatchObject({ type: "sent" });
  expect(await alice.ask({ ...said, clientId: "x".repeat(180), ...large })).toMatchObject({ type: "fetch" });
  bob.tell({ action: "typing", chatId: chat, on: true });
  expect(await bob.ask({ action: "readChat", chatId: chat, seq: 1 })).toHaveProperty("unread");
  expect(await bob.ask({ action: "presence", userIds: ["alice"] })).toMatchObject({ users: [{ online: true }] });
  const ticket = (await caller.post("/api/ws/ticket")).json.ticket;
  expect(await alice.ask({ action: "auth", ticket })).toHaveProperty("expiresAt");
  expect(await alice.ask({ action: "read", ids: [id] })).toMatchObject({ type: "ok" });
  expect(await alice.ask({ action: "readAll" })).toHaveProperty("updated");
  expect(await alice.ask({ action: "sync" })).toMatchObject({ type: "sync" });
  const group = await bob.caller.post("/api/chats", { kind: "group", participantIds: ["alice"] });
  await bob.caller.post(`/api/chats/${group.json.id}/members/remove`, { userIds: ["alice"] });
  for (let n = 0; n < 101; n += 1)
    await caller.post("/api/notifications/send", { type: "like", userIds: ["alice"], title: `${n}` });
  await alice.ask({ action: "readAll" });

  // Fast accepts need half a minute, and a stream ends after minutes: other suites see those.
  const rare = ["loggedNotification", "loggedMessage", "reconnect"];
  const all = [...messageNames("fromClient"), ...messageNames("fromServer")];
  const unseen = (): string[] => all.filter((name) => !gateway.proxy.messages.has(name) && !rare.includes(name));
  await vi.waitFor(() => expect(unseen()).toEqual([]), 10_000);
});
