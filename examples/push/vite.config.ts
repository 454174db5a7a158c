import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Through this proxy the API is the page's own origin. `make run` serves on port 3000.
const gateway = process.env.CARILLON_URL ?? "http://127.0.0.1:3000";

export default defineConfig({
  plugins: [react()],
  server: { proxy: { "/api": gateway, "/_gateway": gateway } },
});
