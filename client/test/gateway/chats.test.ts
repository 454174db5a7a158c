import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { WebSocket } from "ws";
import { type Chats, chatsOf, type OpenChat, presenceOf } from "../../src/chat.js";
import { type Client, type ClientOptions, createClient, type Problem } from "../../src/index.js";
import { Gateway } from "./gateway.js";

let gateway: Gateway;
let users = 0;
let clients: Client[] = [];

beforeAll(async () => {
  gateway = await Gateway.start();
});

afterAll(async () => {
  await gateway?.stop();
});

beforeEach(() => {
  users++;
});

afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
});

interface User {
  readonly id: string;
  readonly client: Client;
  readonly chats: Chats;
  readonly problems: Problem[];
  shows(chatId: string): OpenChat & { bodies(): string[] };
}

function userOf(name: string, options: Partial<ClientOptions> = {}): User {
  const id = `${name}-${users}`;
  const problems: Problem[] = [];
  const client = createClient({
    baseUrl: gateway.url,
    getToken: () => gateway.token(id),
    onProblem: (problem) => problems.push(problem),
    pollMs: 200,
    ...options,
    environment: { WebSocket: WebSocket as unknown as typeof globalThis.WebSocket, ...options.environment },
  });
  clients.push(client);
  const chats = chatsOf(client);
  client.connect();
  const shows = (chatId: string): OpenChat & { bodies(): string[] } => {
    const open = chats.open(chatId);
    open.store.subscribe(() => {});
    return { ...open, bodies: () => open.store.getState().messages.map(({ body, state }) => `${state} ${body}`) };
  };
  return { id, client, chats, problems, shows };
}

const until = (check: () => void): Promise<void> => vi.waitFor(check, { timeout: 45_000, interval: 20 });

const isConnected = (...some: User[]): Promise<void> =>
  until(() => {
    for (const { client } of some) expect(client.store.getState()).toMatchObject({ wsStatus: "connected" });
  });

async function chatOf(alice: User, bob: User): Promise<string> {
  await isConnected(alice, bob);
  const { id } = await alice.chats.create({ kind: "direct", participantIds: [bob.id] });
  await bob.chats.accept(id);
  return id;
}

test("two users ask, accept, talk, type and read", async () => {
  const [alice, bob] = [userOf("alice"), userOf("bob")];
  await isConnected(alice, bob);
  await until(() => expect(alice.client.store.getState().transport).toBe("websocket"));
  const { id } = await alice.chats.create({ kind: "direct", participantIds: [bob.id] });
  await until(() => expect(bob.chats.store.getState().chats).toMatchObject([{ id, status: "PENDING" }]));
  const [phone, tablet] = [alice.shows(id), bob.shows(id)];
  phone.send("Hi", { mood: "good" });
  await until(() => expect(tablet.bodies()).toEqual(["sent Hi"]));
  expect(tablet.store.getState().messages[0]).toMatchObject({ senderId: alice.id, data: { mood: "good" }, seq: 1 });

  // Before accepting, bob may only read.
  tablet.send("Who is this?");
  await until(() => expect(tablet.bodies()).toEqual(["sent Hi", "failed Who is this?"]));
  expect(tablet.store.getState().messages[1]?.error).toMatchObject({ code: "forbidden", status: 403 });
  await bob.chats.accept(id);
  await until(() => expect(alice.chats.store.getState().chats[0]?.status).toBe("ACCEPTED"));
  await until(() => expect(bob.chats.store.getState().unreadCount).toBe(1));
  await tablet.markAsRead();
  expect(bob.chats.store.getState().unreadCount).toBe(0);
  await until(() =>
    expect(phone.store.getState().chat?.participants.find(({ userId }) => userId === bob.id)?.readSeq).toBe(1),
  );
  tablet.retry(tablet.store.getState().messages[1]?.clientId ?? "");
  await until(() => expect(phone.bodies()).toEqual(["sent Hi", "sent Who is this?"]));
  await until(() => expect(tablet.bodies()).toEqual(phone.bodies()));
  phone.setDraft("A");
  await until(() => expect(tablet.store.getState().typing).toEqual([alice.id]));
  expect([...alice.problems, ...bob.problems]).toEqual([]);
});

test("messages that are too large for a frame arrive on both sides", async () => {
  const types: string[] = [];
  const recording = class extends WebSocket {
    constructor(url: string | URL) {
      super(url);
      this.addEventListener("message", ({ data }) => types.push(JSON.parse(String(data)).type));
    }
  };
  const environment = { WebSocket: recording as unknown as typeof globalThis.WebSocket };
  // The largest message is just beyond a frame, if its sender has a long id.
  const [alice, bob] = [userOf("alice".repeat(40)), userOf("bob", { environment })];
  const id = await chatOf(alice, bob);
  const [phone, tablet] = [alice.shows(id), bob.shows(id)];
  const body = "😀".repeat(4_000);
  phone.send(body, { text: "x".repeat(16_370) });
  await until(() => expect([phone.bodies(), tablet.bodies()]).toEqual([[`sent ${body}`], [`sent ${body}`]]));
  expect(types).toContain("fetch");
  tablet.send("small");
  await until(() => expect(phone.bodies()[1]).toBe("sent small"));
  expect([...alice.problems, ...bob.problems]).toEqual([]);
});

