// The user's preferences: what rings and how, when push waits, and which chats are muted. `preferencesOf(client)`.

import { backoffMs } from "./backoff.js";
import { asError, closed, invalidAnswer, isTemporary, toProblem, withoutAlarm } from "./errors.js";
import { createPause } from "./pause.js";
import { isObject } from "./protocol.js";
import { createStore } from "./store.js";
import type { Client, Problem, Store } from "./types.js";

/** Older ones are read again before a change, because it replaces what another device has saved. */
const FRESH_MS = 30_000;

/** How a notification rings: on the devices that are connected, and as a push. */
export type Channel = "realtime" | "push";

/** The time of the day in which pushes wait. */
export interface QuietHours {
  /** As `22:00`, by the clock of `timeZone`. */
  readonly from: string;
  readonly to: string;
  /** As in the IANA database, for example `Europe/Berlin`. */
  readonly timeZone: string;
  /** The days on which they begin, 1 for Monday. Default: every day. */
  readonly days?: readonly number[];
}

/** What the user prefers. Notifications of priority `critical` ring in any case. */
export interface Preferences {
  /** By type, or `*` for all others. What is missing is on. What is off is in the inbox all the same. */
  readonly types: Readonly<Record<string, Partial<Readonly<Record<Channel, boolean>>>>>;
  readonly quietHours: QuietHours | null;
  /** Until when each chat is muted, as RFC 3339 in UTC; `null` is for ever. */
  readonly mutedChats: Readonly<Record<string, string | null>>;
}

/** The state of the preferences. */
export interface PreferencesState {
  /** With the changes that are being saved. `null` until they are known. */
  readonly preferences: Preferences | null;
  readonly loading: boolean;
  readonly saving: boolean;
  /** Why they could not be read, or the last change was not saved. */
  readonly error: Problem | null;
}

/**
 * The preferences of a client's user. A change shows at once and is saved until there is an answer. A refusal undoes it,
 * sets `error` and rejects the promise.
 */
export interface UserPreferences {
  readonly client: Client;
  /** While it has listeners, the preferences are read when the page becomes visible. */
  readonly store: Store<PreferencesState>;
  refresh(): Promise<void>;
  /** Replaces all of them by what the function makes of them. */
  change(next: (present: Preferences) => Preferences): Promise<void>;
  /** `null` leaves it to `*`, or to the default. */
  setChannel(type: string, channel: Channel, isOn: boolean | null): Promise<void>;
  setQuietHours(quietHours: QuietHours | null): Promise<void>;
  /** Without `until` for ever. */
  mute(chatId: string, until?: Date | string): Promise<void>;
  unmute(chatId: string): Promise<void>;
  /** Whether notifications of a type ring so. On until the preferences are known. */
  isOn(type: string, channel: Channel): boolean;
  isMuted(chatId: string): boolean;
  dismissError(): void;
}

interface Change {
  readonly apply: (present: Preferences) => Preferences;
  readonly settle: (error?: unknown) => void;
}

const initial: PreferencesState = { preferences: null, loading: true, saving: false, error: null };

const known = new WeakMap<Client, UserPreferences>();

/** The preferences of a client's user, the same object for each call. */
export function preferencesOf(client: Client): UserPreferences {
  const preferences = known.get(client) ?? createPreferences(client);
  known.set(client, preferences);
  return preferences;
}

