import { defineConfig, type ViteUserConfig } from "vitest/config";

// Tests of the package as it would be published. They build it first.
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/package/**/*.test.ts"],
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});

export default config;
