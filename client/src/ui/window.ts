// Which rows of a long list to render. All others are a gap as high as they are, or are estimated to be.

import type { NotificationGroup } from "../grouping.js";

/** Up to this number of rows, all are rendered, so that the browser's search finds them. */
export const MAX_UNWINDOWED = 200;
/** How far beyond the visible part rows are rendered. */
const AHEAD_PX = 800;
/** A range begins and ends at a multiple of this number of rows, so that few scroll events render. */
const STEP = 10;
const ROW_PX = 84;
const HEADING_PX = 36;

/** Rows from `from` up to, and without, `to`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** A group, as far as it is rendered. */
export interface Part {
  readonly group: NotificationGroup;
  readonly range: Range;
  readonly abovePx: number;
  readonly belowPx: number;
}

/** A list as far as it is rendered. */
export interface Windowed {
  readonly parts: readonly Part[];
  readonly abovePx: number;
  readonly belowPx: number;
}

/** The measured heights of rows, by id. A row that was never rendered counts as the average. */
export class Heights {
  readonly #rows = new Map<string, number>();
  #totalPx = 0;

  set(id: string, px: number): void {
    this.#totalPx += px - (this.#rows.get(id) ?? 0);
    this.#rows.set(id, px);
  }

  get(id: string): number {
    return this.#rows.get(id) ?? (this.#totalPx / this.#rows.size || ROW_PX);
  }
}

/** The rows around the visible part of a list, which begins `topPx` below the list's beginning. */
export function rangeAt(
  groups: readonly NotificationGroup[],
  heights: Heights,
  topPx: number,
  visiblePx: number,
): Range {
  let px = 0;
  let n = 0;
  let from = -1;
  for (const { items } of groups) {
    px += HEADING_PX;
    for (const { id } of items) {
      px += heights.get(id);
      if (from < 0 && px >= topPx - AHEAD_PX) from = n;
      n++;
      if (px > topPx + visiblePx + AHEAD_PX) return rounded(from, n);
    }
  }
  return rounded(Math.max(0, from < 0 ? n - STEP : from), n);
}

const rounded = (from: number, to: number): Range => ({
  from: Math.floor(from / STEP) * STEP,
  to: Math.ceil(to / STEP) * STEP,
});

/** Cuts the groups to a range. */
export function cutTo(groups: readonly NotificationGroup[], heights: Heights, { from, to }: Range): Windowed {
  const sum = (items: NotificationGroup["items"]): number =>
    items.reduce((total, { id }) => total + heights.get(id), 0);
  const parts: Part[] = [];
  let abovePx = 0;
  let belowPx = 0;
  let n = 0;
  for (const group of groups) {
    const { items } = group;
    const begin = Math.max(0, from - n);
    const end = Math.min(items.length, to - n);
    if (begin < end) {
      const range = { from: begin, to: end };
      parts.push({ group, range, abovePx: sum(items.slice(0, begin)), belowPx: sum(items.slice(end)) });
    } else if (parts.length === 0 && n < from) abovePx += HEADING_PX + sum(items);
    else belowPx += HEADING_PX + sum(items);
    n += items.length;
  }
  return { parts, abovePx, belowPx };
}
