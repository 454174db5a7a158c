import { compile } from "svelte/compiler";
import type { Plugin } from "vite";
import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Compiles a component for a page, or with `?server` for a server. */
const svelte: Plugin = {
  name: "svelte",
  transform(code, id) {
    const [filename = "", query] = id.split("?");
    if (!filename.endsWith(".svelte")) return;
    return compile(code, { filename, generate: query === "server" ? "server" : "client" }).js;
  },
};

// The tests that need no gateway, no browser and no built package.
const config: ViteUserConfig = defineConfig({
  plugins: [svelte],
  // Otherwise Svelte is the one for servers.
  resolve: { conditions: ["browser"] },
  test: {
    include: ["test/unit/**/*.test.{ts,tsx}"],
    server: { deps: { inline: [/svelte/] } },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    restoreMocks: true,
    unstubGlobals: true,
  },
});

export default config;
