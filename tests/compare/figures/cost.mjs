// Figures 15 and 16. What Lambda bills: the CPU time of a function alone, for a send to one online recipient and for a frame.
//
// Functions are processes of their own, frozen between two calls, on Postgres and Redis. Calls are made one after the
// other, so each function has one process. A frame is what a send to 101 recipients costs more if all of them are online
// instead of one, divided by 100: both store the same rows.

import { buildFunctions, startCarillon } from "../carillon.mjs";
import { Deliveries } from "../deliveries.mjs";
import { meterFunction } from "../function-cpu.mjs";
import { Connection } from "../http.mjs";
import { terminate } from "../sockets.mjs";

const WARM_UP = 20;
const CALLS = 3_000;
/** Recipients of the larger sends, of which the drain gets none: `send` itself pushes to the first 200. */
const RECIPIENTS = 101;
/** How often the sends to 101 take turns, and how many of each a turn has. */
const ROUNDS = 10;
const CALLS_EACH = 20;
const BODY = "x".repeat(120);

export const title = "CPU of the function alone";

export const sides = { spawned };

export const prepare = buildFunctions;

export const rows = [
  {
    name: "15: send to one online recipient",
    metric: "sendUs",
    ceiling: 150,
    note: "CPU of send, with its push",
  },
  {
    name: "16: frame pushed",
    metric: "frameUs",
    ceiling: 40,
    note: "CPU of send to 101: if all instead of one are online, / 100",
  },
  {
    name: "16: recipient and frame",
    metric: "recipientUs",
    note: "CPU of send: to 101 online instead of one, / 100",
  },
  {
    name: "16: ping that is answered",
    metric: "pingUs",
    note: "CPU of message",
  },
].map((row) => ({ ...row, unit: "µs", ours: "spawned", better: "lower" }));

async function spawned(context) {
  const carillon = await startCarillon(context, "spawned");
  const one = audience("one", 1, 1);
  const few = audience("few", RECIPIENTS, 1);
  const all = audience("all", RECIPIENTS, RECIPIENTS);
  const online = [one, few, all].flatMap((audience) => audience.online);
  const calls = new Calls(carillon, await Connection.open(carillon.port));
  const sockets = await carillon.openSockets(online, (frame, n) => calls.hears(frame, online[n]));

  for (const audience of [one, few, all]) await calls.repeat(WARM_UP, () => calls.sends(audience));
  const sendUs = await calls.costOf("send", CALLS, () => calls.sends(one));
  let [fewUs, allUs] = [0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    fewUs += (await calls.costOf("send", CALLS_EACH, () => calls.sends(few))) / ROUNDS;
    allUs += (await calls.costOf("send", CALLS_EACH, () => calls.sends(all))) / ROUNDS;
  }
  await calls.repeat(WARM_UP, () => calls.pings(sockets[0]));
  const pingUs = await calls.costOf("message", CALLS, () => calls.pings(sockets[0]));

  await calls.areExact();
  terminate(sockets);
  await carillon.stop();
  const ofEach = (less) => (allUs - less) / (RECIPIENTS - 1);
  return { sendUs, frameUs: ofEach(fewUs), recipientUs: ofEach(sendUs), pingUs };
}

/** Users of whom the first are online. */
function audience(name, count, onlineCount) {
  const users = Array.from({ length: count }, (_, n) => `${name}-${n}`);
  return { users, online: users.slice(0, onlineCount) };
}

/** Calls one after the other, each until all of its frames have arrived. */
class Calls {
  #carillon;
  #connection;
  #deliveries = new Deliveries();
  #expected = [];

  constructor(carillon, connection) {
    this.#carillon = carillon;
    this.#connection = connection;
  }

  hears(frame, user) {
    if (frame.type === "notification") this.#deliveries.arrive(`${user}/${frame.notification.id}`);
    else if (frame.type === "pong") this.#deliveries.arrive(frame.ref);
    else if (frame.type !== "presence") throw new Error(`a frame that was not expected: ${JSON.stringify(frame)}`);
  }

  async sends({ users, online }) {
    const headers = this.#carillon.as("service", "notify:send");
    const body = JSON.stringify({ type: "reminder", userIds: users, title: "New message", body: BODY });
    const options = { headers, body };
    const { notifications } = await this.#connection.json(202, "POST", "/api/notifications/send", options);
    const told = notifications.filter(({ userId }) => online.includes(userId));
    this.#expected.push(...told.map(({ userId, id }) => `${userId}/${id}`));
    await this.#deliveries.reach(this.#expected.length);
  }

  async pings(socket) {
    const ref = `ping-${this.#expected.length}`;
    this.#expected.push(ref);
    socket.send(JSON.stringify({ action: "ping", ref }));
    await this.#deliveries.reach(this.#expected.length);
  }

  async repeat(count, call) {
    for (let n = 0; n < count; n++) await call();
  }

  /** The CPU time of a function for each of so many calls, in microseconds. */
  async costOf(name, count, call) {
    const used = meterFunction(this.#carillon.pid, name);
    await this.repeat(count, call);
    return used() / count;
  }

  /** Fails unless each frame came once. */
  async areExact() {
    this.#connection.close();
    await this.#deliveries.areExactly(this.#expected);
  }
}
