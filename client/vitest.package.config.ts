import { defineConfig, type ViteUserConfig } from "vitest/config";

// Tests of the package as it would be published.
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/package/**/*.test.ts"],
    globalSetup: "test/package/pack.ts",
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});

export default config;
