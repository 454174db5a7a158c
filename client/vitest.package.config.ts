import { defineConfig, type ViteUserConfig } from "vitest/config";

// The package as it would be published; `npm run build` comes before.
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/package/**/*.test.ts"],
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});

export default config;
