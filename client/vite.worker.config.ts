import { defineConfig, type UserConfig } from "vite";

// The service worker: one classic script, which applications serve as it is. It goes beside the library.
const config: UserConfig = defineConfig({
  build: {
    // As in vite.config.ts.
    target: ["chrome98", "edge98", "firefox93", "safari16.4"],
    emptyOutDir: false,
    sourcemap: true,
    lib: {
      entry: "src/push-worker.ts",
      formats: ["iife"],
      name: "carillon",
      fileName: () => "push-worker.js",
    },
  },
});

export default config;
