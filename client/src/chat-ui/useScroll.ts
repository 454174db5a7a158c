// The scrolling of a conversation: it stays at the end while messages arrive, and where it is while older ones are read.

import { type RefObject, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

/** This near to the end counts as there. */
const END_PX = 24;

/** What stands at the top of the visible part, and how far below it, when the list was scrolled to here. */
interface Anchor {
  readonly element: Element;
  readonly top: number;
  readonly scrollTop: number;
}

const topIn = (element: Element, scroller: Element): number =>
  element.getBoundingClientRect().top - scroller.getBoundingClientRect().top;

/** The first message that is in sight, by bisection: they stand below each other. */
function anchorIn(scroller: Element): Anchor | null {
  const rows = scroller.querySelectorAll("[data-message]");
  let [from, to] = [0, rows.length - 1];
  while (from < to) {
    const middle = (from + to) >> 1;
    const row = rows[middle];
    if (row && topIn(row, scroller) + row.getBoundingClientRect().height <= 0) from = middle + 1;
    else to = middle;
  }
  const element = rows[from];
  return element ? { element, top: topIn(element, scroller), scrollTop: scroller.scrollTop } : null;
}

/** What `useScroll` returns. */
export interface Scrolling {
  /** Whether the end is in sight. */
  readonly isAtEnd: boolean;
  readonly onScroll: () => void;
  readonly toEnd: () => void;
}

/** `start` finds the element with which the visible part begins at first, instead of ending with the last message. */
export function useScroll(
  scroller: RefObject<HTMLElement | null>,
  isReady: boolean,
  start: (scroller: HTMLElement) => Element | null,
): Scrolling {
  const [isAtEnd, setAtEnd] = useState(true);
  const end = useRef(true);
  const anchor = useRef<Anchor | null>(null);
  const hasStarted = useRef(false);
  const height = useRef(0);

  const note = useCallback(() => {
    const element = scroller.current;
    if (!element) return;
    // A new height scrolls by itself, and that is not the user.
    if (end.current && element.clientHeight !== height.current) element.scrollTop = element.scrollHeight;
    height.current = element.clientHeight;
    end.current = element.scrollHeight - element.clientHeight - element.scrollTop <= END_PX;
    anchor.current = end.current ? null : anchorIn(element);
    setAtEnd(end.current);
  }, [scroller]);
  const toEnd = useCallback(() => {
    end.current = true;
    const element = scroller.current;
    if (element) element.scrollTop = element.scrollHeight;
    note();
  }, [scroller, note]);

  // After each render, because whatever has changed may have moved what is in sight.
  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element || !isReady) return;
    const first = hasStarted.current ? null : start(element);
    hasStarted.current = true;
    if (first) {
      element.scrollTop += topIn(first, element) - element.clientHeight / 4;
      end.current = false;
    } else if (end.current) element.scrollTop = element.scrollHeight;
    else if (anchor.current?.element.isConnected) {
      const { top, scrollTop } = anchor.current;
      // The user may have scrolled since, and the event is still to come.
      element.scrollTop += topIn(anchor.current.element, element) - top + (element.scrollTop - scrollTop);
    }
    note();
  });
  // The composer grows, and windows are resized.
  useEffect(() => {
    const element = scroller.current;
    if (!element || typeof ResizeObserver === "undefined") return;
    const observer = new ResizeObserver(note);
    observer.observe(element);
    return () => observer.disconnect();
  }, [scroller, note]);

  return { isAtEnd, onScroll: note, toEnd };
}
