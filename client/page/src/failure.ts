// What went wrong, in the one form in which the page shows it.

import { CarillonError, type Problem } from "@carillon/client";

export interface Failure {
  readonly code: string;
  readonly message: string;
  readonly status?: number;
  readonly requestId?: string;
  /** When it may be tried again, on this machine's clock. */
  readonly retryAtMs?: number;
  /** The members that were refused. */
  readonly fields: readonly string[];
}

/** Whatever was thrown or told, as a failure. */
export function failure(thrown: unknown): Failure {
  if (thrown instanceof CarillonError) return fromProblem(thrown, fieldsOf(thrown.fields));
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return { code: "unexpected", message, fields: [] };
}

/** A problem of the store as a failure. */
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

// Names in a list, or as the members of an object.
function fieldsOf(fields: unknown): string[] {
  if (Array.isArray(fields)) return fields.map(String);
  return fields && typeof fields === "object" ? Object.keys(fields) : [];
}
