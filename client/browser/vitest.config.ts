// The test page in a real browser, before a gateway of the test's own (CARILLON_GATEWAY names the program).

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // Else a cache of its own appears beside the tests.
  cacheDir: "../node_modules/.vite",
  test: {
    include: ["*.test.ts"],
    // Browsers are large; two at once disturb each other's timing more than they save.
    fileParallelism: false,
    testTimeout: 90_000,
    hookTimeout: 60_000,
  },
});
