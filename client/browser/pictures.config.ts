// Takes the picture of the README: `npm run pictures`.

import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // Else a cache of its own appears beside the tests.
  cacheDir: "../node_modules/.vite",
  test: { include: ["pictures.ts"], testTimeout: 120_000, hookTimeout: 60_000 },
});
