// The browser of the tests. CHROMIUM is its program.
// CARILLON_SLOWDOWN slows down all pages by a factor, such as 6. A test then fails if it looks at a page only once, before
// the page has changed.

import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";

/** Long enough for a reconnect after backoff on a slow machine, and shorter than the timeout of a test. */
export const TIMEOUT_MS = 45_000;

const SLOWDOWN = Number(process.env["CARILLON_SLOWDOWN"] ?? 1);

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-background-networking"],
  });
}

/** A context without stored data, with a window of a desktop. */
export async function newContext(browser: Browser, options: BrowserContextOptions): Promise<BrowserContext> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(TIMEOUT_MS);
  // A page may be closed before it is slowed down.
  if (SLOWDOWN > 1) context.on("page", (page) => void slowDown(page).catch(() => {}));
  return context;
}

async function slowDown(page: Page): Promise<void> {
  const session = await page.context().newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: SLOWDOWN });
}
