// One event stream over HTTP, for networks that break WebSockets: the server's frames as Server-Sent Events.

import { CarillonError } from "./errors.js";
import { readFrame } from "./frames.js";
import { createParser } from "./parser.js";
import type { OpenStream } from "./socket.js";

const OPEN_MS = 10_000;
/** The server sends at least a comment every 15 s. */
const HEARTBEAT_MS = 15_000;

export const openEvents: OpenStream = (host) => {
  const abort = new AbortController();
  let isOpen = false;
  let hasEnded = false;
  let heardMs = Date.now();
  let timer: ReturnType<typeof setTimeout> | undefined;

  function failAfter(ms: number): void {
    clearTimeout(timer);
    timer = setTimeout(fail, ms, "the stream was silent");
  }

  function end(): void {
    hasEnded = true;
    clearTimeout(timer);
    abort.abort();
  }

  function fail(message: string, details = {}): void {
    if (hasEnded) return;
    end();
    host.closed(new CarillonError(isOpen ? "socket_closed" : "socket_refused", message, details));
  }

  async function read(): Promise<void> {
    const since = host.since === null ? "" : `&since=${encodeURIComponent(host.since)}`;
    const { body, headers, status } = await host.environment.fetch(
      `${host.url}?ticket=${encodeURIComponent(host.ticket)}${since}`,
      { headers: { accept: "text/event-stream" }, signal: abort.signal, cache: "no-store", credentials: "omit" },
    );
    const isStream = headers.get("content-type")?.startsWith("text/event-stream");
    if (status !== 200 || !isStream || !body) {
      const retryAfterMs = Number(headers.get("retry-after")) * 1_000 || undefined;
      return fail(`the stream did not open: ${status}`, { status, retryAfterMs });
    }
    const reader = body.getReader();
    const parse = createParser();
    for (;;) {
      const { done, value } = await reader.read();
      if (hasEnded) return;
      if (done) return fail("the stream ended");
      heardMs = Date.now();
      failAfter(2 * HEARTBEAT_MS);
      // Only now: a proxy may hold the answer back after its head.
      if (!isOpen) {
        isOpen = true;
        host.opened();
      }
      for (const text of parse(value)) if (!hasEnded) receive(text);
    }
  }

  function receive(text: string): void {
    const frame = readFrame(text);
    if (frame === null) return host.unreadable();
    if (frame.type !== "other" || frame.frame["type"] !== "reconnect") return host.frame(frame);
    end();
    host.renew();
  }

  /** Nothing can be sent, so only the next heartbeat shows whether the stream is alive. */
  function probe(): void {
    if (isOpen && Date.now() - heardMs > HEARTBEAT_MS + 5_000) fail("the stream was silent");
  }

  failAfter(OPEN_MS);
  // What `fetch` throws is discarded because it may contain the address, and with it the ticket.
  read().catch(() => fail(isOpen ? "the stream broke" : "the stream did not open"));

  return { send: () => false, probe, expectFrame: probe, close: end };
};
