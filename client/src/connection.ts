// Keeps one transport open for incoming changes: a socket if one opens, otherwise polling.

import { backoffMs } from "./backoff.js";
import type { Environment } from "./environment.js";
import { asError, CarillonError } from "./errors.js";
import { createPause } from "./pause.js";
import type { ClientFrame, Frame } from "./protocol.js";
import { type OpenStream, openSocket, type Stream } from "./socket.js";
import type { Status, Transport } from "./types.js";

/** API Gateway ends a socket after 2 h. The spread keeps a deployment's sockets from coming back in the same second. */
const RENEW_MS = 110 * 60_000;
const RENEW_SPREAD_MS = 10 * 60_000;
/** A stream that stayed open this long resets the count of failures. */
const STABLE_MS = 5_000;
/** After this many failures polling starts even if a stream once opened: something on the path may have changed. */
const FAILURES_BEFORE_POLLING = 3;
const AUTH_MARGIN_MS = 60_000;
const AUTH_RETRY_MS = 10_000;
const HIDDEN_POLL_FACTOR = 10;

/** The streams that exist. `sse` needs its server first, and then one more function of this shape. */
const streams: Partial<Record<Transport, OpenStream>> = { websocket: openSocket };

/** Opens one stream. */
export interface Ticket {
  readonly ticket: string;
  /** The address of each kind of stream that the server offers. */
  readonly urls: Partial<Record<Transport, unknown>>;
  /** How long the token behind the ticket is still valid, by the server's clock. */
  readonly validMs: number | null;
}

export interface ConnectionHost {
  readonly environment: Environment;
  readonly pollMs: number;
  readonly transports: readonly Transport[];
  /** Gets a ticket. Its token is valid for at least `minValidMs` more, if `getToken` has such a token. */
  ticket(minValidMs?: number): Promise<Ticket>;
  poll(): Promise<void>;
  /** A stream opened. Changes made before this moment were not sent to it, so a sync is needed. */
  opened(): void;
  frame(frame: Frame): void;
  unreadable(): void;
  /** `isReceiving`: changes still come in another way. */
  failed(error: CarillonError, isReceiving: boolean): void;
  show(status: Status, transport: Transport | null): void;
}

export interface Connection {
  send(frame: ClientFrame): boolean;
  /** Cuts a backoff short and retries now, or probes the open stream. */
  wake(): void;
  close(): void;
}

type Timer = ReturnType<typeof setTimeout> | undefined;

