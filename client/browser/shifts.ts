// How much the layout of a page shifts, as the browser scores it.

import type { Page } from "playwright-core";
import { expect } from "vitest";

/** Browsers rate up to 0.1 as good. */
const MAX_SCORE = 0.02;

/** A part of the API that TypeScript does not know. */
interface LayoutShift extends PerformanceEntry {
  readonly value: number;
  readonly sources: readonly { node: Node | null; previousRect: DOMRect; currentRect: DOMRect }[];
}

interface Shift {
  readonly score: number;
  /** The elements that moved, and from where to where. */
  readonly moved: string;
}

/** Runs in the page: collects the shifts from now on. */
function observe(): void {
  const shifts: Shift[] = [];
  Object.assign(globalThis, { shifts });
  const at = ({ x, y, width, height }: DOMRect): string => `${[x, y, width, height].map(Math.round)}`;
  new PerformanceObserver((list) => {
    for (const { value, sources, startTime } of list.getEntries() as LayoutShift[]) {
      const moved = sources.map(({ node, previousRect, currentRect }) => {
        const name = node instanceof Element ? `${node.tagName}.${node.className}` : (node?.textContent ?? "gone");
        return `${name} ${at(previousRect)} → ${at(currentRect)}`;
      });
      shifts.push({ score: value, moved: `${value.toFixed(3)} at ${Math.round(startTime)} ms: ${moved.join("; ")}` });
    }
  }).observe({ type: "layout-shift" });
}

/** Collects the shifts of a page from now on. */
export function observeShifts(page: Page): Promise<void> {
  return page.evaluate(observe);
}

/** Collects the shifts of a page from its next load on. */
export async function observeShiftsOfLoads(page: Page): Promise<void> {
  await page.addInitScript(observe);
}

/** Expects that nothing that a user would notice has shifted while shifts were collected. */
export async function expectNoShifts(page: Page): Promise<void> {
  const shifts = await page.evaluate(() => (globalThis as unknown as { shifts: Shift[] }).shifts);
  const score = shifts.reduce((total, one) => total + one.score, 0);
  expect(score, shifts.map(({ moved }) => moved).join("\n")).toBeLessThan(MAX_SCORE);
}
