// One WebSocket: opens with a ticket, stays awake by pings, and ends exactly once.

import type { Environment } from "./environment.js";
import { CarillonError } from "./problem.js";
import { type ClientFrame, type Frame, readFrame } from "./protocol.js";

/** From asking to open; afterwards, from a ping to any frame at all. */
const PATIENCE_MS = 10_000;
/** Late enough to see what was committed while the connection was being written down. */
const FIRST_PING_MS = 2_000;
const PING_MS = 60_000;
/** API Gateway ends what is silent for 10 min. */
const HIDDEN_PING_MS = 240_000;

/** A way in which frames come by themselves: a socket, or an event stream. */
export interface Stream {
  /** Whether it went out; there is nothing to wait for where it did not. */
  send(frame: ClientFrame): boolean;
  /** Finds out whether the other end is still there. */
  probe(): void;
  /** Ends it silently. */
  close(): void;
}

export interface StreamHost {
  readonly environment: Environment;
  readonly url: string;
  readonly ticket: string;
  opened(): void;
  frame(frame: Frame): void;
  /** A frame came that nobody can read; the inbox may have changed. */
  unreadable(): void;
  /** It ended, or never opened. Called once, last, and not after `close`. */
  closed(error: CarillonError): void;
}

export type OpenStream = (host: StreamHost) => Stream;

export const openSocket: OpenStream = (host) => {
  const { WebSocket, document } = host.environment;
  let isOpen = false;
  let isOver = false;
  let pings = 0;
  let nextPing: ReturnType<typeof setTimeout> | undefined;
  let patience: ReturnType<typeof setTimeout> | undefined;
  const socket = open(WebSocket, `${host.url}?ticket=${encodeURIComponent(host.ticket)}`);

  function expect(message: string): void {
    patience ??= setTimeout(over, PATIENCE_MS, message);
  }

  function satisfied(): void {
    clearTimeout(patience);
    patience = undefined;
  }

  function pingIn(ms: number): void {
    clearTimeout(nextPing);
    nextPing = setTimeout(ping, ms);
  }

  function send(frame: ClientFrame): boolean {
    if (isOver || !isOpen || socket.readyState !== 1) return false;
    socket.send(JSON.stringify(frame));
    return true;
  }

  function ping(): void {
    if (!send({ action: "ping", ref: `p${++pings}` })) return;
    expect("the socket was silent");
    pingIn(document?.visibilityState === "hidden" ? HIDDEN_PING_MS : PING_MS);
  }

  function end(): void {
    isOver = true;
    clearTimeout(nextPing);
    satisfied();
    socket.close();
  }

  function over(message: string): void {
    if (isOver) return;
    end();
    host.closed(new CarillonError(isOpen ? "socket_closed" : "socket_refused", message));
  }

  socket.onopen = () => {
    if (isOver) return;
    isOpen = true;
    satisfied();
    pingIn(FIRST_PING_MS);
    host.opened();
  };
  socket.onmessage = ({ data }) => {
    if (isOver) return;
    satisfied();
    const frame = readFrame(data);
    if (frame === null) host.unreadable();
    else if (frame !== "unknown") host.frame(frame);
  };
  // A close follows. In Node an error that nobody listens to ends the process.
  socket.onerror = () => {};
  socket.onclose = ({ code, reason }) => {
    over(`the socket ${isOpen ? "closed" : "did not open"}: ${code}${reason && ` ${reason}`}`);
  };
  expect("the socket did not open in time");

  return {
    send,
    probe: ping,
    close() {
      if (!isOver) end();
    },
  };
};

function open(Socket: Environment["WebSocket"], url: string): WebSocket {
  try {
    if (Socket) return new Socket(url);
  } catch {
    // What was thrown names the address, and with it the ticket.
  }
  throw new CarillonError("socket_refused", "the page may open no socket there");
}
