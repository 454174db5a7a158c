// The messages of one chat that are not stored yet: sent in order, and repeated under the same `clientId` until there is
// an answer, over the socket or HTTP. The server stores each once. They are kept on the device meanwhile. One that only
// Redis has is repeated from time to time until it is written: should Redis lose it, it is accepted anew.

import { asError, type CarillonError, invalidAnswer, toProblem } from "../errors.js";
import { isObject } from "../protocol.js";
import { isMessage } from "./checks.js";
import type { Host } from "./host.js";
import type { Accept, Message, ShownMessage } from "./types.js";

export interface Outbox {
  /** In the order in which they were written. */
  all(): readonly ShownMessage[];
  add(body: string, data: Message["data"], accept?: Accept): string;
  /** One of the user's messages is accepted. It stays until the history has it. */
  stored(message: Message): void;
  /** The history has everything up to here. */
  dropThrough(seq: number): void;
  retry(clientId: string): void;
  discard(clientId: string): void;
  /** Sends what has no answer. */
  deliver(): Promise<void>;
  stop(): void;
}

export interface OutboxHost extends Host {
  readonly chatId: string;
  changed(): void;
  /** It was stored, but is too large to come back in a frame. */
  fetch(): void;
}

export const OUTBOX = "outbox ";
/** How long a message may be provisional before it is repeated. The drain writes it within a moment. */
const REPEAT_MS = 30_000;

interface Item extends ShownMessage {
  readonly accept?: Accept;
}

/** Only Redis has it. */
const isProvisional = ({ seq, state }: Item): boolean => seq === null && state === "sent";
const again = (item: Item): Item => (isProvisional(item) ? { ...item, state: "sending" } : item);

export function createOutbox(host: OutboxHost): Outbox {
  const { chatId, kept, line } = host;
  const place = `${OUTBOX}${chatId} `;
  let items: readonly Item[] = kept
    .names(place)
    .map((name) => kept.get(place + name))
    .filter((item): item is Item => isObject(item) && isMessage({ ...item, seq: 1 }))
    .sort((one, other) => (one.createdAt < other.createdAt || one.key < other.key ? -1 : 1))
    .map(again);
  let isDelivering = false;
  let isStopped = false;
  let repeatTimer: ReturnType<typeof setTimeout> | undefined;

  function change(clientId: string | null, to: (item: Item) => Item | null): void {
    items = items.flatMap((item) => {
      if (item.clientId !== clientId) return item;
      const changed = to(item);
      kept.set(place + clientId, changed && changed.seq === null ? changed : undefined);
      return changed ?? [];
    });
    host.changed();
  }

  function stored(message: Message): void {
    change(message.clientId, (item) => ({ ...item, ...message, state: "sent", error: null }));
  }

  async function post({ clientId, body, data, accept }: Item): Promise<void> {
    const said = { clientId: clientId ?? "", body, data, ...(accept && { accept }) };
    const reply = await line.ask({ action: "sendMessage", chatId, ...said });
    const { type, message } = reply ?? {};
    if (type === "sent" && isMessage(message)) return host.stored(message);
    if (type === "fetch") {
      change(clientId, () => null);
      return host.fetch();
    }
    // Also after a refusal: only this answer decides, and it says more.
    const answer = await host.request("POST", `/api/chats/${chatId}/messages`, said);
    if (isMessage(answer)) host.stored(answer);
    else throw invalidAnswer();
  }

  async function deliver(): Promise<void> {
    if (isDelivering) return;
    isDelivering = true;
    for (;;) {
      const next = items.find(({ state }) => state === "sending");
      if (!next || isStopped || !host.isOpen()) break;
      try {
        await host.repeat(() => post(next));
        // An answer that names another message must not make this one be sent for ever.
        change(next.clientId, (item) => (item.state === "sending" ? null : item));
      } catch (thrown) {
        const error = asError(thrown);
        if (isStopped || error.code === "closed") break;
        // It may have arrived by a frame meanwhile.
        change(next.clientId, (item) => (item.state === "sending" ? failedWith(item, error) : item));
      }
    }
    isDelivering = false;
    clearTimeout(repeatTimer);
    if (!isStopped && items.some(isProvisional)) repeatTimer = setTimeout(repeat, REPEAT_MS);
  }

  function repeat(): void {
    items = items.map(again);
    void deliver();
  }

  return {
    all: () => items,
    add(body, data, accept) {
      // The time keeps their order over a reload, and the rest makes it the only one.
      const random = crypto.getRandomValues(new Uint32Array(3)).join("-");
      const createdAt = new Date(Date.now()).toISOString();
      const clientId = `${Date.now()}-${random}`;
      const { userId: senderId } = host;
      const item = { id: clientId, key: clientId, chatId, seq: null, senderId, clientId, body, data, createdAt };
      const sending = { state: "sending", durability: null, error: null } as const;
      items = [...items, { ...item, ...sending, ...(accept && { accept }) }];
      change(clientId, (added) => added);
      return clientId;
    },
    stored,
    dropThrough(seq) {
      if (items.some((item) => item.seq !== null && item.seq <= seq)) {
        items = items.filter((item) => item.seq === null || item.seq > seq);
      }
    },
    retry(clientId) {
      change(clientId, (item) => ({ ...item, state: item.seq === null ? "sending" : "sent", error: null }));
    },
    discard: (clientId) => change(clientId, (item) => (item.state === "failed" ? null : item)),
    deliver,
    stop() {
      isStopped = true;
      clearTimeout(repeatTimer);
    },
  };
}

function failedWith(item: Item, error: CarillonError): Item {
  return { ...item, state: "failed", error: toProblem("change", error) };
}
