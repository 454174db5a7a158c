// Loads the parts that a page does not need at first.

import { useState } from "react";
import { notLoaded, toProblem } from "../errors.js";
import type { Problem } from "../types.js";

/** What `useOnDemand` returns. */
export interface OnDemand {
  /** `null` until they are loaded. */
  readonly parts: typeof import("./onDemand.js") | null;
  /** Loads the parts, then calls `show`. */
  readonly load: (show: () => void) => void;
  readonly error: Problem | null;
  readonly dismissError: () => void;
}

export function useOnDemand(): OnDemand {
  const [parts, setParts] = useState<OnDemand["parts"]>(null);
  const [error, setError] = useState<Problem | null>(null);
  return {
    parts,
    error,
    load(show) {
      import("./onDemand.js").then(
        (loaded) => {
          setParts(loaded);
          setError(null);
          show();
        },
        // The button stays for another attempt.
        () => setError(toProblem("change", notLoaded())),
      );
    },
    dismissError: () => setError(null),
  };
}
