// Which failure a page shows: that of the user's last act, otherwise that of the connection.

import { asError, type CarillonError, toProblem } from "./errors.js";
import type { Problem } from "./types.js";

export interface Problems {
  /** What to show. */
  shown(): Problem | null;
  /** What is wrong with the connection, shown or not. */
  connection(): Problem | null;
  /** The connection failed, or with `null` works again. */
  setConnection(problem: Problem | null): void;
  /** The user acts, so what became of the act before is of no interest any more. */
  acting(): void;
  /** An act failed. That stays until the next act. */
  failed(source: Problem["source"], error: CarillonError, act: Pick<Problem, "action" | "ids">): void;
  /** Shows the failure of an act also to a caller that ignores the promise. */
  watch<T>(promise: Promise<T>, action: NonNullable<Problem["action"]>): Promise<T>;
  /** Hides what is shown. A problem of the connection stays hidden until it is another one. */
  dismiss(): void;
}

/** `changed` is called when something else is to be shown. */
export function createProblems(report: (problem: Problem) => void, changed: () => void): Problems {
  let connection: Problem | null = null;
  let act: Problem | null = null;
  /** The code of the connection's problem that the user has dismissed. */
  let dismissed: string | null = null;

  const problems: Problems = {
    shown: () => act ?? (connection?.code === dismissed ? null : connection),
    connection: () => connection,
    setConnection(problem) {
      connection = problem;
      if (problem?.code !== dismissed) dismissed = null;
      changed();
    },
    acting() {
      act = null;
      changed();
    },
    failed(source, error, details) {
      if (error.code === "closed") return;
      act = toProblem(source, error, details);
      report(act);
      changed();
    },
    watch(promise, action) {
      promise.catch((thrown) => problems.failed("connection", asError(thrown), { action }));
      return promise;
    },
    dismiss() {
      act = null;
      dismissed = connection?.code ?? null;
      changed();
    },
  };
  return problems;
}
