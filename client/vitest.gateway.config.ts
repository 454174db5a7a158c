import { defineConfig, type ViteUserConfig } from "vitest/config";

// The client against the gateway that CARILLON_GATEWAY names.
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/gateway/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});

export default config;
