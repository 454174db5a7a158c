// Sends a notification as a service would, and shows the outcome.

import type { Priority } from "@carillon/client";
import { useClient } from "@carillon/client/react";
import { type FormEvent, type ReactElement, useId, useRef, useState } from "react";
import { FailureNote } from "./FailureNote.js";
import { type Failure, failure } from "./failure.js";
import { duration, PRIORITIES } from "./format.js";
import { SendIcon } from "./icons.js";
import { useTracing } from "./tracing.js";

interface SentNotification {
  readonly userId: string;
  readonly id: string | null;
  readonly status: "accepted" | "rate_limited";
  readonly retryAfterMs?: number | null;
}

interface Sent {
  readonly sendId: string;
  readonly status: "accepted" | "scheduled";
  readonly durability?: string;
  readonly notifications: readonly SentNotification[];
}

type Outcome = { sent: Sent; name: string } | { failure: Failure } | null;

export const EXAMPLE_TYPES: readonly string[] = [
  "REPORT_APPROVED",
  "ORDER_SHIPPED",
  "COMMENT_ADDED",
  "BUILD_FAILED",
  "like",
];

export function SendForm({ user }: { user: string }): ReactElement {
  const id = useId();
  const client = useClient();
  const { remember } = useTracing();
  const [outcome, setOutcome] = useState<Outcome>(null);
  const [busy, setBusy] = useState(false);
  // Until there is a response, submitting the same content again is a retry and keeps its idempotency key.
  const attempt = useRef({ content: "", key: "" });

  const submit = async (call: () => Promise<Sent>, name: string): Promise<void> => {
    if (busy) return;
    setBusy(true);
    try {
      const sent = await call();
      attempt.current = { content: "", key: "" };
      const accepted = sent.notifications.flatMap(({ userId, id }) => (id === null ? [] : [{ userId, id }]));
      remember(sent.sendId, accepted);
      setOutcome({ sent, name });
      // Makes the history refresh.
      dispatchEvent(new Event("carillon:sent"));
    } catch (thrown) {
      setOutcome({ failure: failure(thrown) });
    } finally {
      setBusy(false);
    }
  };

  const onSubmit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const text = (name: string): string => String(fields.get(name) ?? "");
    const body = {
      type: text("type").trim(),
      userIds: text("users")
        .split(/[\n,]/)
        .map((one) => one.trim())
        .filter((one) => one !== ""),
      title: text("title"),
      priority: text("priority"),
      ...(text("body") !== "" && { body: text("body") }),
      ...(text("actionUrl") !== "" && { actionUrl: text("actionUrl") }),
    };
    // The button that was pressed.
    const isPush = (event.nativeEvent as SubmitEvent).submitter?.getAttribute("value") === "push";
    const path = isPush ? "/api/push/send" : "/api/notifications/send";
    const content = JSON.stringify([path, body]);
    if (attempt.current.content !== content) attempt.current = { content, key: crypto.randomUUID() };
    const headers = { "Idempotency-Key": attempt.current.key };
    void submit(() => client.request<Sent>("POST", path, { body, headers }), isPush ? "Push" : "Notification");
  };

  const sendTest = (): void => {
    const body = { userIds: [user] };
    void submit(() => client.request<Sent>("POST", "/api/test/redis-notification", { body }), "Test");
  };

  const refused = outcome && "failure" in outcome ? outcome.failure.fields : [];
  const isInvalid = (name: string): boolean => refused.some((field) => field === name || field.startsWith(`${name}[`));

  return (
    <section className="card" aria-labelledby="send-title">
      <h2 id="send-title">Send</h2>
      <form className="send" onSubmit={onSubmit}>
        <div className="field">
          <label htmlFor={`${id}type`}>Type</label>
          <input
            id={`${id}type`}
            name="type"
            className="mono"
            list={`${id}types`}
            defaultValue="REPORT_APPROVED"
            maxLength={64}
            pattern="[A-Za-z0-9_.:\-]+"
            title="Letters, digits and _ . : -"
            autoComplete="off"
            spellCheck={false}
            required
            aria-invalid={isInvalid("type")}
          />
          <datalist id={`${id}types`}>
            {EXAMPLE_TYPES.map((type) => (
              <option key={type} value={type} />
            ))}
          </datalist>
        </div>
        <div className="field">
          <label htmlFor={`${id}users`}>Users</label>
          <input
            id={`${id}users`}
            name="users"
            defaultValue={user}
            autoComplete="off"
            spellCheck={false}
            required
            aria-describedby={`${id}users-hint`}
            aria-invalid={isInvalid("userIds")}
          />
          <p className="hint" id={`${id}users-hint`}>
            Comma-separated
          </p>
        </div>
        <fieldset className="field whole segments">
          <legend>Priority</legend>
          <div>
            {PRIORITIES.map((priority: Priority) => (
              <label key={priority}>
                <input type="radio" name="priority" value={priority} defaultChecked={priority === "normal"} />
                <span>{priority}</span>
              </label>
            ))}
          </div>
        </fieldset>
        <div className="field whole">
          <label htmlFor={`${id}title`}>Title</label>
          <input
            id={`${id}title`}
            name="title"
            defaultValue="Your report was approved"
            maxLength={200}
            autoComplete="off"
            required
            aria-invalid={isInvalid("title")}
          />
        </div>
        <div className="field whole">
          <label htmlFor={`${id}body`}>
            Text <span className="optional">optional</span>
          </label>
          <textarea id={`${id}body`} name="body" rows={2} maxLength={4000} aria-invalid={isInvalid("body")} />
        </div>
        <div className="field whole">
          <label htmlFor={`${id}actionUrl`}>
            Link <span className="optional">optional</span>
          </label>
          <input
            id={`${id}actionUrl`}
            name="actionUrl"
            placeholder="/reports/123 or https://…"
            autoComplete="off"
            spellCheck={false}
            aria-invalid={isInvalid("actionUrl")}
          />
        </div>
        <div className="buttons whole">
          <button type="submit" className="button primary" aria-disabled={busy}>
            <SendIcon /> {busy ? "Sending…" : "Send"}
          </button>
          <button type="submit" name="as" value="push" className="button" aria-disabled={busy}>
            Send as a push
          </button>
          <button type="button" className="button" aria-disabled={busy} onClick={sendTest}>
            Send a test to {user}
          </button>
        </div>
      </form>
      <div className="outcome" role="status">
        <OutcomeOf outcome={outcome} />
      </div>
    </section>
  );
}

