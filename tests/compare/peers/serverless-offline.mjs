// serverless-offline with its handlers in its own process, which is its fastest mode, under osls: the free fork of
// Serverless 3, because version 4 wants a login.

import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { firstAnswer } from "../http.mjs";
import { tools } from "../peer-packages.mjs";
import { freePort, start } from "../processes.mjs";

/** Starts it, and waits for its first answer to `GET /hello`, which took `startMs`. */
export async function startServerlessOffline() {
  // Plugins are looked up beside the service, so it lies beside the packages.
  mkdirSync(tools, { recursive: true });
  for (const file of ["serverless.yml", "handler.js"])
    copyFileSync(join(import.meta.dirname, "serverless", file), join(tools, file));
  const [port, socketPort, lambdaPort] = [await freePort(), await freePort(), await freePort()];
  const env = {
    ...process.env,
    HTTP_PORT: `${port}`,
    SOCKET_PORT: `${socketPort}`,
    LAMBDA_PORT: `${lambdaPort}`,
    SLS_TELEMETRY_DISABLED: "1",
    SERVERLESS_TELEMETRY_DISABLED: "1",
    SLS_NOTIFICATIONS_MODE: "off",
  };
  const program = join(tools, "node_modules/osls/bin/serverless.js");
  const beganAt = performance.now();
  const child = start(process.execPath, [program, "offline", "start", "--useInProcess"], { cwd: tools, env });
  // It answers 200 when a handler fails, too.
  await firstAnswer(child, port, "/hello", /^{"ok":true}$/);
  return { child, pid: child.pid, port, socketPort, startMs: performance.now() - beganAt };
}
