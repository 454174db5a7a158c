// Who is online, of the users that a page shows: asked for together, followed by events, and shared by all components.

import { backoffMs } from "../backoff.js";
import { asError, isTemporary } from "../errors.js";
import { createPause } from "../pause.js";
import { isObject } from "../protocol.js";
import { createStore } from "../store.js";
import type { Client, State } from "../types.js";
import { createLine, type Reply } from "./line.js";
import type { Presence, PresenceMap, Presences } from "./types.js";

/** Components that appear together are asked for together. */
const GATHER_MS = 20;
/** The server answers for up to 200 users at once. */
const MAX_ASKED = 200;
/** No address is longer than this, whatever the ids of the users are. */
const MAX_LENGTH = 6_000;
/** Events may be lost, and the lease of a user who has gone ends after 5 min. */
const REFRESH_MS = 300_000;
/** Without a socket there are no events. */
const REFRESH_POLLING_MS = 30_000;
/** What happens in chats may make users known. It may happen often. */
const NEWS_MS = 1_000;

const nothing: PresenceMap = new Map();
const known = new WeakMap<Client, Presences>();

/** The presence of users whom the client's user knows. Each call with a client returns the same object. */
export function presenceOf(client: Client): Presences {
  const presences = known.get(client) ?? createPresences(client);
  known.set(client, presences);
  return presences;
}

