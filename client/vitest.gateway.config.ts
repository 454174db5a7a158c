import { defineConfig, type ViteUserConfig } from "vitest/config";

// Tests of the client against a real gateway. CARILLON_GATEWAY names its program.
const config: ViteUserConfig = defineConfig({
  test: {
    include: ["test/gateway/**/*.test.{ts,tsx}"],
    testTimeout: 90_000,
    hookTimeout: 60_000,
  },
});

export default config;
