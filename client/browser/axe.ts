// Runs axe-core on a page, with all of its rules.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import type { Page } from "playwright-core";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * What is wrong with the page: the rule, the elements and the reasons of each violation. A row that arrives during the look
 * fades in and has too little contrast meanwhile, so what is found must be found again.
 */
export async function violations(page: Page): Promise<string[]> {
  const found = await look(page);
  return found.length > 0 ? look(page) : found;
}

/** Looks once no colour changes any more. */
async function look(page: Page): Promise<string[]> {
  await page.waitForFunction(() =>
    document
      .getAnimations()
      .every(({ playState, effect }) => playState !== "running" || effect?.getComputedTiming().endTime === Infinity),
  );
  await page.evaluate(AXE);
  const results = await page.evaluate(
    () => (globalThis as unknown as { axe: { run(): Promise<AxeResults> } }).axe.run() as Promise<AxeResults>,
  );
  // A page without text or buttons would have no violations either.
  for (const rule of ["button-name", "landmark-unique"]) {
    if (!results.passes.some(({ id }) => id === rule)) throw new Error(`the rule ${rule} found nothing to check`);
  }
  return results.violations.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} (${failureSummary})`).join(" ")}`,
  );
}
