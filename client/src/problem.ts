// What went wrong, as an error to catch and as a problem to show.

import type { Problem } from "./types.js";

/** What an answer says beside its code and message. */
export interface ErrorDetails {
  readonly status?: number;
  readonly requestId?: string | null;
  readonly retryAfterMs?: number | undefined;
  readonly fields?: readonly string[] | undefined;
}

/** A call that failed. `status` is 0 where there was no answer. */
export class CarillonError extends Error {
  declare readonly code: string;
  declare readonly status: number;
  declare readonly requestId: string | null;
  declare readonly retryAfterMs?: number;
  /** The members that are wrong. */
  declare readonly fields?: readonly string[];

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = "CarillonError";
    Object.assign(this, { code, status: 0, requestId: null }, details);
  }
}

/** What whoever waits is told when there is no longer anybody to wait for. */
export const closed = (): CarillonError => new CarillonError("closed", "the client is not connected");

/** What came is an answer, but to nothing that was asked. */
export const invalid = (): CarillonError => new CarillonError("invalid_answer", "the answer is not the one asked for");

/** Whether the same call may succeed later: nobody answered, or somebody was too busy. */
export function isTemporary(error: CarillonError): boolean {
  return error.status < 400 || error.status === 408 || error.status === 429 || error.status >= 500;
}

/** Whatever was thrown, as an error of ours. */
export function asError(thrown: unknown): CarillonError {
  return thrown instanceof CarillonError ? thrown : new CarillonError("internal", String(thrown));
}

/** What storage says: no room, or no leave. */
export function storageProblem(thrown: unknown): Problem {
  const name = String((thrown as { name?: unknown } | null)?.name);
  const code = name === "QuotaExceededError" ? "cache_full" : "cache_unavailable";
  return { code, message: `storage failed: ${name}`, source: "cache" };
}

/** An error, to be shown. */
export function problem(source: Problem["source"], error: CarillonError): Problem {
  const { code, message, status, requestId, retryAfterMs } = error;
  return {
    code,
    message,
    source,
    ...(status && { status }),
    ...(requestId && { requestId }),
    ...(retryAfterMs && { retryAfterMs }),
  };
}