export function createConnection(host: ConnectionHost): Connection {
  const { environment } = host;
  const { random } = environment;
  const kinds = host.transports.filter((kind) => streams[kind]);
  const mayPoll = host.transports.includes("polling");
  const pollPause = createPause();
  let stream: Stream | null = null;
  let openKind: Transport | null = null;
  let openedMs = 0;
  let hasOpened = false;
  let failures = 0;
  let attemptId = 0;
  let attemptTimer: Timer;
  let authTimer: Timer;
  /** Identifies the present polling loop. */
  let polling: object | null = null;
  let isPollWorking = false;
  let hasAnswered = true;
  let isClosed = false;

  function show(): void {
    if (isClosed) return;
    if (openKind) host.show("connected", openKind);
    else if (isPollWorking) host.show("connected", "polling");
    else if (!hasAnswered || (failures > 0 && !environment.isOnline())) host.show("offline", null);
    else host.show(failures === 0 && !hasOpened ? "connecting" : "reconnecting", null);
  }

  function failed(error: CarillonError): void {
    // Only a call shows whether the server is reachable. The end of a socket does not.
    if (error.code === "no_answer") hasAnswered = false;
    else if (error.status > 0) hasAnswered = true;
    host.failed(error, openKind !== null || isPollWorking);
  }

  async function attempt(): Promise<void> {
    clearTimeout(attemptTimer);
    attemptTimer = undefined;
    const id = ++attemptId;
    // Several kinds of stream take turns, beginning with the first.
    const kind = kinds[failures % kinds.length];
    if (!kind) return;
    try {
      const { ticket, urls, validMs } = await host.ticket();
      if (id !== attemptId) return;
      hasAnswered = true;
      const url = urls[kind];
      const openStream = streams[kind];
      if (typeof url !== "string" || !openStream)
        throw new CarillonError("socket_refused", `the server offers no ${kind}`);
      // Never two at once: a change between the end of the old stream and the start of the new one comes with the sync.
      stream?.close();
      stream = null;
      stream = openStream({
        environment,
        url,
        ticket,
        opened: () => opened(kind, validMs),
        frame: host.frame,
        unreadable: host.unreadable,
        closed,
      });
    } catch (thrown) {
      if (id !== attemptId) return;
      // A renewal that gets no ticket keeps the old stream open.
      if (stream) {
        failures++;
        failed(asError(thrown));
        return attemptIn(backoffMs(failures, random));
      }
      closed(asError(thrown));
    }
  }

  function attemptIn(ms: number): void {
    clearTimeout(attemptTimer);
    attemptTimer = setTimeout(() => void attempt(), ms);
  }

  function opened(kind: Transport, validMs: number | null): void {
    openKind = kind;
    openedMs = Date.now();
    hasOpened = true;
    hasAnswered = true;
    stopPolling();
    show();
    attemptIn(RENEW_MS - random() * RENEW_SPREAD_MS);
    scheduleAuth(validMs);
    host.opened();
  }

  function closed(error: CarillonError): void {
    stream = null;
    if (openKind && Date.now() - openedMs >= STABLE_MS) failures = 0;
    openKind = null;
    attemptId++;
    failures++;
    clearTimeout(authTimer);
    failed(error);
    if (mayPoll && (!hasOpened || failures >= FAILURES_BEFORE_POLLING)) startPolling();
    show();
    attemptIn(backoffMs(failures, random, error.retryAfterMs));
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
      const { ticket, validMs } = await host.ticket(remainingMs + 1_000);
      if (stream !== present) return;
      // If the application has no newer token yet, try again. The server closes the stream if none comes.
      if (validMs === null || validMs > remainingMs + 1_000) {
        // A refusal comes back as an error frame, and the server then closes the stream.
        stream?.send({ action: "auth", ticket });
        return scheduleAuth(validMs);
      }
    } catch (thrown) {
      if (stream !== present) return;
      failed(asError(thrown));
    }
    authTimer = setTimeout(() => void authorise(Math.max(0, remainingMs - AUTH_RETRY_MS)), AUTH_RETRY_MS);
  }

  function startPolling(): void {
    if (polling) return;
    polling = {};
    void keepPolling(polling);
  }

  function stopPolling(): void {
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
        wait = environment.document?.visibilityState === "hidden" ? host.pollMs * HIDDEN_POLL_FACTOR : host.pollMs;
      } catch (thrown) {
        if (polling !== loop) return;
        const error = asError(thrown);
        isPollWorking = false;
        failures ||= 1;
        failed(error);
        wait = backoffMs(++pollFailures, random, error.retryAfterMs);
      }
      show();
      await pollPause.for(wait);
    }
  }

  if (kinds.length > 0) {
    void attempt();
  } else if (mayPoll) startPolling();
  else {
    hasAnswered = false;
    host.failed(new CarillonError("no_transport", "no transport is available"), false);
  }
  show();

  return {
    send: (frame) => stream?.send(frame) ?? false,
    wake() {
      pollPause.wake();
      if (openKind) stream?.probe();
      else if (attemptTimer !== undefined) void attempt();
    },
    close() {
      isClosed = true;
      attemptId++;
      clearTimeout(attemptTimer);
      clearTimeout(authTimer);
      stopPolling();
      stream?.close();
      stream = null;
    },
  };
}