/** The labels of the form, by the field of a send. */
const LABELS: Readonly<Record<string, string>> = {
  type: "Type",
  userIds: "Users",
  priority: "Priority",
  title: "Title",
  body: "Text",
  actionUrl: "Link",
};

function OutcomeOf({ outcome }: { outcome: Outcome }): ReactElement {
  const { trace } = useTracing();
  if (!outcome) return <p className="hint">The server's response appears here.</p>;
  if ("failure" in outcome) {
    const { failure } = outcome;
    return (
      <FailureNote title={failure.status ? "Refused" : "No response"} failure={failure}>
        {failure.fields.length > 0 && (
          <p className="note-small">Check: {failure.fields.map((field) => LABELS[field] ?? field).join(", ")}</p>
        )}
        {!failure.status && (
          <p className="note-small">
            It may or may not have arrived. Sending it again is safe, because it keeps its idempotency key.
          </p>
        )}
      </FailureNote>
    );
  }
  const { sent, name } = outcome;
  const accepted = sent.notifications.filter(({ status }) => status === "accepted").length;
  return (
    <div className="note good">
      <div>
        <p className="note-title">
          {name} {sent.status} for {accepted} of {sent.notifications.length}{" "}
          {sent.durability && <code>{sent.durability}</code>}
        </p>
        <ul className="recipients">
          {sent.notifications.slice(0, 5).map(({ userId, id, retryAfterMs }) => (
            <li key={userId}>
              <span className="recipient">{userId}</span>
              {id === null ? (
                <span className="hint">
                  rate limited{typeof retryAfterMs === "number" ? `, retry in ${duration(retryAfterMs)}` : ""}
                </span>
              ) : (
                <button type="button" className="link" onClick={() => trace(id)}>
                  Trace<span className="visually-hidden"> the notification of {userId}</span>
                </button>
              )}
            </li>
          ))}
        </ul>
        {sent.notifications.length > 5 && <p className="note-small">and {sent.notifications.length - 5} more</p>}
      </div>
    </div>
  );
}
