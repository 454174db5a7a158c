// Calls to the API: adds the token, limits the time, and turns every failure into a `CarillonError`.

import { asError, CarillonError, closed } from "./errors.js";
import { isObject } from "./protocol.js";
import { readToken, type Token } from "./token.js";
import type { ErrorCode, RequestOptions } from "./types.js";

const TIMEOUT_MS = 20_000;
/** A token that expires sooner than this is not used for another call. */
const MIN_VALID_MS = 30_000;
/** What browsers and Node report if `fetch` gets no response. A bug in the application is a `TypeError` too. */
const NO_NETWORK = /to fetch|(fetch|load) failed|network/i;

/** A 2xx or 304 response. */
export interface ApiResponse {
  readonly status: number;
  readonly body: unknown;
}

export interface Http {
  call(method: string, path: string, options?: RequestOptions): Promise<ApiResponse>;
  /** The present token, or a new one if the present one expires within `minValidMs`. */
  token(minValidMs?: number): Promise<Token>;
  /** Forgets the token, which may belong to a user who has left, and rejects every call in flight. */
  forget(): void;
}

export interface HttpOptions {
  readonly baseUrl: string;
  readonly getToken: () => string | Promise<string>;
  readonly fetch: typeof fetch;
  /** Sees each token before it is used, and throws to prevent its use. */
  readonly onToken?: (token: Token) => void;
}

export function createHttp({ baseUrl, getToken, fetch, onToken }: HttpOptions): Http {
  const root = baseUrl.replace(/\/+$/, "");
  let last: Token | null = null;
  let requested: Promise<Token> | null = null;
  const pending = new Set<() => void>();

  /** Rejects after a timeout or `forget`. `onCancel` learns whether it was the timeout. */
  function withTimeout<T>(act: () => T | Promise<T>, onCancel?: (isTimeout: boolean) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        pending.delete(cancel);
      };
      const cancel = (isTimeout = false): void => {
        done();
        onCancel?.(isTimeout);
        reject(isTimeout ? new Error("timed out") : closed());
      };
      const timer = setTimeout(cancel, TIMEOUT_MS, true);
      pending.add(cancel);
      Promise.resolve().then(act).finally(done).then(resolve, reject);
    });
  }

  async function requestToken(): Promise<Token> {
    try {
      const text = await withTimeout(getToken);
      // `fetch` rejects a header with other characters as if the network had failed.
      if (typeof text !== "string" || /[^\x21-\x7e]/.test(text)) throw new Error("not a token");
      return readToken(text);
    } catch (thrown) {
      if (thrown instanceof CarillonError) throw thrown;
      const isNetwork = thrown instanceof TypeError && NO_NETWORK.test(thrown.message);
      throw new CarillonError(isNetwork ? "no_answer" : "token_unavailable", `getToken failed: ${thrown}`);
    }
  }

  async function token(minValidMs = MIN_VALID_MS): Promise<Token> {
    let present = last;
    // The lifetime of a token without an expiry is unknown, so the application decides each time.
    if (present?.expiresMs == null || present.expiresMs - Date.now() < minValidMs) {
      requested ??= requestToken();
      const started = requested;
      try {
        present = await started;
        if (requested === started) last = present;
      } finally {
        if (requested === started) requested = null;
      }
    }
    onToken?.(present);
    return present;
  }

  async function request(
    method: string,
    path: string,
    options: RequestOptions,
    { text: bearer }: Token,
  ): Promise<ApiResponse> {
    const { body, headers } = options;
    const abort = new AbortController();
    const send = async (): Promise<ApiResponse> => {
      const response = await fetch(root + path, {
        method,
        headers: {
          accept: "application/json",
          authorization: `Bearer ${bearer}`,
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        signal: abort.signal,
        cache: "no-store",
        credentials: "omit",
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return read(response, await response.text());
    };
    try {
      // After `forget`, only reads are aborted: a change made just before leaving should still arrive.
      return await withTimeout(send, (isTimeout) => (isTimeout || method === "GET") && abort.abort());
    } catch (thrown) {
      if (thrown instanceof CarillonError) throw thrown;
      throw new CarillonError("no_answer", `no response to ${method} ${path.split("?")[0]}`);
    }
  }

  return {
    token,
    forget() {
      last = requested = null;
      for (const cancel of pending) cancel();
    },
    async call(method, path, options = {}) {
      const used = await token();
      try {
        return await request(method, path, options, used);
      } catch (thrown) {
        // The clocks may differ, or the token was revoked: the application may have a better token now.
        if (asError(thrown).status !== 401 || last !== used) throw thrown;
        last = null;
        const renewed = await token();
        if (renewed.text === used.text) throw thrown;
        return request(method, path, options, renewed);
      }
    },
  };
}

function read(response: Response, text: string): ApiResponse {
  const { status } = response;
  let body: unknown;
  let isJson = true;
  try {
    if (text && status !== 304) body = JSON.parse(text);
  } catch {
    isJson = false;
  }
  if (response.ok || status === 304) {
    // A proxy's page, such as a hotel's sign-in page, comes from elsewhere: the call may not have arrived.
    if (!isJson) throw new CarillonError("invalid_answer", "the response is not JSON", { status });
    return { status, body };
  }
  // Responses that API Gateway or a proxy generates have no Carillon error code.
  const error = isObject(body) && isObject(body["error"]) ? body["error"] : {};
  const { code = isJson ? `http_${status}` : "invalid_answer", message = `the status is ${status}` } = error;
  const seconds = Number(response.headers.get("retry-after"));
  // A later server may have a code that this client does not know.
  throw new CarillonError(String(code) as ErrorCode, String(message), {
    status,
    requestId: (error["requestId"] as string) ?? response.headers.get("x-request-id"),
    retryAfterMs: Number(error["retryAfterMs"]) || seconds * 1_000 || undefined,
    fields: error["fields"] as string[] | undefined,
  });
}
