import { defineConfig, type ViteUserConfig } from "vitest/config";

// The examples, built with the packed package and used in a browser (CHROMIUM) against a gateway (CARILLON_GATEWAY).
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/examples/**/*.test.ts"],
    globalSetup: "test/package/pack.ts",
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});

export default config;
