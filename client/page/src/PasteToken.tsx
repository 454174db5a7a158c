// Asks for a token if no local gateway signs one.

import { type FormEvent, type ReactElement, useId, useState } from "react";
import { subjectOf } from "./identity.js";

export function PasteToken({ onPaste }: { onPaste: (token: string) => void }): ReactElement {
  const id = useId();
  const [invalid, setInvalid] = useState(false);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get("token"))
      .replace(/^\s*bearer\s+/i, "")
      .trim();
    if (subjectOf(token) === null) setInvalid(true);
    else onPaste(token);
  };
  return (
    <main className="alone" id="main">
      <form className="card" onSubmit={submit}>
        <h1>Carillon test page</h1>
        <p>
          This server does not sign test tokens. Paste a token whose scope includes <code>notify:send</code> and{" "}
          <code>notify:admin</code>. Its <code>sub</code> is the user whose inbox is shown.
        </p>
        <div className="field">
          <label htmlFor={`${id}token`}>Bearer token</label>
          <input
            id={`${id}token`}
            name="token"
            type="password"
            autoComplete="off"
            spellCheck={false}
            required
            aria-invalid={invalid}
            aria-describedby={`${id}hint`}
            onChange={() => setInvalid(false)}
          />
          <p id={`${id}hint`} className={invalid ? "hint invalid" : "hint"} role={invalid ? "alert" : undefined}>
            {invalid
              ? "This is not a JWT with a subject: three parts separated by dots, with a “sub” in the second."
              : "Stored for this tab only, until it is closed. Sent to this server only."}
          </p>
        </div>
        <button type="submit" className="button primary">
          Use this token
        </button>
      </form>
    </main>
  );
}
