// Loads older pages of the inbox.

import { backoffMs } from "./backoff.js";
import { compareCursors } from "./cursor.js";
import { CarillonError } from "./errors.js";
import type { Inbox, InboxChange } from "./inbox.js";
import type { Pause } from "./pause.js";
import type { ListResponse } from "./protocol.js";

const MAX_LIST_ATTEMPTS = 8;
const CACHED_PAGE_SIZE = 200;

export interface PagesHost {
  readonly pageSize: number;
  readonly pause: Pause;
  random(): number;
  inbox(): Inbox;
  change(change: InboxChange): void;
  list(query: string): Promise<ListResponse>;
  sync(): Promise<void>;
  keepSyncing(): void;
}

/** Loads the page below the oldest known notification. */
export async function loadNextPage(host: PagesHost): Promise<void> {
  let failures = 0;
  while (host.inbox().hasMore) {
    const { items, nextCursor } = host.inbox();
    // A trimmed cache has no page token: page from the top until something new appears.
    const size = nextCursor ? host.pageSize : CACHED_PAGE_SIZE;
    const response = await host.list(`limit=${size}${nextCursor ? `&cursor=${encodeURIComponent(nextCursor)}` : ""}`);
    const { cursor, nextCursor: presentNextCursor } = host.inbox();
    if (cursor === null) return;
    // The list was reloaded meanwhile, and appending this page to it would leave a gap.
    if (presentNextCursor !== nextCursor) continue;
    const step = compareCursors(response.cursor, cursor);
    // The page is of another epoch. The sync reloads the list.
    if (step === null) return host.sync();
    if (step < 0) {
      // A page behind the inbox would show rows as they were before their last change.
      if (++failures === MAX_LIST_ATTEMPTS) throw new CarillonError("list_behind", "the list lags behind the inbox");
      await host.pause.for(backoffMs(failures, host.random));
      continue;
    }
    host.change({ type: "page", response });
    if (response.cursor !== cursor) host.keepSyncing();
    if (host.inbox().items.length > items.length) return;
  }
}
