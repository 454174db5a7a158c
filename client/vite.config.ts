import { defineConfig, type UserConfig } from "vite";

// The library: three entries with shared chunks.
const config: UserConfig = defineConfig({
  build: {
    target: "es2022",
    minify: false,
    lib: {
      entry: { index: "src/index.ts", react: "src/react.tsx", server: "src/server.ts" },
      formats: ["es"],
    },
    rolldownOptions: { external: ["react", "react/jsx-runtime"] },
  },
});

export default config;
