// Where no local gateway signs tokens, the user brings one.

import { type FormEvent, type ReactElement, useId, useState } from "react";
import { subjectOf } from "./session.js";

export function PasteToken({ onPaste }: { onPaste: (token: string) => void }): ReactElement {
  const id = useId();
  const [wrong, setWrong] = useState(false);
  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get("token"))
      .replace(/^\s*bearer\s+/i, "")
      .trim();
    if (subjectOf(token) === null) setWrong(true);
    else onPaste(token);
  };
  return (
    <main className="alone" id="main">
      <form className="card" onSubmit={submit}>
        <h1>Carillon test page</h1>
        <p>
          This server signs no tokens for trying things out. Paste one whose scope has <code>notify:send</code> and{" "}
          <code>notify:admin</code>; its <code>sub</code> is the user whose inbox is shown.
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
            aria-invalid={wrong}
            aria-describedby={`${id}says`}
            onChange={() => setWrong(false)}
          />
          <p id={`${id}says`} className={wrong ? "hint wrong" : "hint"} role={wrong ? "alert" : undefined}>
            {wrong
              ? "This is no JWT with a subject: three parts with dots between them, the second naming “sub”."
              : "Kept for this tab alone, until it is closed; sent to this server only."}
          </p>
        </div>
        <button type="submit" className="button primary">
          Use this token
        </button>
      </form>
    </main>
  );
}
