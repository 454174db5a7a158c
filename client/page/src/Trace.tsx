// The way of one notification, step by step, from acceptance to a device's word that it was shown.

import { type FormEvent, type ReactElement, useEffect, useId, useRef, useState } from "react";
import { FailureNote } from "./FailureNote.js";
import { useTracing } from "./tracing.js";
import { usePolled } from "./usePolled.js";
import { duration, inFull, typeName } from "./words.js";

const EVERY_MS = 2000;

interface TraceStep {
  readonly step: string;
  readonly at: string;
  readonly connectionId?: string | null;
  readonly status?: string | number | null;
}

interface TraceAnswer {
  readonly id: string;
  readonly steps: readonly TraceStep[];
  /** Whether the pushes among the steps are all that there were. */
  readonly complete: boolean;
}

/** Nothing follows on these. */
const isOver = ({ steps }: TraceAnswer): boolean => steps.some(({ step }) => step === "deleted" || step === "expired");

export function Trace(): ReactElement {
  const id = useId();
  const { traced, trace } = useTracing();
  const title = useRef<HTMLHeadingElement>(null);
  const [typed, setTyped] = useState("");
  const path = traced && `/api/notifications/${encodeURIComponent(traced.id)}/trace`;
  const { data, failure, refresh } = usePolled<TraceAnswer>(path, EVERY_MS, isOver);

  // The wish may come from far away on the page, so it brings the reader here.
  useEffect(() => {
    if (!traced) return;
    setTyped(traced.id);
    title.current?.focus({ preventScroll: true });
    title.current?.closest("section")?.scrollIntoView({ block: "start" });
    if (traced.nonce > 1) refresh();
  }, [traced, refresh]);

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
            placeholder="its id"
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
      {!traced && <p className="hint">Every notification in the inbox has a button for it too.</p>}
      {failure && <FailureNote title="No trace." failure={failure} />}
      {traced && !data && !failure && <p className="hint">Loading…</p>}
      {data && <Steps trace={data} />}
    </section>
  );
}

function Steps({ trace: { steps, complete } }: { trace: TraceAnswer }): ReactElement {
  const beginMs = Date.parse(steps[0]?.at ?? "");
  return (
    <>
      <ol className="steps" data-testid="trace">
        {steps.map(({ step, at, connectionId, status }, n) => {
          const afterMs = Date.parse(at) - beginMs;
          return (
            // biome-ignore lint/suspicious/noArrayIndexKey: steps have no names, and are only ever added to at the end
            <li key={n}>
              <p className="step-name">
                {typeName(step)} {status !== undefined && status !== null && <code>{status}</code>}
              </p>
              <p className="step-about">
                <time className="numbers" dateTime={at} title={inFull(new Date(at))}>
                  {n === 0 ? inFull(new Date(at)) : `+${duration(afterMs)}`}
                </time>
                {connectionId && <code title="Connection">{connectionId}</code>}
              </p>
            </li>
          );
        })}
      </ol>
      {!complete && <p className="hint">Some pushes may be missing: they are remembered for a day only.</p>}
    </>
  );
}
