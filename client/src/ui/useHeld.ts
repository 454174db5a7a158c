// The rows of a list that is in use.

import { useLayoutEffect, useMemo, useRef, useState } from "react";
import type { Notification } from "../types.js";
import { type Held, type Hold, hold } from "./held.js";

/** What `useHeld` returns. */
export interface HeldRows extends Held {
  /** Shows what waits, whatever holds the list. */
  readonly release: () => void;
}

export function useHeld(
  items: readonly Notification[],
  all: readonly Notification[],
  { pointer, reading }: Hold,
): HeldRows {
  const shown = useRef<readonly Notification[]>([]);
  const [releases, setReleases] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a release empties what was shown
  const held = useMemo(
    () => hold(shown.current, items, all, { pointer, reading }),
    [items, all, pointer, reading, releases],
  );
  useLayoutEffect(() => {
    shown.current = held.rows;
  }, [held]);
  const [release] = useState(() => () => {
    shown.current = [];
    setReleases((last) => last + 1);
  });
  return { ...held, release };
}
