// Converts errors and problems to the one form in which the page shows them.

import { CarillonError, type Problem } from "@carillon/client";

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly status?: number;
  readonly requestId?: string;
  /** The time from which a retry is accepted, by this device's clock. */
  readonly retryAtMs?: number;
  /** The fields that were refused. */
  readonly fields: readonly string[];
}

/** Converts anything thrown. */
export function failure(thrown: unknown): Failure {
  if (thrown instanceof CarillonError) return fromProblem(thrown, fieldsOf(thrown.fields));
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { code: "unexpected", message, fields: [] };
}

/** Converts a problem from the store. */
export function fromProblem(
  problem: Pick<Problem, "code" | "message" | "status" | "retryAfterMs"> & { requestId?: string | null },
  fields: readonly string[] = [],
): Failure {
  return {
    code: problem.code,
    message: problem.message,
    fields,
    ...(problem.status && { status: problem.status }),
    ...(problem.requestId && { requestId: problem.requestId }),
    ...(problem.retryAfterMs !== undefined && { retryAtMs: Date.now() + problem.retryAfterMs }),
  };
}

// The server sends a list of names, or an object with the names as keys.
function fieldsOf(fields: unknown): string[] {
  if (Array.isArray(fields)) return fields.map(String);
  return fields && typeof fields === "object" ? Object.keys(fields) : [];
}
