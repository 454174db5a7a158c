// One WebSocket: opens with a ticket, is kept alive by pings, and ends exactly once.

import type { Environment } from "./environment.js";
import { CarillonError } from "./errors.js";
import { readFrame } from "./frames.js";
import type { ClientFrame, Frame, OtherFrame } from "./protocol.js";

/** The timeout for opening, and later from a ping to the next frame of any type. */
const TIMEOUT_MS = 10_000;
/** Late enough to see changes that were committed while the server was still storing the connection. */
const FIRST_PING_MS = 2_000;
/** API Gateway closes a socket that is silent for 10 min. */
const HIDDEN_PING_MS = 240_000;
/** How long a change may take to come back as a frame. With the timeout of the ping it stays below 15 s. */
const EXPECT_MS = 3_000;

/** A transport on which the server pushes frames: a socket or an event stream. */
export interface Stream {
  /** Returns whether the frame was sent. If not, no reply will come. */
  send(frame: ClientFrame): boolean;
  /** Checks whether the other end still responds. */
  probe(): void;
  /** Checks it only if no frame comes soon. After most changes one does, and then no ping is needed. */
  expectFrame(): void;
  /** Closes it without calling `closed`. */
  close(): void;
}

export interface StreamHost {
  readonly environment: Environment;
  readonly url: string;
  readonly ticket: string;
  /** The position from which an event stream continues. */
  readonly since: string | null;
  /** The pause between two pings while visible. */
  readonly pingMs: number;
  /** Whether any tab of the user is visible. */
  isVisible(): boolean;
  opened(): void;
  frame(frame: Frame | OtherFrame): void;
  /** An unreadable frame came, so the inbox may have changed. */
  unreadable(): void;
  /** The server ended the event stream and asks for another one. The last callback, like `closed`. */
  renew(): void;
  /** The stream ended or failed to open. Called at most once, as the last callback, and never after `close`. */
  closed(error: CarillonError): void;
}

export type OpenStream = (host: StreamHost) => Stream;

export const openSocket: OpenStream = (host) => {
  let isOpen = false;
  let hasEnded = false;
  let pings = 0;
  let nextPing: ReturnType<typeof setTimeout> | undefined;
  let expected: ReturnType<typeof setTimeout> | undefined;
  let timeout: ReturnType<typeof setTimeout> | undefined;
  const socket = open(host.environment.WebSocket, `${host.url}?ticket=${encodeURIComponent(host.ticket)}`);

  function startTimeout(message: string): void {
    timeout ??= setTimeout(fail, TIMEOUT_MS, message);
  }

  function stopTimeouts(): void {
    clearTimeout(timeout);
    clearTimeout(expected);
    timeout = expected = undefined;
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
    pingIn(host.isVisible() ? host.pingMs : HIDDEN_PING_MS);
  }

  function end(): void {
    hasEnded = true;
    clearTimeout(nextPing);
    stopTimeouts();
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
    stopTimeouts();
    pingIn(FIRST_PING_MS);
    host.opened();
  };
  socket.onmessage = ({ data }) => {
    if (hasEnded) return;
    stopTimeouts();
    const frame = readFrame(data);
    if (frame === null) host.unreadable();
    else host.frame(frame);
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
    expectFrame() {
      if (isOpen) expected ??= setTimeout(ping, EXPECT_MS);
    },
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
