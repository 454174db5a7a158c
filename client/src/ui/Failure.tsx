// An act of the user that failed, with a button that dismisses it.

import type { ReactElement } from "react";
import type { Problem } from "../types.js";
import { CloseIcon } from "./icons.js";
import type { Labels } from "./labels.js";

interface FailureProps {
  readonly labels: Pick<Labels, "failed" | "dismiss">;
  readonly error: Problem | null;
  readonly onDismiss: () => void;
}

/** The alert stays while there is no error, so that the next one is announced. */
export function Failure({ labels, error, onDismiss }: FailureProps): ReactElement {
  return (
    <div role="alert">
      {error && (
        <div className="carillon-notice" data-tone="bad">
          <p>
            {labels.failed} <code>{error.code}</code>
          </p>
          <button
            type="button"
            className="carillon-button"
            aria-label={labels.dismiss}
            title={labels.dismiss}
            onClick={onDismiss}
          >
            <CloseIcon />
          </button>
        </div>
      )}
    </div>
  );
}