test("a group is made, changed, left and hidden", async () => {
  const [alice, bob, carol] = [userOf("alice"), userOf("bob"), userOf("carol")];
  await isConnected(alice, bob, carol);
  const { id } = await alice.chats.create({ kind: "group", participantIds: [bob.id], title: "Lunch" });
  alice.shows(id).send("Hungry?");
  await until(() => expect(bob.chats.store.getState().unreadCount).toBe(1));
  await bob.chats.addMembers(id, [carol.id]);
  await until(() =>
    expect(carol.chats.store.getState()).toMatchObject({ unreadCount: 0, chats: [{ memberCount: 3 }] }),
  );
  const shown = carol.shows(id);
  await until(() => expect(shown.bodies()).toEqual(["sent Hungry?"]));
  await carol.chats.rename(id, "Dinner");
  await until(() => expect(alice.chats.store.getState().chats).toMatchObject([{ title: "Dinner" }]));
  expect((await alice.chats.members(id)).items.map(({ userId }) => userId)).toEqual([alice.id, bob.id, carol.id]);
  await alice.chats.removeMembers(id, [carol.id]);
  await until(() => expect(carol.chats.store.getState().chats).toEqual([]));
  await until(() => expect(shown.store.getState()).toMatchObject({ chat: null, messages: [] }));

  await bob.chats.hide(id);
  expect(bob.chats.store.getState()).toMatchObject({ chats: [], unreadCount: 0 });
  alice.shows(id).send("Still?");
  await until(() => expect(bob.chats.store.getState()).toMatchObject({ chats: [{ id, unread: 1 }] }));
  const tablet = bob.shows(id);
  await until(() => expect(tablet.bodies()).toEqual(["sent Still?"]));
  await bob.chats.restore(id);
  await until(() => expect(tablet.bodies()).toEqual(["sent Hungry?", "sent Still?"]));
  await bob.chats.leave(id);
  expect(bob.chats.store.getState().chats).toEqual([]);
});

test("a gateway that is killed while two users write loses and doubles nothing", async () => {
  const [alice, bob] = [userOf("alice"), userOf("bob")];
  const id = await chatOf(alice, bob);
  const [phone, tablet] = [alice.shows(id), bob.shows(id)];
  const said = (who: string): string[] => Array.from({ length: 12 }, (_, n) => `${who} ${n}`);
  for (const [n, body] of said("a").entries()) {
    phone.send(body);
    tablet.send(`b ${n}`);
  }
  await until(() => expect(phone.bodies().filter((body) => body.startsWith("sent")).length).toBeGreaterThan(0));
  await gateway.kill();
  await gateway.restart();
  const expected = [...said("a"), ...said("b")].map((body) => `sent ${body}`);
  await until(() => {
    for (const shown of [phone, tablet]) expect([...shown.bodies()].sort()).toEqual([...expected].sort());
  });
  expect(phone.bodies()).toEqual(tablet.bodies());
  const ofAlice = phone.bodies().filter((body) => body.startsWith("sent a"));
  expect(ofAlice).toEqual(said("a").map((body) => `sent ${body}`));
});

test("a user comes, is known once accepted, and goes", async () => {
  const [alice, bob] = [userOf("alice"), userOf("bob")];
  await isConnected(alice, bob);
  const store = presenceOf(alice.client).of([bob.id, "stranger"]);
  store.subscribe(() => {});
  const { id } = await alice.chats.create({ kind: "direct", participantIds: [bob.id] });
  await until(() => expect(bob.chats.store.getState().chats).toMatchObject([{ id, status: "PENDING" }]));
  expect(store.getState().size).toBe(0);
  await bob.chats.accept(id);
  await until(() => expect([...store.getState().values()]).toMatchObject([{ userId: bob.id, online: true }]));
  // Bob has another device, without a socket: it asks over HTTP.
  const phone = createClient({
    baseUrl: gateway.url,
    getToken: () => gateway.token(bob.id),
    transports: ["polling"],
    pollMs: 200,
  });
  clients.push(phone);
  phone.connect();
  const onPhone = presenceOf(phone).of([alice.id]);
  onPhone.subscribe(() => {});
  await until(() => expect(onPhone.getState().get(alice.id)).toMatchObject({ online: true }));
  expect(alice.problems).toEqual([]);
});

test("a client without a socket talks by polling", async () => {
  const [alice, bob] = [userOf("alice", { transports: ["polling"] }), userOf("bob")];
  const id = await chatOf(alice, bob);
  const [phone, tablet] = [alice.shows(id), bob.shows(id)];
  tablet.send("Hi");
  await until(() => expect(phone.bodies()).toEqual(["sent Hi"]));
  phone.send("Hi Bob");
  await until(() => expect(tablet.bodies()).toEqual(["sent Hi", "sent Hi Bob"]));
});
