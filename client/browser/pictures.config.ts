// Takes the screenshot for the README: `npm run pictures`.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // Otherwise Vite creates a second cache next to the tests.
  cacheDir: "../node_modules/.vite",
  test: { include: ["pictures.ts"], testTimeout: 120_000, hookTimeout: 60_000 },
});
