// Sends frames over the socket and waits for their replies. Without a socket or a reply the caller uses HTTP.

import { CHAT_REF, type ClientFrame } from "../protocol.js";
import type { Wire } from "../types.js";

/** A dead socket does not hold a message up for long: over HTTP it is the same message. */
const REPLY_MS = 4_000;
/** The server reads frames up to 32 KB. A character takes up to three bytes. */
const MAX_LENGTH = 10_000;

export type Reply = Readonly<Record<string, unknown>>;

type Question<T> = T extends { readonly ref: string } ? Omit<T, "ref"> : never;

export interface Line {
  /** `null` without a socket or a reply. */
  ask(frame: Question<ClientFrame>): Promise<Reply | null>;
  reply(frame: Reply): void;
  /** The socket is gone, so no reply will come. */
  drop(): void;
}

/** `name` tells its replies from those of other lines of the same client. */
export function createLine(wire: Wire, name = ""): Line {
  const waiting = new Map<unknown, (reply: Reply | null) => void>();
  let count = 0;

  return {
    ask(question) {
      const ref = `${CHAT_REF}${name}${++count}`;
      const frame = { ...question, ref };
      if (JSON.stringify(frame).length > MAX_LENGTH || !wire.send(frame)) return Promise.resolve(null);
      return new Promise((resolve) => {
        const settle = (reply: Reply | null): void => {
          clearTimeout(timer);
          waiting.delete(ref);
          resolve(reply);
        };
        const timer = setTimeout(settle, REPLY_MS, null);
        waiting.set(ref, settle);
      });
    },
    reply: (frame) => waiting.get(frame["ref"])?.(frame),
    drop() {
      for (const settle of waiting.values()) settle(null);
    },
  };
}
