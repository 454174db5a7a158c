// Keeps the inbox free of gaps: puts events in order, and asks the server for the changes that no event brought.

import { backoffMs } from "./backoff.js";
import { compareCursors, isAhead } from "./cursor.js";
import { asError, type CarillonError, invalidAnswer } from "./errors.js";
import type { ApiResponse } from "./http.js";
import { fitOf, type Inbox, type InboxChange, missedEvents } from "./inbox.js";
import { loadNextPage } from "./pages.js";
import { createPause } from "./pause.js";
import { type InboxEvent, isListResponse, isSyncResponse, type ListResponse, type SyncResponse } from "./protocol.js";
import type { CarillonEvent, RequestOptions } from "./types.js";

/** How long an event may wait for the one before it. */
export const GAP_MS = 250;
const MAX_WAITING = 1_000;

export interface CatchUpHost {
  readonly pageSize: number;
  /** The filter of the list, as `&name=value`. */
  readonly query?: string;
  random(): number;
  call(method: string, path: string, options?: RequestOptions): Promise<ApiResponse>;
  inbox(): Inbox;
  change(change: InboxChange): void;
  /** Passes events to the application, each once. */
  emit(events: readonly CarillonEvent[]): void;
  /** Shares a response with the other tabs. It may be one part of a sync that began at `start`. */
  relay(since: string, response: SyncResponse, start: string): void;
  /** A sync begins. The returned function is called when everything up to this moment is known. */
  beginSync(): () => void;
  failed(error: CarillonError): void;
}

export interface CatchUp {
  accept(event: InboxEvent): void;
  /** Accepts a response that another tab received. */
  acceptSync(since: string, response: SyncResponse, start?: string): void;
  /** Resolves when every change made before the call is known. */
  sync(): Promise<void>;
  /** Syncs, and retries with backoff until it succeeds. */
  keepSyncing(): void;
  loadMore(): Promise<void>;
  /** Cuts a backoff short and retries now. */
  wake(): void;
  stop(): void;
}

export function createCatchUp(host: CatchUpHost): CatchUp {
  let waiting: InboxEvent[] = [];
  let gapTimer: ReturnType<typeof setTimeout> | undefined;
  let gapRounds = 0;
  let running: Promise<void> | null = null;
  let queued: Promise<void> | null = null;
  let isRetrying = false;
  let isSyncWanted = false;
  let isStopped = false;
  let loading: Promise<void> | null = null;
  const pause = createPause();

  function accept(event: InboxEvent): void {
    switch (fitOf(host.inbox().cursor, event)) {
      case "drop":
        return;
      case "foreign":
        // The server answers our cursor with 410, and then the list is loaded again.
        return keepSyncing();
      case "wait":
        waiting.push(event);
        // With this many events waiting, one sync is less work than keeping them.
        if (waiting.length > MAX_WAITING) waiting = [];
        return watchGap();
      case "apply":
        // Fetching only the notification would not bring the unread count. A sync brings both.
        if (event.type === "fetch") return keepSyncing();
        host.change({ type: "event", event, at: new Date().toISOString() });
        host.emit([event]);
        applyWaiting();
    }
  }

  function applyWaiting(): void {
    const events = waiting.sort((a, b) => (isAhead(a.cursor, b.cursor) ? 1 : -1));
    waiting = [];
    // In order: each event either fits now or waits again.
    for (const event of events) accept(event);
    if (waiting.length === 0) {
      clearTimeout(gapTimer);
      gapTimer = undefined;
      gapRounds = 0;
    }
  }

  function watchGap(): void {
    if (isStopped) return;
    // If a sync does not close the gap either, the next one waits longer.
    gapTimer ??= setTimeout(
      () => {
        gapTimer = undefined;
        keepSyncing();
      },
      GAP_MS * 2 ** Math.min(gapRounds++, 7),
    );
  }

  function acceptSync(since: string, response: SyncResponse, start = since): void {
    const before = host.inbox();
    if (before.cursor === null) return;
    const fit = fitOf(before.cursor, { prev: since, cursor: response.cursor });
    if (fit === "wait" || fit === "foreign") return keepSyncing();
    if (fit === "drop" && response.cursor !== before.cursor) return;
    host.change({ type: "sync", response });
    host.emit(missedEvents(before, since, start, response));
    applyWaiting();
  }

  async function syncFrom(start: string): Promise<void> {
    let since = start;
    for (;;) {
      const { etag } = host.inbox();
      const { status, body } = await host.call("GET", `/api/sync?since=${encodeURIComponent(since)}`, {
        headers: etag ? { "if-none-match": etag } : {},
      });
      if (status === 304) return;
      // A partial response that makes no progress, or one of another epoch, would be requested forever.
      if (!isSyncResponse(body) || (compareCursors(body.cursor, since) ?? -1) < (body.complete ? 0 : 1)) {
        throw invalidAnswer();
      }
      acceptSync(since, body, start);
      host.relay(since, body, start);
      if (body.complete) return;
      since = body.cursor;
    }
  }

  async function list(query: string): Promise<ListResponse> {
    const { body } = await host.call("GET", `/api/notifications?${query}${host.query ?? ""}`);
    if (!isListResponse(body)) throw invalidAnswer();
    return body;
  }

  async function reloadList(): Promise<void> {
    // No event fits while the cursor is null, so nothing newer than this response can have been applied.
    host.change({ type: "list", response: await list(`limit=${host.pageSize}`) });
    applyWaiting();
  }

  async function run(): Promise<void> {
    const succeeded = host.beginSync();
    const { cursor } = host.inbox();
    try {
      if (cursor === null) await reloadList();
      else await syncFrom(cursor);
    } catch (thrown) {
      if (asError(thrown).status !== 410) throw thrown;
      host.failed(asError(thrown));
      host.change({ type: "lost" });
      await reloadList();
    }
    succeeded();
  }

  function sync(): Promise<void> {
    if (!running) {
      running = run().finally(() => {
        running = null;
      });
      return running;
    }
    // The server may have answered the running sync before the change that the caller wants to see.
    queued ??= running
      .catch(() => {})
      .then(() => {
        queued = null;
        return sync();
      });
    return queued;
  }

  function keepSyncing(): void {
    isSyncWanted = true;
    if (!isRetrying) void syncWithRetries();
  }

  async function syncWithRetries(): Promise<void> {
    isRetrying = true;
    let failures = 0;
    while (isSyncWanted && !isStopped) {
      isSyncWanted = false;
      try {
        await sync();
        failures = 0;
        if (waiting.length > 0) watchGap();
      } catch (thrown) {
        if (isStopped) break;
        const error = asError(thrown);
        host.failed(error);
        isSyncWanted = true;
        await pause.for(backoffMs(++failures, host.random, error.retryAfterMs));
      }
    }
    isRetrying = false;
  }

  return {
    accept,
    acceptSync,
    sync,
    keepSyncing,
    loadMore() {
      loading ??= loadNextPage({ ...host, list, sync, keepSyncing, pause })
        .catch((thrown) => {
          // A refused page token may be the first sign of a change.
          keepSyncing();
          throw thrown;
        })
        .finally(() => {
          loading = null;
        });
      return loading;
    },
    wake: pause.wake,
    stop() {
      isStopped = true;
      clearTimeout(gapTimer);
      pause.wake();
    },
  };
}
