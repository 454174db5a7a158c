import vue from "@vitejs/plugin-vue";
import { defineConfig } from "vite";

// Through this proxy the API is the page's own origin. `make run` serves on port 3000.
const gateway = process.env.CARILLON_URL ?? "http://127.0.0.1:3000";

export default defineConfig({
  plugins: [vue()],
  server: { proxy: { "/api": gateway, "/_gateway": gateway } },
});
