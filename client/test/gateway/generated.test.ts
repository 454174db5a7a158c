// A client that a public generator makes of openapi.yaml works.

import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { root } from "../api/descriptions.js";
import { Gateway } from "./gateway.js";

const run = promisify(execFile);
const cwd = fileURLToPath(root);
const tools = join(cwd, ".tools/openapi");

// Debian has a separate package for `venv`.
const isSupported = spawnSync("python3", ["-c", "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))"]);
if (isSupported.status !== 0) console.log("skipped: the generated client (Python 3.10 or later with venv is missing)");

test.runIf(isSupported.status === 0)(
  "a generated client sends, lists and marks as read",
  { timeout: 300_000 },
  async () => {
    await run("tests/venv", [tools, "tests/requirements-openapi.txt"], { cwd });
    const folder = await mkdtemp(join(tmpdir(), "carillon-generated-"));
    const gateway = await Gateway.start();
    try {
      const generate = ["generate", "--path", "docs/openapi.yaml", "--meta", "none", "--fail-on-warning"];
      const config = ["--config", "client/test/gateway/generated.yaml", "--output-path", join(folder, "carillon")];
      await run(join(tools, "bin/openapi-python-client"), [...generate, ...config], { cwd });
      const script = "client/test/gateway/generated.py";
      const { stdout } = await run(join(tools, "bin/python"), ["-B", script, folder, gateway.url], { cwd });
      expect(stdout).toBe("done\n");
      expect([...gateway.proxy.seen.keys()].sort()).toEqual([
        "countUnread",
        "getNotification",
        "listNotifications",
        "readNotification",
        "send",
      ]);
    } finally {
      await gateway.stop();
      await rm(folder, { recursive: true, force: true });
    }
  },
);
