// Renders the visible part of a long list, and follows it as it is scrolled.

import { type RefObject, useCallback, useLayoutEffect, useMemo, useRef, useState } from "react";
import type { NotificationGroup } from "../grouping.js";
import { cutTo, Heights, MAX_UNWINDOWED, type Range, rangeAt, type Windowed } from "./window.js";

const everything: Range = { from: 0, to: Number.POSITIVE_INFINITY };

/** What `useWindowed` returns. */
export interface WindowedList extends Windowed {
  /** To call when the list was scrolled. */
  readonly onScroll: () => void;
}

export function useWindowed(
  scroller: RefObject<HTMLElement | null>,
  groups: readonly NotificationGroup[],
  count: number,
): WindowedList {
  const [heights] = useState(() => new Heights());
  const [range, setRange] = useState<Range>({ from: 0, to: MAX_UNWINDOWED });
  const isLong = count > MAX_UNWINDOWED;
  const latest = useRef({ groups, isLong });

  useLayoutEffect(() => {
    latest.current = { groups, isLong };
    if (!isLong) return;
    for (const row of scroller.current?.querySelectorAll<HTMLElement>("[data-notification]") ?? []) {
      if (row.offsetHeight > 0) heights.set(row.dataset["notification"] ?? "", row.offsetHeight);
    }
  });
  const onScroll = useCallback(() => {
    const element = scroller.current;
    if (!element || !latest.current.isLong) return;
    const next = rangeAt(latest.current.groups, heights, element.scrollTop, element.clientHeight);
    setRange((last) => (last.from === next.from && last.to === next.to ? last : next));
  }, [scroller, heights]);

  const windowed = useMemo(() => cutTo(groups, heights, isLong ? range : everything), [groups, heights, isLong, range]);
  return { ...windowed, onScroll };
}
