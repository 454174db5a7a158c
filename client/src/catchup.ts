// Keeps the inbox without holes: puts events in order, and asks the server for whatever they did not tell.

import { backoffMs } from "./backoff.js";
import { compareCursors, isAhead } from "./cursor.js";
import type { Answer } from "./http.js";
import { fitOf, type Inbox, type InboxChange, missed } from "./inbox.js";
import { createPause } from "./pause.js";
import { asError, CarillonError, invalid } from "./problem.js";
import { type InboxEvent, isListAnswer, isSyncAnswer, type ListAnswer, type SyncAnswer } from "./protocol.js";
import type { CarillonEvent, RequestOptions } from "./types.js";

/** How long an event may wait for the one before it. */
export const GAP_MS = 250;
const MAX_WAITING = 1_000;
const MAX_LIST_ATTEMPTS = 8;
const CACHED_PAGE_SIZE = 200;

export interface CatchUpHost {
  readonly pageSize: number;
  random(): number;
  call(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  inbox(): Inbox;
  change(change: InboxChange): void;
  /** What an application is told; each once. */
  tell(events: readonly CarillonEvent[]): void;
  /** For the other tabs; `start` is where the whole answer begins, of which this is a part. */
  relay(since: string, answer: SyncAnswer, start: string): void;
  /** Begins to ask; what is returned is called when everything up to that moment is known. */
  asking(): () => void;
  failed(error: CarillonError): void;
}

export interface CatchUp {
  accept(event: InboxEvent): void;
  /** Another tab's answer. */
  acceptSync(since: string, answer: SyncAnswer, start?: string): void;
  /** Resolves when everything is known that was so at the call. */
  sync(): Promise<void>;
  /** Syncs, again and again with backoff until it succeeds. */
  keepSyncing(): void;
  loadMore(): Promise<void>;
  /** Tries again now what waits to be tried again. */
  wake(): void;
  stop(): void;
}

export function createCatchUp(host: CatchUpHost): CatchUp {
  let waiting: InboxEvent[] = [];
  let gapTimer: ReturnType<typeof setTimeout> | undefined;
  let gapRounds = 0;
  let running: Promise<void> | null = null;
  let following: Promise<void> | null = null;
  let isKeeping = false;
  let isWanted = false;
  let isStopped = false;
  let loading: Promise<void> | null = null;
  const pause = createPause();

  function accept(event: InboxEvent): void {
    switch (fitOf(host.inbox().cursor, event)) {
      case "drop":
        return;
      case "foreign":
        // The answer to our cursor is 410 then, and the list comes anew.
        return keepSyncing();
      case "wait":
        waiting.push(event);
        // So many that one sync is less work than keeping them.
        if (waiting.length > MAX_WAITING) waiting = [];
        return watchGap();
      case "apply":
        // A fetched notification would come without the unread count; a sync brings both.
        if (event.type === "fetch") return keepSyncing();
        host.change({ type: "event", event, at: new Date().toISOString() });
        host.tell([event]);
        takeWaiting();
    }
  }

  function takeWaiting(): void {
    const held = waiting.sort((a, b) => (isAhead(a.cursor, b.cursor) ? 1 : -1));
    waiting = [];
    // In order, so each either fits by now or goes on waiting.
    for (const event of held) accept(event);
    if (waiting.length === 0) {
      clearTimeout(gapTimer);
      gapTimer = undefined;
      gapRounds = 0;
    }
  }

  function watchGap(): void {
    if (isStopped) return;
    // Where the answer to a sync does not close the hole either, ask ever more rarely.
    gapTimer ??= setTimeout(
      () => {
        gapTimer = undefined;
        keepSyncing();
      },
      GAP_MS * 2 ** Math.min(gapRounds++, 7),
    );
  }

  function acceptSync(since: string, answer: SyncAnswer, start = since): void {
    const before = host.inbox();
    if (before.cursor === null) return;
    const order = fitOf(before.cursor, { prev: since, cursor: answer.cursor });
    if (order === "wait" || order === "foreign") return keepSyncing();
    if (order === "drop" && answer.cursor !== before.cursor) return;
    host.change({ type: "sync", answer });
    host.tell(missed(before, since, start, answer));
    takeWaiting();
  }

  async function syncFrom(start: string): Promise<void> {
    let since = start;
    for (;;) {
      const { etag } = host.inbox();
      const { status, body } = await host.call("GET", `/api/sync?since=${encodeURIComponent(since)}`, {
        headers: etag ? { "if-none-match": etag } : {},
      });
      if (status === 304) return;
      // A partial answer that leads nowhere, or one of another history, would be asked for without end.
      if (!isSyncAnswer(body) || (compareCursors(body.cursor, since) ?? -1) < (body.complete ? 0 : 1)) throw invalid();
      acceptSync(since, body, start);
      host.relay(since, body, start);
      if (body.complete) return;
      since = body.cursor;
    }
  }

  async function list(query: string): Promise<ListAnswer> {
    const { body } = await host.call("GET", `/api/notifications?${query}`);
    if (!isListAnswer(body)) throw invalid();
    return body;
  }

  async function listAnew(): Promise<void> {
    // Nothing fits while there is no cursor, so nothing can have come further than this answer.
    host.change({ type: "list", answer: await list(`limit=${host.pageSize}`) });
    takeWaiting();
  }

  async function run(): Promise<void> {
    const known = host.asking();
    const { cursor } = host.inbox();
    try {
      if (cursor === null) await listAnew();
      else await syncFrom(cursor);
    } catch (thrown) {
      if (asError(thrown).status !== 410) throw thrown;
      host.failed(asError(thrown));
      host.change({ type: "lost" });
      await listAnew();
    }
    known();
  }

  function sync(): Promise<void> {
    if (!running) {
      running = run().finally(() => {
        running = null;
      });
      return running;
    }
    // One that is under way may have been answered before what the caller means to see.
    following ??= running
      .catch(() => {})
      .then(() => {
        following = null;
        return sync();
      });
    return following;
  }

  function keepSyncing(): void {
    isWanted = true;
    if (!isKeeping) void keep();
  }

  async function keep(): Promise<void> {
    isKeeping = true;
    let failures = 0;
    while (isWanted && !isStopped) {
      isWanted = false;
      try {
        await sync();
        failures = 0;
        if (waiting.length > 0) watchGap();
      } catch (thrown) {
        if (isStopped) break;
        const error = asError(thrown);
        host.failed(error);
        isWanted = true;
        await pause.for(backoffMs(++failures, host.random, error.retryAfterMs));
      }
    }
    isKeeping = false;
  }

  async function nextPage(): Promise<void> {
    let failures = 0;
    while (host.inbox().hasMore) {
      const { items, nextCursor } = host.inbox();
      // What the cache holds has no place to go on from: page from the top until something is new.
      const size = nextCursor ? host.pageSize : CACHED_PAGE_SIZE;
      const answer = await list(`limit=${size}${nextCursor ? `&cursor=${encodeURIComponent(nextCursor)}` : ""}`);
      const { cursor, nextCursor: place } = host.inbox();
      if (cursor === null) return;
      // The list has come anew meanwhile: below it, this page would leave a hole.
      if (place !== nextCursor) continue;
      const step = compareCursors(answer.cursor, cursor);
      // Of another history, which lists anew.
      if (step === null) return sync();
      if (step < 0) {
        // It would show what has changed since as it was.
        if (++failures === MAX_LIST_ATTEMPTS) throw new CarillonError("list_behind", "the list lags behind the inbox");
        await pause.for(backoffMs(failures, host.random));
        continue;
      }
      host.change({ type: "page", answer });
      if (answer.cursor !== cursor) keepSyncing();
      if (host.inbox().items.length > items.length) return;
    }
  }

  return {
    accept,
    acceptSync,
    sync,
    keepSyncing,
    loadMore() {
      loading ??= nextPage()
        .catch((thrown) => {
          // That its place is refused may be the first sign of what has changed.
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
