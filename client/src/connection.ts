// Keeps one transport open for incoming changes: the first kind of stream that opens, and polling while none is open.

import { backoffMs } from "./backoff.js";
import { asError, CarillonError } from "./errors.js";
import { createLine, type LineHost, streams } from "./line.js";
import { createPause } from "./pause.js";
import type { ClientFrame } from "./protocol.js";
import type { Ticket } from "./ticket.js";
import type { Status, Transport } from "./types.js";

/** A handshake may hang. If it has not succeeded by then, the next transport starts. */
const HANDSHAKE_MS = 3_000;
const HIDDEN_POLL_FACTOR = 10;

export interface ConnectionHost extends LineHost {
  readonly pollMs: number;
  readonly transports: readonly Transport[];
  poll(): Promise<void>;
  /** A stream opened. Changes made before this moment were not sent to it, so a sync is needed. */
  opened(): void;
  /** `isReceiving`: changes still come in another way. */
  failed(error: CarillonError, isReceiving: boolean): void;
  show(status: Status, transport: Transport | null): void;
}

export interface Connection {
  send(frame: ClientFrame): boolean;
  /** Cuts a backoff short and retries now, or probes the open stream. */
  wake(): void;
  /** The user did something, so a frame should come soon. If none does, the stream may be dead. */
  expectFrame(): void;
  close(): void;
}

export function createConnection(host: ConnectionHost): Connection {
  const { environment } = host;
  const mayPoll = host.transports.includes("polling");
  const pollPause = createPause();
  /** What the server's last ticket opens. */
  let offered: Ticket["urls"] = {};
  let hasFailed = false;
  let hangTimer: ReturnType<typeof setTimeout> | undefined;
  /** Identifies the present polling loop. */
  let polling: object | null = null;
  let isPollWorking = false;
  let hasAnswered = true;
  let isClosed = false;

  /** Each kind of stream, in order of preference. All before the open one still try to open. */
  const lines = host.transports
    .filter((kind) => streams[kind])
    .map((kind, n) =>
      createLine(
        kind,
        {
          ...host,
          async ticket(minValidMs) {
            const ticket = await host.ticket(minValidMs);
            offered = ticket.urls;
            hasAnswered = true;
            return ticket;
          },
        },
        {
          opened() {
            hasAnswered = true;
            for (const line of lines.slice(n + 1)) line.stop();
            stopPolling();
            show();
            host.opened();
          },
          closed(error) {
            hasFailed = true;
            failed(error);
            // The first poll finds what the stream may have lost while it died.
            fallBack(n, lines[n]?.isBlocked());
            show();
          },
          failed,
        },
      ),
    );
  const openLine = () => lines.find((line) => line.isOpen());

  function show(): void {
    const open = openLine();
    if (isClosed) return;
    if (open) host.show("connected", open.kind);
    else if (isPollWorking) host.show("connected", "polling");
    else if (!hasAnswered || (hasFailed && !environment.isOnline())) host.show("offline", null);
    else host.show(hasFailed ? "reconnecting" : "connecting", null);
  }

  function failed(error: CarillonError): void {
    // Only a call shows whether the server is reachable. The end of a socket does not.
    if (error.code === "no_answer") hasAnswered = false;
    else if (error.status > 0) hasAnswered = true;
    host.failed(error, openLine() !== undefined || isPollWorking);
  }

  /** The line is not open: the next one starts if this network lets the line's streams not through, otherwise polling. */
  function fallBack(n: number, isBlocked = false): void {
    if (isClosed || openLine()) return;
    const next = lines[n + 1];
    if (!isBlocked || !next || typeof offered[next.kind] !== "string") return startPolling();
    if (next.start()) awaitLine(n + 1);
  }

  function awaitLine(n: number): void {
    clearTimeout(hangTimer);
    hangTimer = setTimeout(fallBack, HANDSHAKE_MS, n, true);
  }

  function startPolling(): void {
    if (polling || !mayPoll) return;
    polling = {};
    void keepPolling(polling);
  }

  function stopPolling(): void {
    clearTimeout(hangTimer);
    polling = null;
    isPollWorking = false;
    pollPause.wake();
  }

  async function keepPolling(loop: object): Promise<void> {
    let pollFailures = 0;
    while (polling === loop) {
      let wait: number;
      try {
        await host.poll();
        if (polling !== loop) return;
        pollFailures = 0;
        isPollWorking = true;
        hasAnswered = true;
        wait = host.isVisible() ? host.pollMs : host.pollMs * HIDDEN_POLL_FACTOR;
      } catch (thrown) {
        if (polling !== loop) return;
        const error = asError(thrown);
        isPollWorking = false;
        hasFailed = true;
        failed(error);
        wait = backoffMs(++pollFailures, environment.random, error.retryAfterMs);
      }
      show();
      await pollPause.for(wait);
    }
  }

  if (lines[0]) {
    lines[0].start();
    awaitLine(0);
  } else if (mayPoll) startPolling();
  else {
    hasAnswered = false;
    host.failed(new CarillonError("no_transport", "no transport is available"), false);
  }
  show();

  return {
    send: (frame) => lines.some((line) => line.send(frame)),
    wake() {
      pollPause.wake();
      for (const line of lines) line.wake();
    },
    expectFrame: () => openLine()?.expectFrame(),
    close() {
      isClosed = true;
      for (const line of lines) line.stop();
      stopPolling();
    },
  };
}
