import type { NextConfig } from "next";

// Through this rewrite the API is the page's own origin. `make run` serves on port 3000.
const gateway = process.env.CARILLON_URL ?? "http://127.0.0.1:3000";

const config: NextConfig = {
  rewrites: async () => [{ source: "/api/:path*", destination: `${gateway}/api/:path*` }],
};

export default config;
