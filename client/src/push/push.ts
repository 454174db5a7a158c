// Push in this browser: asks, subscribes, keeps the subscription at the server, and ends it. Loaded on demand.

import { available } from "../environment.js";
import { asError, closed, invalidAnswer, toProblem } from "../errors.js";
import { isObject } from "../protocol.js";
import type { OwnedStore } from "../store.js";
import type { Problem, PushOptions, PushState, PushStatus } from "../types.js";
import { keyOf, register, subscribe, unsubscribe } from "./browser.js";
import { createDevice, type KeptPush } from "./device.js";
import type { LoadedPush, PushHost } from "./host.js";
import { createTray } from "./tray.js";

const WORKER = "/push-worker.js";
/** How often the server is asked whether it still knows the subscription. It keeps ten of a user. */
const CHECK_MS = 24 * 3_600_000;

/** What a subscription has from the application, and one that is renewed from its past. */
type About = Pick<KeptPush, "script" | "home"> & Partial<KeptPush>;

export function createPush(host: PushHost, { store, update }: OwnedStore<PushState>): LoadedPush {
  const { environment } = host;
  const { indexedDB, serviceWorker, notifications } = environment;
  const client = host.client();
  const device = indexedDB && createDevice(indexedDB);
  const root = (): string => new URL(`${host.baseUrl.replace(/\/+$/, "")}/`, location.href).href;
  /** Whether the state shows somewhere. Otherwise only what is on matters. */
  let isWanted = false;
  /** What is subscribed for the present user. */
  let kept: KeptPush | null = null;
  /** Why it could not look. */
  let unseen: Problem | null = null;
  /** Grows when a user leaves: what was begun before then must not go on. */
  let era = 0;
  let last: Promise<unknown> = Promise.resolve();
  const tray = createTray({ ...host, client, kept: () => kept });

  /** One after another: turning on, turning off, and looking. */
  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = last.then(act, act);
    last = turn.catch(() => {});
    return turn;
  }

  function show(status: PushStatus): PushStatus {
    update({ status, reason: null });
    tray.changed();
    return status;
  }

  /** Whether the browser can. Tells why not. */
  function isSupported(): boolean {
    if (device && serviceWorker && notifications && "PushManager" in globalThis) return true;
    const isOnIos = available(() => (navigator as { standalone?: boolean }).standalone) === false;
    const reason = globalThis.isSecureContext === false ? "insecure" : isOnIos ? "install" : "browser";
    update({ status: "unsupported", reason });
    return false;
  }

  /** The server's key, or `null` if it sends no pushes. */
  async function requestKey(): Promise<string | null> {
    try {
      const answer = await client.request("GET", "/api/push/key");
      if (!isObject(answer) || typeof answer["key"] !== "string") throw invalidAnswer();
      return answer["key"].replace(/=+$/, "");
    } catch (thrown) {
      if (asError(thrown).status === 404) return null;
      throw thrown;
    }
  }

  /** Subscribes, and tells the worker and the server. */
  async function begin(registration: ServiceWorkerRegistration, key: string, about: About): Promise<void> {
    const own = era;
    const { text, expiresMs, userId } = await host.token();
    const isNew = about.id === undefined;
    let subscription = await subscribe(registration, key);
    let present: KeptPush = {
      id: "",
      rung: [],
      ...about,
      scope: registration.scope,
      root: root(),
      userId,
      endpoint: subscription.endpoint,
      key,
      checkedMs: 0,
      token: expiresMs === null ? null : text,
      expiresMs: expiresMs ?? 0,
    };

    async function keep(part: Partial<KeptPush> = {}): Promise<void> {
      present = { ...present, ...part };
      await device?.put(present);
      // The user may have left meanwhile.
      if (own !== era) throw closed();
      kept = present;
    }

    async function post(): Promise<unknown> {
      if (own !== era) throw closed();
      return client.request("POST", "/api/push/subscriptions", { body: subscription.toJSON() });
    }

    try {
      // First, because the worker unsubscribes at a push if no user is kept: that user has signed out.
      await keep();
      const answer = await post().catch(async (thrown) => {
        if (asError(thrown).status !== 409) throw thrown;
        // The server knows this endpoint with other keys.
        await subscription.unsubscribe();
        subscription = await subscribe(registration, key);
        return post();
      });
      if (!isObject(answer) || typeof answer["id"] !== "string") throw invalidAnswer();
      await keep({ id: answer["id"], endpoint: subscription.endpoint, checkedMs: Date.now() });
    } catch (thrown) {
      // What was on before stays so, and is renewed by the next visit.
      if (own !== era || isNew) {
        if (kept === present) kept = null;
        await device?.remove(present.scope);
        await subscription.unsubscribe();
      }
      throw thrown;
    }
  }

  /** Finds out what there is, and renews what the browser or the server has changed. */
  async function look(): Promise<PushStatus> {
    const own = era;
    if (!isSupported() || !device) return "unsupported";
    const { userId } = client.store.getState();
    const all = await device.all();
    if (own !== era) return store.getState().status;
    kept = all.find((one) => one.root === root() && one.userId === userId) ?? null;
    const permission = notifications?.permission;
    if (kept && permission !== "granted") await end(kept);
    if (permission === "denied") return show("denied");
    if (kept) {
      const isOn = await renew(kept);
      // Leaves a token for the worker, if there was none or an old one.
      void host.token().catch(() => {});
      return show(isOn ? "on" : "off");
    }
    const { status } = store.getState();
    if (status === "on") return show("off");
    if (!isWanted || status === "off" || status === "unavailable") return status;
    return show((await requestKey()) === null ? "unavailable" : "off");
  }

  /** Returns whether the subscription goes on. */
  async function renew(known: KeptPush): Promise<boolean> {
    const { scope, script, key: knownKey, endpoint, checkedMs } = known;
    const registration =
      (await serviceWorker?.getRegistration(scope)) ?? (script && (await register(environment, script)));
    if (!registration) return false;
    const subscription = await registration.pushManager.getSubscription();
    const isSame = subscription?.endpoint === endpoint && keyOf(subscription, knownKey) === knownKey;
    if (isSame && Date.now() - checkedMs < CHECK_MS) return true;
    const key = await requestKey();
    if (key === null) return false;
    await begin(registration, key, known);
    return true;
  }

  /** Ends a subscription in this browser, and as far as possible at the server, which otherwise learns it later. */
  async function end(known: KeptPush): Promise<void> {
    if (kept?.scope === known.scope) kept = null;
    tray.clear(known);
    const registration = await serviceWorker?.getRegistration(known.scope);
    await unsubscribe(registration, known.endpoint);
    await device?.remove(known.scope);
    await tell(known);
  }

  /** With the token of the user to whom it belonged, because the client may be another's by now. */
  async function tell({ root: address, id, token, expiresMs }: KeptPush): Promise<void> {
    if (token === null || expiresMs <= Date.now()) return;
    const url = `${address}api/push/subscriptions/${encodeURIComponent(id)}`;
    const headers = { authorization: `Bearer ${token}` };
    await environment.fetch(url, { method: "DELETE", headers, credentials: "omit", keepalive: true }).catch(() => {});
  }

  async function attempt(act: () => Promise<PushStatus>): Promise<PushStatus> {
    update({ busy: true, error: null });
    try {
      return await act();
    } catch (thrown) {
      const problem = toProblem("push", asError(thrown));
      client.wire.report(problem);
      if (problem.code !== "closed") update({ error: problem });
      throw asError(thrown);
    } finally {
      update({ busy: false });
    }
  }

  /** Looks without being asked by the user. What was on stays on after a failure: the next visit tries again. */
  async function lookAround(): Promise<void> {
    if (client.store.getState().userId === null) return void isSupported();
    try {
      await inTurn(look);
      if (store.getState().error === unseen) update({ error: null });
    } catch (thrown) {
      const problem = toProblem("push", asError(thrown));
      if (problem.code === "closed") return;
      client.wire.report(problem);
      if (kept) return void show("on");
      unseen = problem;
      update({ error: problem });
    }
  }

  async function turnOn(
    asked: Promise<NotificationPermission> | undefined,
    { serviceWorker: given = WORKER, icon, badge }: PushOptions,
  ): Promise<PushStatus> {
    if (!isSupported()) return "unsupported";
    const permission = await asked;
    if (permission !== "granted") return show(permission === "denied" ? "denied" : "off");
    const key = await requestKey();
    if (key === null) return show("unavailable");
    const isOwn = typeof given === "string" || given instanceof URL;
    const script = isOwn ? new URL(given, location.href).href : null;
    const registration = isOwn ? await register(environment, script ?? "") : given;
    const home = location.href.replace(/#.*/, "");
    await begin(registration, key, { script, home, icon: absolute(icon), badge: absolute(badge) });
    return show("on");
  }

  let user = client.store.getState().userId;
  client.store.subscribe(({ userId }) => {
    if (userId === user) return;
    user = userId;
    kept = null;
    update({ status: "unknown", reason: null, error: null });
    void lookAround();
  });
  // Another tab may have turned it on or off.
  environment.document?.addEventListener("visibilitychange", () => {
    if (environment.document?.visibilityState !== "hidden") void lookAround();
  });
  void lookAround();

  return {
    enable: (permission, options = {}) => inTurn(() => attempt(() => turnOn(permission, options))),
    disable: () =>
      inTurn(async () => {
        await attempt(async () => {
          // So that the server hears of it from a valid token.
          await host.token().catch(() => {});
          if (kept) await end(kept);
          return store.getState().status === "on" ? show("off") : store.getState().status;
        });
      }),
    want() {
      if (isWanted) return;
      isWanted = true;
      void lookAround();
    },
    used({ text, userId, expiresMs }) {
      if (!kept || kept.token === text || kept.userId !== userId || expiresMs === null) return;
      kept = { ...kept, token: text, expiresMs };
      void device?.change(kept.scope, () => ({ token: text, expiresMs })).catch(() => {});
    },
    async forget(userId) {
      // Not in turn: what is under way may wait for an answer that never comes.
      era++;
      const all = (await device?.all()) ?? [];
      await Promise.all(all.filter((one) => one.root === root() && one.userId === userId).map(end));
    },
  };
}

const absolute = (address: string | undefined): string | undefined =>
  address === undefined ? undefined : new URL(address, location.href).href;
