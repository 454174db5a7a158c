// Tests of the test page in a real browser. Each file starts its own gateway (CARILLON_GATEWAY names the program).

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // Otherwise Vite creates a second cache next to the tests.
  cacheDir: "../node_modules/.vite",
  test: {
    include: ["*.test.ts"],
    // Two browsers at once disturb each other's timing, which costs more than running in parallel saves.
    fileParallelism: false,
    testTimeout: 90_000,
    hookTimeout: 60_000,
  },
});
