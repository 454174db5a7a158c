// One WebSocket: opens with a ticket, is kept alive by pings, and ends exactly once.

import type { Environment } from "./environment.js";
import { CarillonError } from "./errors.js";
import { type ClientFrame, type Frame, readFrame } from "./protocol.js";

/** The timeout for opening, and later from a ping to the next frame of any type. */
const TIMEOUT_MS = 10_000;
/** Late enough to see changes that were committed while the server was still storing the connection. */
const FIRST_PING_MS = 2_000;
const PING_MS = 60_000;
/** API Gateway closes a socket that is silent for 10 min. */
const HIDDEN_PING_MS = 240_000;

/** A transport on which the server pushes frames: a socket or an event stream. */
export interface Stream {
  /** Returns whether the frame was sent. If not, no reply will come. */
  send(frame: ClientFrame): boolean;
  /** Checks whether the other end still responds. */
  probe(): void;
  /** Closes it without calling `closed`. */
  close(): void;
}

export interface StreamHost {
  readonly environment: Environment;
  readonly url: string;
  readonly ticket: string;
  opened(): void;
  frame(frame: Frame): void;
  /** An unreadable frame came, so the inbox may have changed. */
  unreadable(): void;
  /** The stream ended or failed to open. Called at most once, as the last callback, and never after `close`. */
  closed(error: CarillonError): void;
}

export type OpenStream = (host: StreamHost) => Stream;

export const openSocket: OpenStream = (host) => {
  const { WebSocket, document } = host.environment;
  let isOpen = false;
  let hasEnded = false;
  let pings = 0;
  let nextPing: ReturnType<typeof setTimeout> | undefined;
  let timeout: ReturnType<typeof setTimeout> | undefined;
  const socket = open(WebSocket, `${host.url}?ticket=${encodeURIComponent(host.ticket)}`);

  function startTimeout(message: string): void {
    timeout ??= setTimeout(fail, TIMEOUT_MS, message);
  }

  function stopTimeout(): void {
    clearTimeout(timeout);
    timeout = undefined;
  }

  function pingIn(ms: number): void {
    clearTimeout(nextPing);
    nextPing = setTimeout(ping, ms);
  }

  function send(frame: ClientFrame): boolean {
    if (hasEnded || !isOpen || socket.readyState !== 1) return false;
    socket.send(JSON.stringify(frame));
    return true;
  }

  function ping(): void {
    if (!send({ action: "ping", ref: `p${++pings}` })) return;
    startTimeout("the socket was silent");
    pingIn(document?.visibilityState === "hidden" ? HIDDEN_PING_MS : PING_MS);
  }

  function end(): void {
    hasEnded = true;
    clearTimeout(nextPing);
    stopTimeout();
    socket.close();
  }

  function fail(message: string): void {
    if (hasEnded) return;
    end();
    host.closed(new CarillonError(isOpen ? "socket_closed" : "socket_refused", message));
  }

  socket.onopen = () => {
    if (hasEnded) return;
    isOpen = true;
    stopTimeout();
    pingIn(FIRST_PING_MS);
    host.opened();
  };
  socket.onmessage = ({ data }) => {
    if (hasEnded) return;
    stopTimeout();
    const frame = readFrame(data);
    if (frame === null) host.unreadable();
    else if (frame !== "unknown") host.frame(frame);
  };
  // A close event follows. Without a listener, an error ends the process in Node.
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => {
    fail(`the socket ${isOpen ? "closed" : "did not open"}: ${code}${reason && ` ${reason}`}`);
  };
  startTimeout("the socket did not open in time");

  return {
    send,
    probe: ping,
    close() {
      if (!hasEnded) end();
    },
  };
};

function open(Socket: Environment["WebSocket"], url: string): WebSocket {
  try {
    if (Socket) return new Socket(url);
  } catch {
    // The thrown error is discarded because it contains the address, and with it the ticket.
  }
  throw new CarillonError("socket_refused", "the page cannot open the socket");
}
