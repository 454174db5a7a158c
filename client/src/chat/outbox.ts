// The messages of one chat that have no answer yet: sent in order, and repeated under the same `clientId` until there is
// an answer, over the socket or HTTP. The server stores each once. They are kept on the device meanwhile.

import { asError, type CarillonError, invalidAnswer, toProblem } from "../errors.js";
import { isObject } from "../protocol.js";
import { isMessage } from "./checks.js";
import type { Host } from "./host.js";
import type { Message, ShownMessage } from "./types.js";

export interface Outbox {
  /** In the order in which they were written. */
  all(): readonly ShownMessage[];
  add(body: string, data: Message["data"]): string;
  /** One of the user's messages is stored. It stays until the history has it. */
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

export function createOutbox(host: OutboxHost): Outbox {
  const { chatId, kept, line } = host;
  const place = `${OUTBOX}${chatId} `;
  let items: readonly ShownMessage[] = kept
    .names(place)
    .map((name) => kept.get(place + name))
    .filter((item): item is ShownMessage => isObject(item) && isMessage({ ...item, seq: 1 }))
    .sort((one, other) => (one.createdAt < other.createdAt || one.key < other.key ? -1 : 1));
  let isDelivering = false;
  let isStopped = false;

  function change(clientId: string | null, to: (item: ShownMessage) => ShownMessage | null): void {
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

  async function post({ clientId, body, data }: ShownMessage): Promise<void> {
    const said = { chatId, clientId: clientId ?? "", body, data };
    const reply = await line.ask({ action: "sendMessage", ...said });
    const { type, message } = reply ?? {};
    if (type === "sent" && isMessage(message)) return host.stored(message);
    if (type === "fetch") {
      change(clientId, () => null);
      return host.fetch();
    }
    // Also after a refusal: only this answer decides, and it says more.
    const answer = await host.request("POST", `/api/chats/${chatId}/messages`, { clientId, body, data });
    if (isMessage(answer)) host.stored(answer);
    else throw invalidAnswer();
  }

  return {
    all: () => items,
    add(body, data) {
      // The time keeps their order over a reload, and the rest makes it the only one.
      const random = crypto.getRandomValues(new Uint32Array(3)).join("-");
      const createdAt = new Date(Date.now()).toISOString();
      const clientId = `${Date.now()}-${random}`;
      const { userId: senderId } = host;
      const item = { id: clientId, key: clientId, chatId, seq: null, senderId, clientId, body, data, createdAt };
      items = [...items, { ...item, state: "sending", error: null }];
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
    async deliver() {
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
          change(next.clientId, (item) => (item.seq === null ? failedWith(item, error) : item));
        }
      }
      isDelivering = false;
    },
    stop() {
      isStopped = true;
    },
  };
}

function failedWith(item: ShownMessage, error: CarillonError): ShownMessage {
  return { ...item, state: "failed", error: toProblem("change", error) };
}
