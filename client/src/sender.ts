// Carries parts of changes to the server: a hundred in a frame while a socket is open, otherwise one by one.

import { asError, CarillonError, isTemporary } from "./errors.js";
import type { ApiResponse } from "./http.js";
import { EVERYTHING, type Intent } from "./overlay.js";
import type { Part } from "./parts.js";
import type { ClientFrame, ReplyFrame } from "./protocol.js";
import type { RequestOptions } from "./types.js";

/** The most ids that the server accepts in a frame. */
const MAX_IDS = 100;
const MAX_FRAMES = 4;
const MAX_CALLS = 6;
const REPLY_MS = 10_000;

export interface SenderHost {
  call(method: string, path: string, options?: RequestOptions): Promise<ApiResponse>;
  /** Returns whether a socket is open and took the frame. */
  send(frame: ClientFrame): boolean;
  answered(parts: readonly Part[]): void;
  /** There is no answer, or one that may be different next time. */
  failed(parts: readonly Part[], error: CarillonError): void;
  refused(parts: readonly Part[], error: CarillonError): void;
  /** There is room for more. */
  idle(): void;
}

export interface Sender {
  /** Sends as much as there is room for. */
  send(parts: readonly Part[]): void;
  /** Returns whether the frame replies to one of these. */
  reply(frame: ReplyFrame): boolean;
  /** The socket ended, and the replies to its frames with it. */
  lost(): void;
}

interface SentFrame {
  readonly parts: readonly Part[];
  readonly timer: ReturnType<typeof setTimeout>;
}

export function createSender(host: SenderHost): Sender {
  const frames = new Map<string, SentFrame>();
  let frameCount = 0;
  let calls = 0;

  function sendFrame(parts: readonly Part[]): boolean {
    const [first] = parts as [Part];
    const { kind } = first.intent;
    // There is no such frame.
    if (kind === "snooze") return false;
    const ref = `c${++frameCount}`;
    const ids = parts.map(({ id }) => id);
    const frame = kind === "readAll" ? { action: kind, ref, ...boundsOf(first.intent) } : { action: kind, ref, ids };
    if (!host.send(frame)) return false;
    const timedOut = (): void => {
      take(ref);
      host.failed(parts, new CarillonError("no_answer", "no reply to a frame"));
      host.idle();
    };
    frames.set(ref, { parts, timer: setTimeout(timedOut, REPLY_MS) });
    return true;
  }

  function take(ref: string): readonly Part[] {
    const frame = frames.get(ref);
    if (!frame) return [];
    frames.delete(ref);
    clearTimeout(frame.timer);
    for (const part of frame.parts) part.isOnItsWay = false;
    return frame.parts;
  }

  function call({ intent, id }: Part): Promise<ApiResponse> {
    const { kind, until } = intent;
    if (kind === "readAll") return host.call("POST", "/api/notifications/read-all", { body: boundsOf(intent) });
    const path = `/api/notifications/${encodeURIComponent(id)}`;
    if (kind === "delete") return host.call("DELETE", path);
    return host.call("POST", `${path}/${kind}`, until === undefined ? {} : { body: { until } });
  }

  async function sendAlone(part: Part): Promise<void> {
    calls++;
    part.isOnItsWay = true;
    const error = await call(part).then(() => null, asError);
    calls--;
    part.isOnItsWay = false;
    // Whatever should happen to a notification that is gone has happened.
    if (!error || (error.code === "not_found" && part.id !== EVERYTHING)) host.answered([part]);
    else if (mayRetry(error)) host.failed([part], error);
    else host.refused([part], error);
    host.idle();
  }

  return {
    send(parts) {
      for (const batch of batchesOf(parts)) {
        // The replies make room for the rest.
        if (frames.size >= MAX_FRAMES) return;
        const isSent = !batch[0]?.isAlone && sendFrame(batch);
        for (const part of batch) {
          if (isSent) part.isOnItsWay = true;
          else if (calls < MAX_CALLS) void sendAlone(part);
        }
      }
    },
    reply(frame) {
      if (!frames.has(frame.ref ?? "")) return false;
      const parts = take(frame.ref ?? "");
      if (frame.type === "error") {
        const { code, message, retryAfterMs, retryable } = frame;
        const error = new CarillonError(code, message, { status: retryable ? 503 : 422, retryAfterMs });
        const isDivisible = parts[0]?.id !== EVERYTHING;
        // One of them may be the reason. Alone, each gets an answer of its own.
        if (!retryable || code === "internal") for (const part of parts) part.isAlone = isDivisible;
        if (retryable) host.failed(parts, error);
        else if (!isDivisible) host.refused(parts, error);
      } else host.answered(parts);
      host.idle();
      return true;
    },
    lost() {
      for (const ref of [...frames.keys()]) take(ref);
      host.idle();
    },
  };
}

/** Whether a change may still succeed. A token that was refused says nothing about the change, nor does a proxy. */
const mayRetry = (error: CarillonError): boolean =>
  isTemporary(error) || error.status === 401 || error.code === "invalid_answer";

/** Parts of the same kind travel together, as far as they may. */
function batchesOf(parts: readonly Part[]): Part[][] {
  const batches: Part[][] = [];
  const open = new Map<Intent["kind"], Part[]>();
  for (const part of parts) {
    const { kind } = part.intent;
    const batch = open.get(kind);
    if (batch && !part.isAlone && kind !== "readAll" && batch.length < MAX_IDS) batch.push(part);
    else {
      batches.push([part]);
      if (!part.isAlone) open.set(kind, batches.at(-1) as Part[]);
    }
  }
  return batches;
}

function boundsOf({ type, before }: Intent): { type?: string; before?: string } {
  return { ...(type !== undefined && { type }), ...(before !== null && { before }) };
}
