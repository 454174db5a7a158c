// The worker's calls to the API, with the token that a page has left for it. A call that cannot be made, or fails, is
// left out: the pages catch up by themselves.

import { isObject, type JsonObject } from "../protocol.js";
import type { KeptPush } from "./device.js";
import type { WorkerScope } from "./scope.js";

const TIMEOUT_MS = 8_000;

export interface Calls {
  /** `null` without a valid token or an answer. */
  get(kept: KeptPush | undefined, path: string): Promise<JsonObject | null>;
  post(kept: KeptPush | undefined, path: string, body?: unknown): Promise<JsonObject | null>;
}

export function createCalls(scope: Pick<WorkerScope, "fetch">): Calls {
  async function call(
    method: string,
    kept: KeptPush | undefined,
    path: string,
    body?: unknown,
  ): Promise<JsonObject | null> {
    if (!kept?.token || kept.expiresMs <= Date.now()) return null;
    const abort = new AbortController();
    const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
    try {
      const response = await scope.fetch(kept.root + path, {
        method,
        headers: {
          accept: "application/json",
          authorization: `Bearer ${kept.token}`,
          ...(body !== undefined && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: abort.signal,
        cache: "no-store",
        credentials: "omit",
      });
      const text = await response.text();
      const answer: unknown = text && JSON.parse(text);
      return response.ok && isObject(answer) ? answer : null;
    } catch {
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    get: (kept, path) => call("GET", kept, path),
    post: (kept, path, body) => call("POST", kept, path, body),
  };
}
