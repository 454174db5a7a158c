// The acts of docs/cost.json: what users and services do, and what each takes.

import { setTimeout as sleep } from "node:timers/promises";

/** How often each act is done: once until all that it uses is warm, and then counted. */
const TIMES = 4;
/** Of how many the average is what one adds to the database. */
const STORED = 500;
/** How many notifications a list has. */
const LISTED = 20;
/** A little longer than `GRACE_MS` of shared/src/presence. */
const GRACE_MS = 31_000;
const SAID = "Shall we say seven, at the usual place?";
const NOTHING = {
  invocations: {},
  http: 0,
  framesIn: 0,
  replies: 0,
  pushes: 0,
  statements: 0,
  commands: 0,
  bytesOut: 0,
};

/** Does each act, and counts what it takes. */
export async function countActs(system) {
  const [service, alice, bob] = await Promise.all([
    system.token("shop", "notify:send"),
    system.token("alice"),
    system.token("bob"),
  ]);
  let sends = 0;
  const send = (user) =>
    system.call(service, "POST", "/api/notifications/send", {
      type: "ORDER_SHIPPED",
      userIds: [user],
      title: "Your parcel is on its way",
      body: "It leaves the warehouse today and will be with you on Friday.",
      data: { orderId: 7 },
      actionUrl: "/orders/7",
      idempotencyKey: `order-${++sends}-shipped`,
    });
  const isType = (type) => (frame) => frame.type === type;
  // A chat of two, who are both there.
  const chat = await system.call(alice, "POST", "/api/chats", { kind: "direct", participantIds: ["bob"] });
  await system.call(bob, "POST", `/api/chats/${chat.id}/accept`);
  const counted = {};
  // The first time of anything prepares statements, and every 10 s a process looks who was revoked and whether fast accepts
  // are in use: what the last three times have in common is what the act itself takes.
  const count = async (name, act, { before = () => {}, ...options } = {}) => {
    const times = [];
    for (let n = 0; n < TIMES; n++) {
      await before(n);
      times.push(await system.counts(act, options));
    }
    counted[name] = least(times.slice(1));
  };

  await count("sendAbsent", () => send("carol"));

  const his = await system.opens(bob);
  let friend;
  const socket = async () => {
    const socket = await system.opens(friend);
    await socket.sends({ action: "sync" });
    await socket.sends({ action: "ping" });
    await socket.closes();
  };
  // Somebody who was not there, and who has a chat with Bob, who is.
  const befriend = async (n) => {
    friend = await system.token(`friend-${n}`);
    const { id } = await system.call(friend, "POST", "/api/chats", { kind: "direct", participantIds: ["bob"] });
    await system.call(bob, "POST", `/api/chats/${id}/accept`);
  };
  await count("socket", socket, { before: befriend });

  // That the last of them went offline is told by a drain, 30 s after. The leases of the others may be forgotten by then.
  await sleep(GRACE_MS);
  await system.drains();
  const isGone = ([user]) => user.userId === `friend-${TIMES - 1}` && !user.online;
  const told = await his.sees(({ type, users }) => type === "presence" && isGone(users));
  counted.offline = { ...NOTHING, pushes: 1, bytesOut: JSON.stringify(told).length };

  const hers = await system.opens(alice);
  await hers.sends({ action: "sync" });
  for (let n = 0; n < LISTED - TIMES; n++) {
    await send("alice");
    await hers.sees(isType("notification"));
  }
  await count("sendRung", async () => {
    await send("alice");
    const { cursor } = await hers.sees(isType("notification"));
    await hers.sends({ action: "ack", cursor }, false);
  });
  await count("ping", () => hers.sends({ action: "ping" }));
  await count("list", () => system.call(alice, "GET", `/api/notifications?limit=${LISTED}`));
  const { notifications } = await hers.sends({ action: "sync" });
  const unread = notifications.map(({ id }) => id);
  await count("read", async () => {
    await hers.sends({ action: "read", ids: [unread.pop()] });
    await hers.sees(isType("changed"));
  });
  let messages = 0;
  let seq = 0;
  const says = async () => {
    const frame = { action: "sendMessage", chatId: chat.id, clientId: `${++messages}` };
    await hers.sends({ ...frame, body: SAID });
    ({ seq } = await his.sees(isType("message")));
  };
  await count("message", says);
  // Others get at most one receipt a second at once.
  const later = async () => {
    await says();
    await sleep(1_100);
  };
  await count("readChat", () => his.sends({ action: "readChat", chatId: chat.id, seq }), { before: later });
  await count("typing", async () => {
    await hers.sends({ action: "typing", chatId: chat.id, on: true }, false);
    await his.sees(isType("typing"));
  });

  await count("drain", () => system.drains(), { isDrain: true });

  counted.sendAbsent.storedBytes = await stored(system, () => send("carol"));
  counted.message.storedBytes = await stored(system, () =>
    system.call(alice, "POST", `/api/chats/${chat.id}/messages`, { clientId: `${++messages}`, body: SAID }),
  );
  for (const socket of [hers, his]) await socket.closes();
  return counted;
}

/** How much the database grows with each of many. */
async function stored(system, act) {
  const before = await system.storedBytes();
  for (let n = 0; n < STORED; n++) await act();
  return Math.round(((await system.storedBytes()) - before) / STORED);
}

/** What several counts of the same act have in common: the least of each. */
function least(counts) {
  const [first, ...others] = counts;
  const of = (key) => {
    const values = [first, ...others].map((count) => count[key]);
    return typeof values[0] === "number" ? Math.min(...values) : least(values);
  };
  return Object.fromEntries(Object.keys(first).map((key) => [key, of(key)]));
}
