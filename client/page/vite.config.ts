// Builds the test page into exactly three files with fixed names, because its routes serve no others. The service worker,
// which is the package's own, is the fourth.

import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
// For `vite dev page`: the gateway to proxy to.
const gateway = process.env["CARILLON_URL"] ?? "http://127.0.0.1:3000";

export default defineConfig({
  root: here("."),
  base: "/test/redis-notification/",
  plugins: [react()],
  resolve: {
    alias: [
      { find: "@carillon/client/react", replacement: here("../src/react.ts") },
      { find: "@carillon/client/chat-react", replacement: here("../src/chat-react.ts") },
      { find: "@carillon/client/chat-ui", replacement: here("../src/chat-ui/index.ts") },
      { find: "@carillon/client/ui", replacement: here("../src/ui/index.ts") },
      { find: "@carillon/client", replacement: here("../src/index.ts") },
    ],
  },
  server: {
    proxy: Object.fromEntries(
      ["/api", "/live", "/_gateway", "/health"].map((path) => [path, { target: gateway, ws: path === "/live" }]),
    ),
  },
  build: {
    target: "es2022",
    // The style sheet of the components has its own fallback for older browsers.
    cssTarget: ["chrome123", "edge123", "firefox121", "safari17.5"],
    outDir: "dist",
    // The page's content security policy forbids inline scripts, and there is nothing to preload.
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    rolldownOptions: {
      output: {
        entryFileNames: "page.js",
        assetFileNames: "page[extname]",
        codeSplitting: false,
      },
    },
  },
});
