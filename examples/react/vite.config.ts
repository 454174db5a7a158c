import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// `make run` serves on port 3000; through this proxy it is the page's own origin.
const gateway = "http://127.0.0.1:3000";

export default defineConfig({
  plugins: [react()],
  server: { proxy: { "/api": gateway, "/_gateway": gateway } },
});
