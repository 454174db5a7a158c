// Failures: as an error to catch, and as a problem to show.

import type { ErrorCode, Problem } from "./types.js";

/** The details of an error response besides its code and message. */
export interface ErrorDetails {
  readonly status?: number;
  readonly requestId?: string | null;
  readonly retryAfterMs?: number | undefined;
  readonly fields?: readonly string[] | undefined;
}

/** A call that failed. `status` is 0 if there was no response. */
export class CarillonError extends Error {
  declare readonly code: ErrorCode;
  declare readonly status: number;
  declare readonly requestId: string | null;
  declare readonly retryAfterMs?: number;
  /** The invalid fields of the request. */
  declare readonly fields?: readonly string[];

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message);
    this.name = "CarillonError";
    Object.assign(this, { code, status: 0, requestId: null }, details);
  }
}

/** Rejects a call that is pending when the client closes, or that is made while it is closed. */
export const closed = (): CarillonError => new CarillonError("closed", "the client is not connected");

/** A response that is valid JSON but does not have the expected shape. */
export const invalidAnswer = (): CarillonError => new CarillonError("invalid_answer", "unexpected response");

/** A part of the client that is loaded on demand did not come. */
export const notLoaded = (): CarillonError => new CarillonError("no_answer", "a part of the client was not loaded");

/** Whether a retry may succeed: there was no response, or the server was too busy. */
export function isTemporary(error: CarillonError): boolean {
  return error.status < 400 || error.status === 408 || error.status === 429 || error.status >= 500;
}

/** Turns anything thrown into a `CarillonError`. */
export function asError(thrown: unknown): CarillonError {
  return thrown instanceof CarillonError ? thrown : new CarillonError("internal", String(thrown));
}

/** A failure of storage: it is full, or not accessible. */
export function storageProblem(thrown: unknown): Problem {
  const name = String((thrown as { name?: unknown } | null)?.name);
  const code = name === "QuotaExceededError" ? "cache_full" : "cache_unavailable";
  return { code, message: `storage failed: ${name}`, source: "cache" };
}

/** An error in the form that the store shows, with the act that failed, if any. */
export function toProblem(
  source: Problem["source"],
  error: CarillonError,
  act: Pick<Problem, "action" | "ids"> = {},
): Problem {
  const { code, message, status, requestId, retryAfterMs } = error;
  return {
    code,
    message,
    source,
    ...act,
    ...(status && { status }),
    ...(requestId && { requestId }),
    ...(retryAfterMs && { retryAfterMs }),
  };
}

/** A caller may ignore any refusal, so none is an unhandled rejection. */
export function withoutAlarm<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
