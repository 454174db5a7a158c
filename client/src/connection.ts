// Keeps one way open by which changes come in: a socket where one opens, polling where none does.

import { backoffMs } from "./backoff.js";
import type { Environment } from "./environment.js";
import { createPause } from "./pause.js";
import { asError, CarillonError } from "./problem.js";
import type { ClientFrame, Frame } from "./protocol.js";
import { type OpenStream, openSocket, type Stream } from "./socket.js";
import type { Status, Transport } from "./types.js";

/** API Gateway ends a socket after 2 h; all of a deployment's should not come back in the same second. */
const RENEW_MS = 110 * 60_000;
const RENEW_SPREAD_MS = 10 * 60_000;
/** A stream that lasted so long was a good one: the next failure is a first one. */
const STEADY_MS = 5_000;
/** After so many failures something between may have changed, even where a stream once opened. */
const PATIENT_ATTEMPTS = 3;
const AUTH_SPARE_MS = 60_000;
const AUTH_AGAIN_MS = 10_000;
const HIDDEN_POLLS = 10;

/** The streams there are. `sse` joins them with its server: one more function of this shape. */
const streams: Partial<Record<Transport, OpenStream>> = { websocket: openSocket };

/** What opens one stream. */
export interface Ticket {
  readonly ticket: string;
  /** Where each kind of stream is, if there is one. */
  readonly urls: Partial<Record<Transport, unknown>>;
  /** How long the token behind it lasts, by the server's clock. */
  readonly lastsMs: number | null;
}

export interface ConnectionHost {
  readonly environment: Environment;
  readonly pollMs: number;
  readonly transports: readonly Transport[];
  /** With a token that lasts longer than `spareMs`, if there is one to be had. */
  ticket(spareMs?: number): Promise<Ticket>;
  poll(): Promise<void>;
  /** Whatever was told before, was told to nobody: sync. */
  opened(): void;
  frame(frame: Frame): void;
  unreadable(): void;
  /** `isServed` is whether changes come in all the same. */
  failed(error: CarillonError, isServed: boolean): void;
  show(status: Status, transport: Transport | null): void;
}

export interface Connection {
  send(frame: ClientFrame): boolean;
  /** Tries now what waits to be tried. */
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
  let turn = 0;
  let attemptTimer: Timer;
  let authTimer: Timer;
  let polling: object | null = null;
  let isPolled = false;
  let hasAnswered = true;
  let isClosed = false;

  function show(): void {
    if (isClosed) return;
    if (openKind) host.show("connected", openKind);
    else if (isPolled) host.show("connected", "polling");
    else if (!hasAnswered || (failures > 0 && !environment.isOnline())) host.show("offline", null);
    else host.show(failures === 0 && !hasOpened ? "connecting" : "reconnecting", null);
  }

  function failed(error: CarillonError): void {
    // A socket's end says nothing about who else answers; a call's does.
    if (error.code === "no_answer") hasAnswered = false;
    else if (error.status > 0) hasAnswered = true;
    host.failed(error, openKind !== null || isPolled);
  }

  async function attempt(): Promise<void> {
    clearTimeout(attemptTimer);
    attemptTimer = undefined;
    const mine = ++turn;
    // With several streams the others get their turn, and the first one every other time.
    const kind = kinds[failures % kinds.length];
    if (!kind) return;
    try {
      const { ticket, urls, lastsMs } = await host.ticket();
      if (mine !== turn) return;
      hasAnswered = true;
      const url = urls[kind];
      const openStream = streams[kind];
      if (typeof url !== "string" || !openStream)
        throw new CarillonError("socket_refused", `the server offers no ${kind}`);
      // Never two at once: what comes between the old one's end and the new one's beginning, the sync brings.
      stream?.close();
      stream = null;
      stream = openStream({
        environment,
        url,
        ticket,
        opened: () => opened(kind, lastsMs),
        frame: host.frame,
        unreadable: host.unreadable,
        closed,
      });
    } catch (thrown) {
      if (mine !== turn) return;
      // A renewal that finds no ticket leaves the old stream as it is.
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

  function opened(kind: Transport, lastsMs: number | null): void {
    openKind = kind;
    openedMs = Date.now();
    hasOpened = true;
    hasAnswered = true;
    stopPolling();
    show();
    attemptIn(RENEW_MS - random() * RENEW_SPREAD_MS);
    authorizeIn(lastsMs);
    host.opened();
  }

  function closed(error: CarillonError): void {
    stream = null;
    if (openKind && Date.now() - openedMs >= STEADY_MS) failures = 0;
    openKind = null;
    turn++;
    failures++;
    clearTimeout(authTimer);
    failed(error);
    if (mayPoll && (!hasOpened || failures >= PATIENT_ATTEMPTS)) startPolling();
    show();
    attemptIn(backoffMs(failures, random, error.retryAfterMs));
  }

  /** Before the token ends, but not at once where it is a short one. */
  function authorizeIn(lastsMs: number | null): void {
    clearTimeout(authTimer);
    if (lastsMs === null) return;
    const wait = Math.max(lastsMs - AUTH_SPARE_MS, lastsMs * 0.75);
    // Later than that the stream is a new one, with a new token.
    if (wait < RENEW_MS) authTimer = setTimeout(() => void authorize(lastsMs - wait), wait);
  }

  async function authorize(leftMs: number): Promise<void> {
    const present = stream;
    try {
      const { ticket, lastsMs } = await host.ticket(leftMs + 1_000);
      if (stream !== present) return;
      // An application that has no newer token may have one later; in the end the server closes.
      if (lastsMs === null || lastsMs > leftMs + 1_000) {
        // Were it refused, an error would say so, and the server would close in the end.
        stream?.send({ action: "auth", ticket });
        return authorizeIn(lastsMs);
      }
    } catch (thrown) {
      if (stream !== present) return;
      failed(asError(thrown));
    }
    authTimer = setTimeout(() => void authorize(Math.max(0, leftMs - AUTH_AGAIN_MS)), AUTH_AGAIN_MS);
  }

  function startPolling(): void {
    if (polling) return;
    polling = {};
    void keepPolling(polling);
  }

  function stopPolling(): void {
    polling = null;
    isPolled = false;
    pollPause.wake();
  }

  async function keepPolling(mine: object): Promise<void> {
    let pollFailures = 0;
    while (polling === mine) {
      let wait: number;
      try {
        await host.poll();
        if (polling !== mine) return;
        pollFailures = 0;
        isPolled = true;
        hasAnswered = true;
        wait = environment.document?.visibilityState === "hidden" ? host.pollMs * HIDDEN_POLLS : host.pollMs;
      } catch (thrown) {
        if (polling !== mine) return;
        const error = asError(thrown);
        isPolled = false;
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
    host.failed(new CarillonError("no_transport", "no allowed transport is there"), false);
  }
  show();

  return {
    send: (question) => stream?.send(question) ?? false,
    wake() {
      pollPause.wake();
      if (openKind) stream?.probe();
      else if (attemptTimer !== undefined) void attempt();
    },
    close() {
      isClosed = true;
      turn++;
      clearTimeout(attemptTimer);
      clearTimeout(authTimer);
      stopPolling();
      stream?.close();
      stream = null;
    },
  };
}
