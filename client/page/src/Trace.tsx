// The trace of one notification, step by step, from acceptance to the acknowledgement by a device.

import { type FormEvent, type ReactElement, useEffect, useId, useRef, useState } from "react";
import { FailureNote } from "./FailureNote.js";
import { duration, inFull, typeName } from "./format.js";
import { useTracing } from "./tracing.js";
import { usePolled } from "./usePolled.js";

const EVERY_MS = 2000;

interface TraceStep {
  readonly step: string;
  readonly at: string;
  readonly connectionId?: string | null;
  readonly status?: string | number | null;
}

interface TraceResponse {
  readonly id: string;
  readonly steps: readonly TraceStep[];
  /** Whether the steps include every push. */
  readonly complete: boolean;
}

/** No step follows a deletion or an expiry. */
const isOver = ({ steps }: TraceResponse): boolean =>
  steps.some(({ step }) => step === "deleted" || step === "expired");

export function Trace(): ReactElement {
  const id = useId();
  const { traced, trace } = useTracing();
  const title = useRef<HTMLHeadingElement>(null);
  const [typed, setTyped] = useState("");
  const path = traced && `/api/notifications/${encodeURIComponent(traced.id)}/trace`;
  const { data, failure, refresh } = usePolled<TraceResponse>(path, EVERY_MS, isOver);

  // The request may come from elsewhere on the page, so the trace is scrolled into view.
  useEffect(() => {
    if (!traced) return;
    setTyped(traced.id);
    title.current?.focus({ preventScroll: true });
    title.current?.closest("section")?.scrollIntoView({ block: "start" });
    if (traced.requests > 1) refresh();
  }, [traced, refresh]);

  // Its steps come later, and may reach beyond the window.
  const hasSteps = data !== null;
  useEffect(() => {
    if (hasSteps) title.current?.closest("section")?.scrollIntoView({ block: "start" });
  }, [hasSteps]);

  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    trace(typed.trim());
  };
  return (
    <section className="trace" aria-labelledby={`${id}title`}>
      <h3 id={`${id}title`} ref={title} tabIndex={-1}>
        Trace of one notification
      </h3>
      <form className="field" onSubmit={submit}>
        <label htmlFor={`${id}id`}>Notification</label>
        <div className="joined">
          <input
            id={`${id}id`}
            className="mono"
            placeholder="id"
            value={typed}
            onChange={(event) => setTyped(event.target.value)}
            autoComplete="off"
            spellCheck={false}
            required
          />
          <button type="submit" className="button">
            Trace
          </button>
        </div>
      </form>
      {!traced && <p className="hint">Each notification in the inbox has a Trace button, too.</p>}
      {failure && <FailureNote title="Could not load the trace." failure={failure} />}
      {traced && !data && !failure && <p className="hint">Loading…</p>}
      {data && <Steps trace={data} />}
    </section>
  );
}

function Steps({ trace: { steps, complete } }: { trace: TraceResponse }): ReactElement {
  const beginMs = Date.parse(steps[0]?.at ?? "");
  return (
    <>
      <ol className="steps" data-testid="trace">
        {steps.map(({ step, at, connectionId, status }, n) => {
          const afterMs = Date.parse(at) - beginMs;
          // Says where it was pushed, as a connection does, and not how that went.
          const isWebPush = status === "web_push";
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: steps have no ids, and are only appended
            <li key={n}>
              <p className="step-name">
                {typeName(step)} {!isWebPush && status !== undefined && status !== null && <code>{status}</code>}
              </p>
              <p className="step-about">
                <time className="numbers" dateTime={at} title={inFull(new Date(at))}>
                  {n === 0 ? inFull(new Date(at)) : `+${duration(afterMs)}`}
                </time>
                {connectionId && <code title="Connection">{connectionId}</code>}
                {isWebPush && <span>by Web Push</span>}
              </p>
            </li>
          );
        })}
      </ol>
      {!complete && <p className="hint">Some pushes may be missing: they are kept for one day only.</p>}
    </>
  );
}