function createPresences(client: Client): Presences {
  const { wire } = client;
  const line = createLine(wire, "presence-");
  const pause = createPause();
  const { store, update } = createStore<{ users: PresenceMap }>({ users: nothing });
  /** How many listeners ask about each user. */
  const held = new Map<string, number>();
  let wanted = new Set<string>();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let refreshTimer: ReturnType<typeof setTimeout> | undefined;
  let newsMs = 0;
  let isAsking = false;

  const isConnected = (): boolean => client.store.getState().wsStatus === "connected";

  function take(users: unknown): void {
    if (!Array.isArray(users)) return;
    const next = new Map(store.getState().users);
    for (const user of users.filter(isPresence)) {
      const { userId, online, lastSeenAt } = user;
      if (held.has(userId)) next.set(userId, { userId, online, lastSeenAt });
    }
    update({ users: next });
  }

  /** Without a connection, users come and go unheard. When they were last seen remains true. */
  function doubt(): void {
    const { users } = store.getState();
    if ([...users.values()].every(({ online }) => online === null)) return;
    update({ users: new Map([...users].map(([id, presence]) => [id, { ...presence, online: null }])) });
  }

  function askSoon(ms: number): void {
    if (timer !== undefined) return;
    timer = setTimeout(() => {
      timer = undefined;
      if (!isAsking) void keepAsking();
    }, ms);
  }

  function refresh(): void {
    wanted = new Set(held.keys());
    if (wanted.size > 0) askSoon(GATHER_MS);
  }

  function watch(): void {
    clearTimeout(refreshTimer);
    refreshTimer = undefined;
    if (held.size === 0) return;
    const { transport } = client.store.getState();
    const isPolling = transport !== "websocket" && transport !== "sse";
    refreshTimer = setTimeout(refresh, isPolling ? REFRESH_POLLING_MS : REFRESH_MS);
  }

  async function ask(userIds: readonly string[]): Promise<unknown> {
    const reply = await line.ask({ action: "presence", userIds });
    if (reply?.["type"] === "presence") return reply["users"];
    const ids = userIds.map(encodeURIComponent);
    // In `userIds` the comma separates them.
    const query = userIds.some((id) => id.includes(","))
      ? ids.map((id) => `userId=${id}`).join("&")
      : `userIds=${ids.join(",")}`;
    const answer = await client.request("GET", `/api/presence?${query}`);
    return isObject(answer) ? answer["users"] : null;
  }

  async function keepAsking(): Promise<void> {
    isAsking = true;
    for (let failures = 0; isConnected() && wanted.size > 0; ) {
      const batch = nextBatch(wanted);
      for (const userId of batch) wanted.delete(userId);
      try {
        // An answer for a user who has left is an error.
        take(await ask(batch));
        failures = 0;
      } catch (thrown) {
        const error = asError(thrown);
        // A refusal concerns a dot only: without an answer a user is neither online nor offline.
        if (!isTemporary(error)) continue;
        for (const userId of batch) if (held.has(userId)) wanted.add(userId);
        await pause.for(backoffMs(++failures, wire.environment.random, error.retryAfterMs));
      }
    }
    isAsking = false;
    watch();
  }

  function receive(frame: Reply): void {
    if (frame["ref"] !== undefined) return line.reply(frame);
    const { type, users, chat, userId, message } = frame;
    if (type === "presence") return take(users);
    // Accepting, writing and reading let users know each other.
    const involved = new Set([userId, isObject(message) && message["senderId"]]);
    if (type === "chat" && isObject(chat) && Array.isArray(chat["participants"])) {
      for (const each of chat["participants"]) if (isObject(each)) involved.add(each["userId"]);
    }
    const present = store.getState().users;
    for (const each of involved) {
      if (typeof each === "string" && held.has(each) && !present.has(each)) wanted.add(each);
    }
    if (wanted.size === 0) return;
    const sinceMs = Date.now() - newsMs;
    newsMs = Date.now();
    askSoon(sinceMs < NEWS_MS ? NEWS_MS : GATHER_MS);
  }

  function follow(state: State, previous: State): void {
    const isOther = state.userId !== previous.userId;
    if (isOther) update({ users: nothing });
    if (state.wsStatus === "offline" || state.wsStatus === "closed") doubt();
    if (state.transport !== previous.transport || state.wsStatus !== previous.wsStatus) line.drop();
    if (state.wsStatus !== "connected") return;
    const isNew = isOther || previous.wsStatus !== "connected" || state.transport !== previous.transport;
    if (!isNew) return;
    pause.wake();
    refresh();
    watch();
  }

  function hold(userIds: readonly string[]): void {
    for (const userId of userIds) {
      if (!held.has(userId)) wanted.add(userId);
      held.set(userId, (held.get(userId) ?? 0) + 1);
    }
    if (wanted.size > 0 && isConnected()) askSoon(GATHER_MS);
    if (refreshTimer === undefined) watch();
  }

  function release(userIds: readonly string[]): void {
    for (const userId of userIds) held.set(userId, (held.get(userId) ?? 1) - 1);
    // A component whose list changes lets go of all users, and asks about most of them again.
    setTimeout(() => {
      const users = new Map(store.getState().users);
      for (const [userId, count] of held) {
        if (count > 0) continue;
        held.delete(userId);
        wanted.delete(userId);
        users.delete(userId);
      }
      update({ users });
      if (held.size === 0) watch();
    });
  }

  wire.subscribe(receive);
  client.store.subscribe(follow);

  return {
    client,
    of(userIds) {
      const ids = [...new Set(userIds)].filter(isAskable);
      let from: PresenceMap | null = null;
      let shown = nothing;
      const getState = (): PresenceMap => {
        const { users } = store.getState();
        if (users === from) return shown;
        from = users;
        const entries = ids.flatMap((id) => users.get(id) ?? []);
        const isSame = entries.length === shown.size && entries.every((one) => shown.get(one.userId) === one);
        if (!isSame) shown = new Map(entries.map((one) => [one.userId, one]));
        return shown;
      };
      return {
        getState,
        getInitialState: () => nothing,
        subscribe(listener) {
          let last = getState();
          const unsubscribe = store.subscribe(() => {
            const previous = last;
            last = getState();
            if (last !== previous) listener(last, previous);
          });
          let isHeld = true;
          hold(ids);
          return () => {
            if (isHeld) release(ids);
            isHeld = false;
            unsubscribe();
          };
        },
      };
    },
  };
}

/** One id that the server cannot read would have it refuse all. */
const isAskable = (userId: string): boolean => userId !== "" && userId.length <= 256 && !/[\p{Cc}\p{Cs}]/u.test(userId);

function isPresence(value: unknown): value is Presence {
  if (!isObject(value)) return false;
  const { userId, online, lastSeenAt } = value;
  const isTime = lastSeenAt === null || typeof lastSeenAt === "string";
  return typeof userId === "string" && (online === null || typeof online === "boolean") && isTime;
}

function nextBatch(wanted: ReadonlySet<string>): string[] {
  const batch: string[] = [];
  let length = 0;
  for (const userId of wanted) {
    length += encodeURIComponent(userId).length + 1;
    if (batch.length > 0 && (length > MAX_LENGTH || batch.length >= MAX_ASKED)) break;
    batch.push(userId);
  }
  return batch;
}
