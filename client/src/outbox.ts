// Brings the user's changes to the server: in order for each notification, and never behind one that fails.
// Every tab knows every change, and the tab that holds the connection sends them. Until it has an answer, a change
// stays on the device.

import { backoffMs } from "./backoff.js";
import { GAP_MS } from "./catchup.js";
import { CarillonError, closed } from "./errors.js";
import type { Intents } from "./intents.js";
import { createKept, isPendingChange, type KeptHost, pendingOf } from "./kept.js";
import { EVERYTHING, type Intent } from "./overlay.js";
import { type Part, partsOf, sendable, superseded } from "./parts.js";
import { isObject } from "./protocol.js";
import { createSender, type Sender, type SenderHost } from "./sender.js";
import type { CarillonEvent, ChangeKind, Notification, PendingChange } from "./types.js";

/** The most settled changes that are remembered, for tabs that missed the news. */
const MAX_SETTLED = 500;

/** A message about changes, from a tab to all others. */
export type ChangeMessage =
  | { readonly kind: "changes"; readonly changes: readonly PendingChange[] }
  | { readonly kind: "settled"; readonly results: readonly Result[] };

/** A part of a change is settled. */
interface Result {
  readonly id: string;
  readonly ids: readonly string[];
  /** Why the server refused it, if it did. */
  readonly refusal?: Refusal;
}

type Refusal = Pick<CarillonError, "code" | "message" | "status">;

export interface OutboxHost extends KeptHost, Pick<SenderHost, "call" | "send"> {
  readonly intents: Intents;
  random(): number;
  /** Whether this tab sends for all tabs of the user. */
  isSender(): boolean;
  post(message: ChangeMessage): void;
  /** The notification as the inbox knows it. */
  find(id: string): Notification | undefined;
  /** The intents show differently now. */
  changed(): void;
  failed(error: CarillonError): void;
  refused(error: CarillonError, intent: Intent, ids: readonly string[]): void;
  keepSyncing(): void;
}

export interface Outbox extends Pick<Sender, "reply" | "lost"> {
  /** The user of this tab made a change. */
  add(intent: Intent): void;
  /** Takes up what the device has kept: at the start, and when this tab becomes the sender. */
  load(): Promise<void>;
  received(message: ChangeMessage): void;
  /** What this tab knows to be unsettled. */
  pending(): readonly string[];
  /** The sender knows these. What this tab has beyond them was lost on its way to the sender, or settled unheard. */
  reconcile(pending: readonly string[]): void;
  /** An event may confirm a change, or make it needless. */
  observe(event: CarillonEvent): void;
  /** The server responds again. */
  resume(): void;
  /** Retries now. */
  wake(): void;
  /** `isForgotten`: nothing is kept. */
  stop(isForgotten: boolean): void;
}

const kinds: Partial<Record<ChangeKind, Intent["kind"]>> = {
  read: "read",
  unread: "unread",
  deleted: "delete",
  snoozed: "snooze",
};

