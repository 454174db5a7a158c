// Calls to the API: a token, a bound on the time, and one kind of error whatever went wrong.

import { asError, CarillonError, closed } from "./problem.js";
import { isObject } from "./protocol.js";
import { readToken, type Token } from "./token.js";
import type { RequestOptions } from "./types.js";

const TIMEOUT_MS = 20_000;
/** A token that ends sooner is not used for another call. */
const SPARE_MS = 30_000;
/** What browsers and Node say where nobody answers `fetch`; a mistake in the application is a `TypeError` too. */
const NO_NETWORK = /to fetch|(fetch|load) failed|network/i;

/** A 2xx or 304. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** The way to the API. */
export interface Http {
  call(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  /** The present token, or a new one where that ends within `spareMs`. */
  token(spareMs?: number): Promise<Token>;
  /** Forgets the token, which may be of somebody who has left, and waits for nothing that is under way. */
  forget(): void;
}

export interface HttpOptions {
  readonly baseUrl: string;
  readonly getToken: () => string | Promise<string>;
  readonly fetch: typeof fetch;
  /** Sees each token before it is used, and throws where it must not be. */
  readonly onToken?: (token: Token) => void;
}

export function createHttp({ baseUrl, getToken, fetch, onToken }: HttpOptions): Http {
  const root = baseUrl.replace(/\/+$/, "");
  let last: Token | null = null;
  let asking: Promise<Token> | null = null;
  const waits = new Set<() => void>();

  /** Waits for it, but not for ever; `ended` hears whether that was for time. */
  function bounded<T>(act: () => T | Promise<T>, ended?: (isLate: boolean) => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const done = (): void => {
        clearTimeout(timer);
        waits.delete(over);
      };
      const over = (isLate = false): void => {
        done();
        ended?.(isLate);
        reject(isLate ? new Error("it took too long") : closed());
      };
      const timer = setTimeout(over, TIMEOUT_MS, true);
      waits.add(over);
      Promise.resolve().then(act).finally(done).then(resolve, reject);
    });
  }

  async function ask(): Promise<Token> {
    try {
      const text = await bounded(getToken);
      // Else it would not fit into a header, and `fetch` would say so as if nobody had answered.
      if (typeof text !== "string" || /[^\x21-\x7e]/.test(text)) throw new Error("it gave no token");
      return readToken(text);
    } catch (thrown) {
      if (thrown instanceof CarillonError) throw thrown;
      const isNetwork = thrown instanceof TypeError && NO_NETWORK.test(thrown.message);
      throw new CarillonError(isNetwork ? "no_answer" : "token_unavailable", `getToken failed: ${thrown}`);
    }
  }

  async function token(spareMs = SPARE_MS): Promise<Token> {
    let present = last;
    // Without an end nobody knows how long it is good, so the application decides each time.
    if (present?.endsMs == null || present.endsMs - Date.now() < spareMs) {
      asking ??= ask();
      const asked = asking;
      try {
        present = await asked;
        if (asking === asked) last = present;
      } finally {
        if (asking === asked) asking = null;
      }
    }
    onToken?.(present);
    return present;
  }

  async function once(method: string, path: string, options: RequestOptions, bearer: Token): Promise<Answer> {
    const { body, headers } = options;
    const abort = new AbortController();
    const ask = async (): Promise<Answer> => {
      const response = await fetch(root + path, {
        method,
        headers: {
          accept: "application/json",
          authorization: `Bearer ${bearer.text}`,
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
      // What a user did just before leaving may still arrive.
      return await bounded(ask, (isLate) => (isLate || method === "GET") && abort.abort());
    } catch (thrown) {
      if (thrown instanceof CarillonError) throw thrown;
      throw new CarillonError("no_answer", `no answer to ${method} ${path.split("?")[0]}`);
    }
  }

  return {
    token,
    forget() {
      last = asking = null;
      for (const over of waits) over();
    },
    async call(method, path, options = {}) {
      const used = await token();
      try {
        return await once(method, path, options, used);
      } catch (thrown) {
        // The clocks may differ, or the token was revoked: the application may have a better one by now.
        if (asError(thrown).status !== 401 || last !== used) throw thrown;
        last = null;
        const other = await token();
        if (other.text === used.text) throw thrown;
        return once(method, path, options, other);
      }
    },
  };
}

function read(response: Response, text: string): Answer {
  const { status } = response;
  let body: unknown;
  let isJson = true;
  try {
    if (text && status !== 304) body = JSON.parse(text);
  } catch {
    isJson = false;
  }
  if (response.ok || status === 304) {
    // A proxy's page, say of a hotel's network, is nobody's answer: the call may not have arrived.
    if (!isJson) throw new CarillonError("invalid_answer", "the answer is not JSON", { status });
    return { status, body };
  }
  // API Gateway's own answers, and a proxy's, have no code of ours.
  const told = isObject(body) && isObject(body["error"]) ? body["error"] : {};
  const { code = isJson ? `http_${status}` : "invalid_answer", message = `the answer is ${status}` } = told;
  const seconds = Number(response.headers.get("retry-after"));
  throw new CarillonError(String(code), String(message), {
    status,
    requestId: (told["requestId"] as string) ?? response.headers.get("x-request-id"),
    retryAfterMs: Number(told["retryAfterMs"]) || seconds * 1_000 || undefined,
    fields: told["fields"] as string[] | undefined,
  });
}
