// Keeps a stream of one kind open: gets tickets, opens it again after each end, and renews it and its authorisation in time.

import { backoffMs } from "./backoff.js";
import type { Environment } from "./environment.js";
import { asError, CarillonError } from "./errors.js";
import { openEvents } from "./events.js";
import type { ClientFrame, Frame, OtherFrame } from "./protocol.js";
import { type OpenStream, openSocket, type Stream } from "./socket.js";
import type { Ticket } from "./ticket.js";
import type { Transport } from "./types.js";

/** API Gateway ends a socket after 2 h. The spread keeps a deployment's sockets from coming back in the same second. */
const RENEW_MS = 110 * 60_000;
const RENEW_SPREAD_MS = 10 * 60_000;
/** A stream that stayed open this long resets the count of failures. */
const STABLE_MS = 5_000;
const PING_MS = 60_000;
const MIN_PING_MS = 20_000;
const MAX_PING_MS = 240_000;
const AUTH_MARGIN_MS = 60_000;
const AUTH_RETRY_MS = 10_000;
/** A kind that has opened before is blocked only after this many refusals: the network may be another one now. */
const MAX_REFUSALS = 3;

/** The kinds of stream that exist. */
export const streams: Partial<Record<Transport, OpenStream>> = { websocket: openSocket, sse: openEvents };

export interface LineHost {
  readonly environment: Environment;
  /** The position up to which every change is known. */
  cursor(): string | null;
  /** Whether any tab of the user is visible: this tab may receive changes for others. */
  isVisible(): boolean;
  ticket(minValidMs?: number): Promise<Ticket>;
  frame(frame: Frame | OtherFrame): void;
  unreadable(): void;
}

export interface LineEvents {
  opened(): void;
  /** The stream ended or did not open. The line tries again on its own. */
  closed(error: CarillonError): void;
  /** The stream could not be renewed, and stays open. */
  failed(error: CarillonError): void;
}

export interface Line {
  readonly kind: Transport;
  isOpen(): boolean;
  /** Whether the network seems to let no stream of this kind through. */
  isBlocked(): boolean;
  /** Returns whether it did not run yet. */
  start(): boolean;
  stop(): void;
  send(frame: ClientFrame): boolean;
  /** Cuts a backoff short and retries now, or probes the open stream. */
  wake(): void;
  expectFrame(): void;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

export function createLine(kind: Transport, host: LineHost, events: LineEvents): Line {
  const { environment } = host;
  const { random } = environment;
  let stream: Stream | null = null;
  let isOpen = false;
  let isRunning = false;
  let hasOpened = false;
  let openedMs = 0;
  let failures = 0;
  let refusals = 0;
  let attemptId = 0;
  let attemptTimer: Timer;
  let authTimer: Timer;

  async function attempt(): Promise<void> {
    clearTimeout(attemptTimer);
    attemptTimer = undefined;
    const id = ++attemptId;
    try {
      const ticket = await host.ticket();
      if (id === attemptId) open(ticket);
    } catch (thrown) {
      if (id !== attemptId) return;
      // A renewal that gets no ticket keeps the old stream open.
      if (!stream) return closed(asError(thrown));
      failures++;
      events.failed(asError(thrown));
      attemptIn(backoffMs(failures, random));
    }
  }

  function attemptIn(ms: number): void {
    clearTimeout(attemptTimer);
    attemptTimer = setTimeout(() => void attempt(), ms);
  }

  function open({ ticket, urls, validMs, pingEveryMs }: Ticket): void {
    const url = urls[kind];
    const openStream = streams[kind];
    // Never two at once: a change between the end of the old stream and the start of the new one comes with the sync.
    stream?.close();
    stream = null;
    try {
      if (typeof url !== "string" || !openStream)
        throw new CarillonError("socket_refused", `the server offers no ${kind}`);
      stream = openStream({
        environment,
        url,
        ticket,
        since: host.cursor(),
        pingMs: Math.min(Math.max(Number(pingEveryMs) || PING_MS, MIN_PING_MS), MAX_PING_MS),
        isVisible: host.isVisible,
        opened: () => opened(validMs),
        frame: host.frame,
        unreadable: host.unreadable,
        renew,
        closed: refused,
      });
    } catch (thrown) {
      refused(asError(thrown));
    }
  }

  function opened(validMs: number | null): void {
    isOpen = hasOpened = true;
    refusals = 0;
    openedMs = Date.now();
    attemptIn(RENEW_MS - random() * RENEW_SPREAD_MS);
    scheduleAuth(validMs);
    events.opened();
  }

  /** The server ended the stream so that it is opened again. One that ends at once waits, as after a failure. */
  function renew(): void {
    stream = null;
    clearTimeout(authTimer);
    if (Date.now() - openedMs < STABLE_MS) closed(new CarillonError("socket_closed", "the stream ended early"));
    else void attempt();
  }

  function refused(error: CarillonError): void {
    if (!isOpen) refusals++;
    closed(error);
  }

  function closed(error: CarillonError): void {
    stream = null;
    if (isOpen && Date.now() - openedMs >= STABLE_MS) failures = 0;
    isOpen = false;
    attemptId++;
    failures++;
    clearTimeout(authTimer);
    attemptIn(backoffMs(failures, random, error.retryAfterMs));
    events.closed(error);
  }

  /** Renews the authorisation shortly before the token expires, but not at once if the token is short-lived. */
  function scheduleAuth(validMs: number | null): void {
    clearTimeout(authTimer);
    if (validMs === null) return;
    const wait = Math.max(validMs - AUTH_MARGIN_MS, validMs * 0.75);
    // After RENEW_MS there is a new stream with a new token.
    if (wait < RENEW_MS) authTimer = setTimeout(() => void authorise(validMs - wait), wait);
  }

  async function authorise(remainingMs: number): Promise<void> {
    const present = stream;
    try {
      const ticket = await host.ticket(remainingMs + 1_000);
      if (stream !== present) return;
      // If the application has no newer token yet, try again. The server closes the stream if none comes.
      const { validMs } = ticket;
      if (validMs === null || validMs > remainingMs + 1_000) {
        // Nothing can be sent over an event stream, so a new one takes its place.
        if (kind === "sse") return open(ticket);
        // A refusal comes back as an error frame, and the server then closes the stream.
        stream?.send({ action: "auth", ticket: ticket.ticket });
        return scheduleAuth(validMs);
      }
    } catch (thrown) {
      if (stream !== present) return;
      events.failed(asError(thrown));
    }
    authTimer = setTimeout(() => void authorise(Math.max(0, remainingMs - AUTH_RETRY_MS)), AUTH_RETRY_MS);
  }

  return {
    kind,
    isOpen: () => isOpen,
    isBlocked: () => refusals >= (hasOpened ? MAX_REFUSALS : 1),
    start() {
      if (isRunning) return false;
      isRunning = true;
      void attempt();
      return true;
    },
    stop() {
      isRunning = isOpen = false;
      failures = 0;
      attemptId++;
      clearTimeout(attemptTimer);
      clearTimeout(authTimer);
      stream?.close();
      stream = null;
    },
    send: (frame) => stream?.send(frame) ?? false,
    wake() {
      if (isOpen) stream?.probe();
      else if (attemptTimer !== undefined) void attempt();
    },
    expectFrame: () => stream?.expectFrame(),
  };
}
