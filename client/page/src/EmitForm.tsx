// Emits an event to the users who are there now. It appears among the recent events, and in no inbox.

import type { EmittedEvent } from "@carillon/client";
import { useClient } from "@carillon/client/react";
import { type FormEvent, type ReactElement, useId, useRef, useState } from "react";
import { FailureLine } from "./FailureNote.js";
import { type Failure, failure } from "./failure.js";
import { SendIcon } from "./icons.js";

const TYPES: readonly EmittedEvent["type"][] = ["announcement", "dashboard", "system"];

interface Emitted {
  readonly eventId: string;
  /** How many event streams took it; only of a test. */
  readonly streams?: number;
}

export function EmitForm({ user }: { user: string }): ReactElement {
  const id = useId();
  const client = useClient();
  const [outcome, setOutcome] = useState<Emitted | Failure | null>(null);
  const isBusy = useRef(false);

  const post = async (path: string, body: object): Promise<void> => {
    if (isBusy.current) return;
    isBusy.current = true;
    try {
      setOutcome(await client.request<Emitted>("POST", path, { body }));
    } catch (thrown) {
      setOutcome(failure(thrown));
    }
    isBusy.current = false;
  };

  const emit = (form: HTMLFormElement): Promise<void> => {
    const fields = new FormData(form);
    const text = (name: string): string => String(fields.get(name) ?? "").trim();
    const users = text("users")
      .split(/[\n,]/)
      .map((one) => one.trim());
    const userIds = users.filter((one) => one !== "");
    const body = {
      type: text("type"),
      title: text("title"),
      ...(text("name") !== "" && { name: text("name") }),
      ...(userIds.length > 0 && { userIds }),
    };
    return post("/api/events/emit", body);
  };

  const onSubmit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    void emit(event.currentTarget);
  };

  return (
    <section className="card" aria-labelledby="emit-title">
      <h2 id="emit-title">Emit</h2>
      <form className="send" onSubmit={onSubmit}>
        <fieldset className="field whole segments">
          <legend>Type</legend>
          <div>
            {TYPES.map((type) => (
              <label key={type}>
                <input type="radio" name="type" value={type} defaultChecked={type === "announcement"} />
                <span>{type}</span>
              </label>
            ))}
          </div>
        </fieldset>
        <div className="field">
          <label htmlFor={`${id}name`}>
            Name <span className="optional">optional</span>
          </label>
          <input id={`${id}name`} name="name" className="mono" maxLength={64} autoComplete="off" spellCheck={false} />
        </div>
        <div className="field">
          <label htmlFor={`${id}users`}>Users</label>
          <input
            id={`${id}users`}
            name="users"
            defaultValue={user}
            autoComplete="off"
            spellCheck={false}
            aria-describedby={`${id}users-hint`}
          />
          <p className="hint" id={`${id}users-hint`}>
            Comma-separated; without any, all
          </p>
        </div>
        <div className="field whole">
          <label htmlFor={`${id}title`}>Title</label>
          <input
            id={`${id}title`}
            name="title"
            defaultValue="Maintenance in ten minutes"
            maxLength={200}
            autoComplete="off"
            required
          />
        </div>
        <div className="buttons whole">
          <button type="submit" className="button primary">
            <SendIcon /> Emit
          </button>
          <button
            type="button"
            className="button"
            onClick={() => void post("/api/test/sse-notification", { userIds: [user] })}
          >
            Test SSE
          </button>
        </div>
      </form>
      <p className="hint" role="status">
        {outcome === null && "It reaches those who are there now, and is not stored."}
        {outcome !== null && "eventId" in outcome && outcome.streams !== 0 && (
          <>
            Emitted <code>{outcome.eventId}</code>
            {outcome.streams !== undefined &&
              ` to ${outcome.streams === 1 ? "one event stream" : `${outcome.streams} event streams`}`}
          </>
        )}
        {outcome !== null && "eventId" in outcome && outcome.streams === 0 && `${user} has no open event stream`}
        {outcome !== null && !("eventId" in outcome) && <FailureLine failure={outcome} />}
      </p>
    </section>
  );
}
