// Polls a path of the API while the page is visible. The last response stays available while errors last.

import { useClient } from "@carillon/client/react";
import { useCallback, useEffect, useState } from "react";
import { type Failure, failure } from "./failure.js";

export interface Polled<T> {
  readonly data: T | null;
  readonly failure: Failure | null;
  /** The time at which `data` was received. */
  readonly at: Date | null;
  readonly refresh: () => void;
}

/**
 * Requests `path` at once, and again `everyMs` after each response. With `null` as the path it requests nothing.
 * Polling ends when `until` returns true; it must be a stable function.
 */
export function usePolled<T>(path: string | null, everyMs: number, until?: (data: T) => boolean): Polled<T> {
  const client = useClient();
  const [received, setReceived] = useState<{ path: string | null } & Omit<Polled<T>, "refresh">>(NOTHING);
  const [round, setRound] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new round starts a new request
  useEffect(() => {
    if (path === null) return;
    let stopped = false;
    let busy = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const poll = async (): Promise<void> => {
      clearTimeout(timer);
      if (stopped || busy || document.visibilityState === "hidden") return;
      busy = true;
      let again = true;
      try {
        const data = await client.request<T>("GET", path);
        again = !until?.(data);
        if (!stopped) setReceived({ path, data, failure: null, at: new Date() });
      } catch (thrown) {
        // The last response for the same path stays, next to the error.
        if (!stopped) {
          setReceived((last) => ({ ...(last.path === path ? last : NOTHING), path, failure: failure(thrown) }));
        }
      }
      busy = false;
      if (!stopped && again) timer = setTimeout(poll, everyMs);
    };
    void poll();
    document.addEventListener("visibilitychange", poll);
    return () => {
      stopped = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", poll);
    };
  }, [client, path, everyMs, until, round]);

  const refresh = useCallback(() => setRound((last) => last + 1), []);
  // After `path` changes, the last response belongs to the old path until a new one arrives.
  const { data, failure: lastFailure, at } = received.path === path ? received : NOTHING;
  return { data, failure: lastFailure, at, refresh };
}

const NOTHING = { path: null, data: null, failure: null, at: null };
