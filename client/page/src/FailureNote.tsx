// Shows a failure with the details that help to trace it: code, message, request id, and when to retry.

import { type ReactElement, type ReactNode, useEffect, useState } from "react";
import type { Failure } from "./failure.js";
import { WarnIcon } from "./icons.js";

interface FailureNoteProps {
  title: string;
  failure: Failure;
  children?: ReactNode;
}

export function FailureNote({ title, failure, children }: FailureNoteProps): ReactElement {
  return (
    <div className="note bad" data-testid="failure">
      <WarnIcon />
      <div>
        <p className="note-title">
          {title} <code>{failure.status ? `${failure.status} ${failure.code}` : failure.code}</code>
        </p>
        <p className="note-text">{failure.message}</p>
        {failure.retryAtMs !== undefined && <RetryAt atMs={failure.retryAtMs} />}
        {failure.requestId && (
          <p className="note-small">
            Request <code>{failure.requestId}</code>
          </p>
        )}
        {children}
      </div>
    </div>
  );
}

/** The same on one line, for places where a note would move the content below it. */
export function FailureLine({ failure }: { failure: Failure }): ReactElement {
  const { status, code, message, requestId } = failure;
  return (
    <span className="failure-line" data-testid="failure">
      <code>{status ? `${status} ${code}` : code}</code> {message}
      {requestId && (
        <>
          {" "}
          (request <code>{requestId}</code>)
        </>
      )}
    </span>
  );
}

// Counts down to the time from which the server accepts a retry.
function RetryAt({ atMs }: { atMs: number }): ReactElement {
  const [nowMs, setNowMs] = useState(Date.now);
  const waiting = atMs > nowMs;
  useEffect(() => {
    if (!waiting) return;
    const timer = setInterval(() => setNowMs(Date.now()), 500);
    return () => clearInterval(timer);
  }, [waiting]);
  return (
    // A screen reader should announce this once, and not count down aloud.
    <p className="note-text numbers" aria-live="off">
      {waiting ? `Try again in ${Math.ceil((atMs - nowMs) / 1000)} s` : "You can try again now"}
    </p>
  );
}