function createPreferences(client: Client): UserPreferences {
  const { environment, report } = client.wire;
  const { store, update } = createStore<PreferencesState>(initial);
  const pause = createPause();
  /** What the server has, as far as it is known. */
  let saved: Preferences | null = null;
  let readMs = Number.NEGATIVE_INFINITY;
  let changes: Change[] = [];
  let listeners = 0;
  let reading: Promise<void> | null = null;
  let isSaving = false;
  /** Identifies the present user. */
  let session = {};

  function show(part: Partial<PreferencesState> = {}): void {
    const preferences = saved && changes.reduce((present, { apply }) => apply(present), saved);
    update({ preferences, saving: changes.length > 0, ...part });
  }

  const isOpen = (): boolean => client.store.getState().wsStatus !== "closed";

  async function request(method: string, body?: Preferences): Promise<Preferences> {
    const own = session;
    if (!isOpen()) throw closed();
    const answer = await client.request(method, "/api/preferences", body ? { body } : {});
    // An answer for a user who has left is not shown to the next one.
    if (own !== session) throw closed();
    if (!isPreferences(answer)) throw invalidAnswer();
    return answer;
  }

  async function read(): Promise<void> {
    saved = await request("GET");
    readMs = Date.now();
    show({ loading: false });
  }

  function refresh(): Promise<void> {
    // A change that is being saved brings them too.
    if (isSaving) return Promise.resolve();
    if (!reading) {
      const started = read().finally(() => {
        if (reading === started) reading = null;
      });
      reading = started;
      started.then(
        () => store.getState().error?.source === "connection" && update({ error: null }),
        (thrown) => failed(thrown, "connection"),
      );
    }
    return withoutAlarm(reading);
  }

  function failed(thrown: unknown, source: Problem["source"]): void {
    const error = asError(thrown);
    if (error.code === "closed") return;
    const problem = toProblem(source, error);
    report(problem);
    update({ error: problem, loading: false });
  }

  /** Saves what has been changed so far in one call, and then what was changed meanwhile. */
  async function save(): Promise<void> {
    if (isSaving) return;
    isSaving = true;
    const own = session;
    let failures = 0;
    // What happens in one go is saved together.
    for (await null; changes.length > 0 && own === session; ) {
      const batch = [...changes];
      try {
        if (Date.now() - readMs > FRESH_MS) await read();
        const next = batch.reduce((present, { apply }) => apply(present), saved as unknown as Preferences);
        saved = await request("PUT", next);
        readMs = Date.now();
        failures = 0;
        done(batch);
      } catch (thrown) {
        const error = asError(thrown);
        if (own !== session) break;
        const mayRetry = isTemporary(error) && error.code !== "closed";
        if (mayRetry) await pause.for(backoffMs(++failures, environment.random, error.retryAfterMs));
        else done(batch, error);
      }
    }
    if (own === session) isSaving = false;
  }

  function done(batch: readonly Change[], error?: unknown): void {
    changes = changes.filter((one) => !batch.includes(one));
    show();
    if (error) failed(error, "change");
    for (const { settle } of batch) settle(error);
  }

  function change(apply: Change["apply"]): Promise<void> {
    if (client.store.getState().userId === null) return withoutAlarm(Promise.reject(closed()));
    const saving = new Promise<void>((resolve, reject) => {
      changes.push({ apply, settle: (error) => (error ? reject(error) : resolve()) });
    });
    show({ error: null });
    void save();
    return withoutAlarm(saving);
  }

  function changeMutes(apply: (mutes: Preferences["mutedChats"]) => Preferences["mutedChats"]): Promise<void> {
    return change((present) => {
      // Those that are over would count against the limit.
      const lasting = Object.entries(present.mutedChats).filter(([, until]) => isAhead(until));
      return { ...present, mutedChats: apply(Object.fromEntries(lasting)) };
    });
  }

  /** Begins with another user, or with none. */
  function begin(): void {
    const left = changes;
    session = {};
    saved = reading = null;
    readMs = Number.NEGATIVE_INFINITY;
    changes = [];
    isSaving = false;
    pause.wake();
    update(initial);
    for (const { settle } of left) settle(closed());
    if (listeners > 0 && client.store.getState().userId !== null) void refresh();
  }

  client.store.subscribe((state, previous) => {
    if (state.userId !== previous.userId) begin();
    else if (state.wsStatus !== previous.wsStatus && ["connected", "closed"].includes(state.wsStatus)) {
      // After a close the next attempt ends at once.
      pause.wake();
      if (isOpen() && listeners > 0 && saved === null) void refresh();
    }
  });
  environment.document?.addEventListener("visibilitychange", () => {
    if (environment.document?.visibilityState !== "hidden" && listeners > 0) void refresh();
  });

  return {
    client,
    store: {
      ...store,
      subscribe(listener) {
        const unsubscribe = store.subscribe(listener);
        if (listeners++ === 0 && client.store.getState().userId !== null) void refresh();
        let isSubscribed = true;
        return () => {
          if (isSubscribed) listeners--;
          isSubscribed = false;
          unsubscribe();
        };
      },
    },
    refresh,
    change,
    setChannel: (type, channel, isOn) =>
      change(({ types, ...others }) => {
        const { [channel]: _, ...left } = types[type] ?? {};
        const next = isOn === null ? left : { ...left, [channel]: isOn };
        const { [type]: __, ...rest } = types;
        return { ...others, types: Object.keys(next).length > 0 ? { ...rest, [type]: next } : rest };
      }),
    setQuietHours: (quietHours) => change((present) => ({ ...present, quietHours })),
    mute: (chatId, until) =>
      changeMutes((mutes) => ({ ...mutes, [chatId]: until === undefined ? null : new Date(until).toISOString() })),
    unmute: (chatId) => changeMutes(({ [chatId]: _, ...others }) => others),
    isOn(type, channel) {
      const types = store.getState().preferences?.types;
      return types?.[type]?.[channel] ?? types?.["*"]?.[channel] ?? true;
    },
    isMuted: (chatId) => isAhead(store.getState().preferences?.mutedChats[chatId]),
    dismissError: () => update({ error: null }),
  };
}

/** Whether a mute still lasts. */
const isAhead = (until: string | null | undefined): boolean =>
  until === null || (until !== undefined && Date.parse(until) > Date.now());

function isPreferences(value: unknown): value is Preferences {
  return isObject(value) && isObject(value["types"]) && isObject(value["mutedChats"]);
}
