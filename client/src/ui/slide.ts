// Moves rows to where an arrival puts them, instead of letting them jump.

import { type RefObject, useLayoutEffect, useRef } from "react";

const MS = 200;
/** How far below the visible part a row may be that an arrival has just pushed out of it. */
const BEYOND_PX = 300;
const SLIDING = "[data-notification],[data-slide]";

/** Where each element with an id stood, relative to its positioned ancestor. */
type Places = ReadonlyMap<string, number>;

const idOf = (element: HTMLElement): string => element.dataset["notification"] ?? element.dataset["slide"] ?? "";

/** The places of the rows in the visible part of a scrollable element. Scrolled rows are not moved, so they have none. */
function placesIn(scroller: HTMLElement): Places {
  const places = new Map<string, number>();
  if (scroller.scrollTop > 0) return places;
  for (const row of scroller.querySelectorAll<HTMLElement>(SLIDING)) {
    const top = row.offsetTop;
    if (top > scroller.clientHeight + BEYOND_PX) break;
    places.set(idOf(row), top);
  }
  return places;
}

/** Starts each row where it stood before, and lets it move to its present place. New rows fade in. */
function slide(scroller: HTMLElement, before: Places): void {
  const now = placesIn(scroller);
  if (before.size === 0 || now.size === 0) return;
  const isReduced = matchMedia("(prefers-reduced-motion: reduce)").matches;
  // Even in one step it is a change of the transform, which browsers do not count as a shift of the layout.
  // A row that is still moving goes on from where it is: the motions add up.
  const timing: KeyframeAnimationOptions = {
    duration: isReduced ? MS / 4 : MS,
    easing: isReduced ? "step-end" : "ease-out",
    composite: "add",
  };
  const isLater = [...now].some(([id, top]) => top > (before.get(id) ?? top));
  if (!isLater) return;
  // A day moves as a whole, with its heading. Its rows move by what is left.
  const moved = new Map<Element, number>();
  for (const element of scroller.querySelectorAll<HTMLElement>(SLIDING)) {
    const place = now.get(idOf(element));
    if (place === undefined) break;
    const last = before.get(idOf(element));
    const day = element.parentElement?.closest(SLIDING);
    const px = (last ?? place) - place;
    const rest = px - ((day && moved.get(day)) || 0);
    moved.set(element, px);
    if (last === undefined) element.animate?.([{ opacity: 0 }, { opacity: 1 }], MS);
    else if (rest !== 0)
      element.animate?.([{ transform: `translateY(${rest}px)` }, { transform: "translateY(0)" }], timing);
  }
}

/** Lets the rows of a positioned, scrollable element slide to where an arrival puts them. */
export function useSlide(scroller: RefObject<HTMLElement | null>, rows: readonly unknown[]): void {
  const places = useRef<Places>(new Map());
  // biome-ignore lint/correctness/useExhaustiveDependencies: the rows are in the document only after they change
  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    slide(element, places.current);
    places.current = placesIn(element);
  }, [scroller, rows]);
}
