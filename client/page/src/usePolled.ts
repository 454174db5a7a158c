// An answer that is asked for again and again while the page is visible. What was there stays while an error lasts.

import { useClient } from "@carillon/client/react";
import { useCallback, useEffect, useState } from "react";
import { type Failure, failure } from "./failure.js";

export interface Polled<T> {
  readonly data: T | null;
  readonly failure: Failure | null;
  /** When `data` came. */
  readonly at: Date | null;
  readonly refresh: () => void;
}

/** Asks `path` at once and `everyMs` after each answer; `null` asks nothing, `until` (a stable function) ends it. */
export function usePolled<T>(path: string | null, everyMs: number, until?: (data: T) => boolean): Polled<T> {
  const client = useClient();
  const [asked, setAsked] = useState<{ path: string | null } & Omit<Polled<T>, "refresh">>(NOTHING);
  const [round, setRound] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: another round asks anew
  useEffect(() => {
    if (path === null) return;
    let gone = false;
    let busy = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const ask = async (): Promise<void> => {
      clearTimeout(timer);
      if (gone || busy || document.visibilityState === "hidden") return;
      busy = true;
      let again = true;
      try {
        const data = await client.request<T>("GET", path);
        again = !until?.(data);
        if (!gone) setAsked({ path, data, failure: null, at: new Date() });
      } catch (thrown) {
        // The last answer stays, if it was to the same question, and the error stands beside it.
        if (!gone) {
          setAsked((last) => ({ ...(last.path === path ? last : NOTHING), path, failure: failure(thrown) }));
        }
      }
      busy = false;
      if (!gone && again) timer = setTimeout(ask, everyMs);
    };
    void ask();
    document.addEventListener("visibilitychange", ask);
    return () => {
      gone = true;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", ask);
    };
  }, [client, path, everyMs, until, round]);

  const refresh = useCallback(() => setRound((last) => last + 1), []);
  const mine = asked.path === path ? asked : NOTHING;
  return { data: mine.data, failure: mine.failure, at: mine.at, refresh };
}

const NOTHING = { path: null, data: null, failure: null, at: null };
