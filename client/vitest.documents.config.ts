import { defineConfig, type ViteUserConfig } from "vitest/config";

// The commands in the documents, against a gateway (CARILLON_GATEWAY).
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/documents/**/*.test.ts"],
    globalSetup: "test/package/pack.ts",
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});

export default config;