export function createOutbox(host: OutboxHost): Outbox {
  const { intents, random } = host;
  const kept = createKept(host);
  /** In the order in which the user made the changes. */
  let parts: Part[] = intents.all().flatMap(partsOf);
  /** Consecutive failures to reach the server. */
  let outages = 0;
  let pausedUntilMs = 0;
  let isStopped = false;
  let isPumpDue = false;
  let pumpTimer: ReturnType<typeof setTimeout> | undefined;
  let confirmTimer: ReturnType<typeof setTimeout> | undefined;
  let unposted: PendingChange[] = [];
  let results: Result[] = [];
  const settled = new Map<string, Refusal | undefined>();

  const sender = createSender({
    call: host.call,
    send: host.send,
    answered(done) {
      // The sync clears the problem that earlier attempts reported; nothing else may do so.
      if (outages > 0 || done.some(({ failures }) => failures > 0)) host.keepSyncing();
      resume();
      settle(done);
    },
    failed(sent, error) {
      if (isStopped) return;
      const now = Date.now();
      // While nothing responds, or the server asks for time, everything waits. Otherwise only these do.
      const isOutage = error.status === 0 || error.status === 401;
      if (!isOutage) for (const part of sent) part.dueMs = now + backoffMs(++part.failures, random, error.retryAfterMs);
      if (now >= pausedUntilMs) {
        if (isOutage) pausedUntilMs = now + backoffMs(++outages, random);
        else if (error.retryAfterMs) pausedUntilMs = now + backoffMs(1, () => 0, error.retryAfterMs);
      }
      host.failed(error);
    },
    refused(sent, error) {
      for (const { intent, id } of sent) intent.ids.delete(id);
      settle(sent, error);
      // The refusal may be the first sign of a change.
      host.keepSyncing();
    },
    idle: pumpSoon,
  });

  function enqueue(added: readonly Intent[], isEarlier = false): void {
    const fresh = added.flatMap(partsOf);
    parts = isEarlier ? [...fresh, ...parts] : [...parts, ...fresh];
    pumpSoon();
  }

  /** What happens in one go is sent, and told to the other tabs, together. */
  function pumpSoon(): void {
    if (isPumpDue) return;
    isPumpDue = true;
    queueMicrotask(() => {
      isPumpDue = false;
      if (isStopped) return;
      if (host.isSender()) pump();
      tell();
    });
  }

  function pump(): void {
    clearTimeout(pumpTimer);
    if (isStopped || !host.isSender()) return;
    const now = Date.now();
    const needless = superseded(parts, now, host.find);
    for (const { intent, id } of needless) intent.ids.delete(id);
    if (needless.length > 0) settle(needless);
    let next = pausedUntilMs;
    if (now >= pausedUntilMs) {
      sender.send(sendable(parts, now));
      next = Math.min(...parts.flatMap(({ dueMs, isOnItsWay }) => (isOnItsWay || dueMs <= now ? [] : [dueMs])));
    }
    if (parts.length > 0 && Number.isFinite(next)) pumpTimer = setTimeout(pump, next - now);
  }

  function tell(): void {
    if (unposted.length > 0) host.post({ kind: "changes", changes: unposted });
    if (results.length > 0) host.post({ kind: "settled", results });
    unposted = [];
    results = [];
  }

  /** Settles parts in all tabs. */
  function settle(done: readonly Part[], error?: CarillonError): void {
    const byIntent = new Map<Intent, string[]>();
    for (const { intent, id } of done) byIntent.set(intent, [...(byIntent.get(intent) ?? []), id]);
    const refusal = error && { code: error.code, message: error.message, status: error.status };
    for (const [intent, ids] of byIntent) {
      results.push({ id: intent.id, ids, ...(refusal && { refusal }) });
      settleHere(intent, ids, refusal);
    }
    pumpSoon();
  }

  function settleHere(intent: Intent, ids: readonly string[], refusal?: Refusal): void {
    const gone = new Set(ids);
    parts = parts.filter((part) => part.intent !== intent || !gone.has(part.id));
    for (const id of ids) intent.open.delete(id);
    kept.save(intent);
    if (refusal) {
      const error = new CarillonError(refusal.code, refusal.message, { status: refusal.status });
      // Another part may be refused for another reason, but the caller learns the first.
      intent.settle(error);
      const isOurs = intent.source === "user" || (intent.source === "device" && host.isSender());
      if (isOurs && !isStopped) host.refused(error, intent, ids);
      if (intent.kind === "readAll") intents.remove([intent]);
      else host.changed();
    }
    if (intent.open.size === 0) finish(intent, refusal);
  }

  function finish(intent: Intent, refusal?: Refusal): void {
    settled.set(intent.id, refusal);
    for (const id of settled.keys()) if (settled.size > MAX_SETTLED) settled.delete(id);
    intent.isDone = true;
    intent.settle();
    const isConfirmed = intent.kind !== "readAll" && [...intent.ids].every((id) => !intent.unconfirmed.has(id));
    if (isConfirmed) intents.remove([intent]);
    else if (!isStopped) confirmTimer ??= setTimeout(confirm, GAP_MS);
  }

  /** A finished intent stays in the overlay until the inbox includes it, so that nothing flickers. */
  function confirm(): void {
    confirmTimer = undefined;
    if (intents.all().some(({ isDone }) => isDone)) host.keepSyncing();
  }

  function resume(): void {
    if (outages === 0) return;
    outages = pausedUntilMs = 0;
    pumpSoon();
  }

  pumpSoon();

  return {
    reply: sender.reply,
    lost: sender.lost,
    add(intent) {
      kept.save(intent);
      unposted.push(pendingOf(intent));
      enqueue([intent]);
    },
    async load() {
      const changes = await kept.load();
      if (!isStopped)
        enqueue(
          intents.adopt(
            changes.filter(({ id }) => !settled.has(id)),
            "device",
          ),
          true,
        );
    },
    received(message) {
      if (message.kind === "changes") {
        const changes = Array.isArray(message.changes) ? message.changes.filter(isPendingChange) : [];
        const fresh = changes.filter(({ id }) => !settled.has(id));
        for (const { id, kind, ids } of changes) {
          const refusal = settled.get(id);
          if (!settled.has(id)) continue;
          results.push({ id, ids: kind === "readAll" ? [EVERYTHING] : ids, ...(refusal && { refusal }) });
        }
        return enqueue(intents.adopt(fresh, "tab"));
      }
      for (const result of Array.isArray(message.results) ? message.results.filter(isResult) : []) {
        const intent = intents.all().find(({ id, isDone }) => id === result.id && !isDone);
        if (!intent) continue;
        if (result.refusal) for (const id of result.ids) intent.ids.delete(id);
        settleHere(intent, result.ids, result.refusal);
      }
    },
    pending: () => intents.all().flatMap(({ id, isDone }) => (isDone ? [] : [id])),
    reconcile(pending) {
      const known = new Set(pending);
      const unknown = intents.all().filter(({ id, isDone }) => !isDone && !known.has(id));
      unposted = unknown.map(pendingOf);
      pumpSoon();
    },
    observe(event) {
      if (event.type !== "changed") return;
      const kind = kinds[event.change];
      const ids = new Set(event.ids);
      // Another device did the same, or deleted them. A snooze has its own end.
      const isSame = (own: Intent["kind"]): boolean => own === kind && own !== "snooze";
      const needless = parts.filter(
        ({ intent, id, isOnItsWay }) => !isOnItsWay && ids.has(id) && (isSame(intent.kind) || kind === "delete"),
      );
      for (const intent of intents.all()) {
        if (intent.kind === kind) for (const id of ids) intent.unconfirmed.delete(id);
      }
      for (const { intent, id } of needless) intent.unconfirmed.delete(id);
      if (needless.length > 0 && host.isSender()) settle(needless);
      intents.remove(
        intents.all().filter(({ isDone, kind: own, unconfirmed }) => {
          return isDone && own === kind && unconfirmed.size === 0;
        }),
      );
    },
    resume,
    wake() {
      pausedUntilMs = 0;
      for (const part of parts) part.dueMs = 0;
      pumpSoon();
    },
    stop(isForgotten) {
      // What the other tabs do not know yet still leaves with this one.
      if (!isForgotten) tell();
      isStopped = true;
      kept.stop(isForgotten);
      sender.lost();
      clearTimeout(pumpTimer);
      clearTimeout(confirmTimer);
      for (const { settle: end, isDone } of intents.all()) if (!isDone) end(closed());
    },
  };
}

function isResult(value: unknown): value is Result {
  return isObject(value) && Array.isArray(value["ids"]) && (value["refusal"] == null || isObject(value["refusal"]));
}
