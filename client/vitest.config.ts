import { defineConfig, type ViteUserConfig } from "vitest/config";

// The tests that need no gateway, no browser and no built package.
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/unit/**/*.test.{ts,tsx}"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    unstubGlobals: true,
  },
});

export default config;
