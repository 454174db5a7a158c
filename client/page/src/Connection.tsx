// The state of the connection, a button for each transport, and the user whose inbox is shown.

import type { Status, Transport } from "@carillon/client";
import { useCarillon, useClient } from "@carillon/client/react";
import { type FormEvent, type ReactElement, useId, useState } from "react";
import { FailureLine } from "./FailureNote.js";
import { fromProblem } from "./failure.js";
import { STATUS, TRANSPORT } from "./format.js";

const CHOICES: readonly { name: string; transports: readonly Transport[] }[] = [
  { name: "Automatic", transports: ["websocket", "sse", "polling"] },
  { name: "WebSocket", transports: ["websocket"] },
  { name: "SSE", transports: ["sse"] },
  { name: "Polling", transports: ["polling"] },
];

interface ConnectionProps {
  user: string;
  pasted: boolean;
  onSwitchUser: (user: string) => void;
  onForgetToken: () => void;
}

export function Connection({ user, pasted, onSwitchUser, onForgetToken }: ConnectionProps): ReactElement {
  const client = useClient();
  const { wsStatus, transport, leader, cursor, error, fromCache } = useCarillon((state) => state);
  const [choice, setChoice] = useState("Automatic");
  const status = STATUS[wsStatus];
  return (
    <section className="card connection" aria-labelledby="connection-title">
      <h2 id="connection-title" className="visually-hidden">
        Connection
      </h2>
      <div className="connection-now" role="status">
        <span className={`dot large ${status.tone}`} aria-hidden="true" />
        <p className="connection-name">{status.name}</p>
        <p className="connection-description">
          {transport === "polling" ? "The page polls the server every few seconds." : status.description}
        </p>
        <p className="connection-problem">
          {error?.source === "connection" && <FailureLine failure={fromProblem(error)} />}
        </p>
      </div>
      <dl className="facts">
        <div>
          <dt>Transport</dt>
          <dd data-testid="transport">{transport ? TRANSPORT[transport] : "None"}</dd>
        </div>
        <div>
          <dt>This tab</dt>
          <dd>{leader ? "Holds the connection" : "Follows another tab"}</dd>
        </div>
        <div>
          <dt>Data from</dt>
          <dd>{sourceOf(fromCache, cursor, wsStatus)}</dd>
        </div>
        <div>
          <dt>Inbox position</dt>
          <dd className="numbers" title={cursor ?? undefined}>
            {cursor === null ? "—" : (cursor.split(".").at(-1) ?? cursor)}
          </dd>
        </div>
      </dl>
      <div className="controls">
        <fieldset className="segments">
          <legend>Connect via</legend>
          <div>
            {CHOICES.map(({ name, transports }) => (
              <button
                key={name}
                type="button"
                aria-pressed={choice === name}
                onClick={() => {
                  setChoice(name);
                  client.setTransports(transports);
                }}
              >
                {name}
              </button>
            ))}
          </div>
        </fieldset>
        {pasted ? (
          <div className="field">
            <span className="label">Viewing as</span>
            <div className="joined">
              <output>{user}</output>
              <button type="button" className="button" onClick={onForgetToken}>
                Use another token
              </button>
            </div>
          </div>
        ) : (
          <SwitchUser user={user} onSwitchUser={onSwitchUser} />
        )}
      </div>
    </section>
  );
}

function SwitchUser({ user, onSwitchUser }: { user: string; onSwitchUser: (user: string) => void }): ReactElement {
  const id = useId();
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const next = String(new FormData(event.currentTarget).get("user")).normalize("NFC");
    if (next !== "" && next !== user) onSwitchUser(next);
  };
  return (
    <form className="field" onSubmit={submit}>
      <label htmlFor={id}>View as user</label>
      <div className="joined">
        <input id={id} name="user" defaultValue={user} maxLength={256} autoComplete="off" spellCheck={false} required />
        <button type="submit" className="button">
          Switch
        </button>
      </div>
    </form>
  );
}

function sourceOf(fromCache: boolean, cursor: string | null, status: Status): string {
  if (fromCache) return "This browser's cache";
  if (cursor === null) return "Nothing yet";
  return status === "offline" ? "The last response" : "The server";
}
