// An act that failed, over the beginning of a pane, so that it moves nothing.

import type { ReactElement } from "react";
import type { Problem } from "../types.js";
import { CloseIcon } from "./icons.js";
import { useSetup } from "./setup.js";

interface NoticeProps {
  readonly error: Problem | null;
  readonly onDismiss: () => void;
}

export function Notice({ error, onDismiss }: NoticeProps): ReactElement {
  const { labels } = useSetup();
  // The client recovers from all other problems on its own.
  const shown = error?.source === "change" ? error : null;
  return (
    <div className="carillon-notices">
      <div role="alert">
        {shown && (
          <div className="carillon-notice" data-tone="bad">
            <p>
              {labels.notDone} <code>{shown.code}</code>
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
    </div>
  );
}
