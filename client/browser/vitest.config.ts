// Tests of the test page in a real browser. Each file starts its own gateway (CARILLON_GATEWAY names the program).

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { TIMEOUT_MS } from "./browser.js";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // Otherwise Vite creates a second cache next to the tests.
  cacheDir: "../node_modules/.vite",
  test: {
    include: ["*.test.ts"],
    // Most of the time a test waits for a timer of the client or the server. More than two browsers at once would be slow
    // enough to miss the times that some tests expect.
    maxWorkers: 2,
    // A page changes some time after an event, and later on a slow machine, so the tests look at it with `expect.poll`.
    expect: { poll: { timeout: TIMEOUT_MS } },
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
});
