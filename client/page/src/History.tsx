// The history of sends with their delivery states, and the trace of one notification.

import { useClient } from "@carillon/client/react";
import { type FormEvent, type ReactElement, useEffect, useId, useRef, useState } from "react";
import { FailureLine, FailureNote } from "./FailureNote.js";
import { type Failure, failure } from "./failure.js";
import { count, inFull, inShort, type Tone, typeName } from "./format.js";
import { EmptyIcon, RefreshIcon } from "./icons.js";
import { useSlide } from "./slide.js";
import { Trace } from "./Trace.js";
import { useTracing } from "./tracing.js";
import { usePolled } from "./usePolled.js";

const EVERY_MS = 5000;
const PAGE = 10;

const STATES = ["waiting", "offered", "settled", "expired", "dead"] as const;
type DeliveryState = (typeof STATES)[number];

const TONE: Record<DeliveryState, Tone> = {
  waiting: "wait",
  offered: "wait",
  settled: "good",
  expired: "idle",
  dead: "bad",
};

interface HistoryItem {
  readonly sendId: string;
  readonly type: string;
  readonly title: string | null;
  readonly createdAt: string;
  readonly recipients: number;
  readonly states?: Partial<Record<DeliveryState, number | null>> | null;
}

interface HistoryResponse {
  readonly items: readonly HistoryItem[];
  readonly nextCursor: string | null;
}

export function History(): ReactElement {
  const [filter, setFilter] = useState("");
  const { data, failure, refresh } = usePolled<HistoryResponse>(
    `/api/notifications/history?limit=${PAGE}${filter}`,
    EVERY_MS,
  );
  useEffect(() => {
    addEventListener("carillon:sent", refresh);
    return () => removeEventListener("carillon:sent", refresh);
  }, [refresh]);

  return (
    <section className="card" aria-labelledby="history-title">
      <div className="card-head">
        <h2 id="history-title">History</h2>
        <p className="card-note">{failure && data && <FailureLine failure={failure} />}</p>
        <button type="button" className="quiet" onClick={refresh}>
          <RefreshIcon /> Refresh
        </button>
      </div>
      <div className="history">
        <div>
          <Filter onFilter={setFilter} />
          {failure && !data && <FailureNote title="Could not load the history." failure={failure} />}
          {data ? (
            // Each filter has its own list, because the older pages of another filter do not belong to it.
            <List key={filter} first={data} filter={filter} />
          ) : (
            !failure && (
              <div className="waiting" aria-busy="true">
                <span className="visually-hidden">Loading the history</span>
                {[1, 2, 3].map((n) => (
                  <div key={n} className="skeleton" aria-hidden="true" />
                ))}
              </div>
            )
          )}
        </div>
        <Trace />
      </div>
    </section>
  );
}

function Filter({ onFilter }: { onFilter: (query: string) => void }): ReactElement {
  const id = useId();
  const apply = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    const fields = new FormData(event.currentTarget);
    const query = new URLSearchParams();
    for (const name of ["type", "userId", "state"]) {
      const value = String(fields.get(name) ?? "").trim();
      if (value !== "") query.set(name, value);
    }
    onFilter(query.size === 0 ? "" : `&${query}`);
  };
  return (
    <form className="filter" aria-label="Filter the history" onSubmit={apply}>
      <div className="field">
        <label htmlFor={`${id}type`}>Type</label>
        <input id={`${id}type`} name="type" className="mono" placeholder="any" autoComplete="off" spellCheck={false} />
      </div>
      <div className="field">
        <label htmlFor={`${id}user`}>Recipient</label>
        <input id={`${id}user`} name="userId" placeholder="anyone" autoComplete="off" spellCheck={false} />
      </div>
      <div className="field">
        <label htmlFor={`${id}state`}>State</label>
        <select id={`${id}state`} name="state" defaultValue="">
          <option value="">any</option>
          {STATES.map((state) => (
            <option key={state}>{state}</option>
          ))}
        </select>
      </div>
      <button type="submit" className="button">
        Filter
      </button>
    </form>
  );
}

function List({ first, filter }: { first: HistoryResponse; filter: string }): ReactElement {
  const client = useClient();
  const [older, setOlder] = useState<HistoryResponse | null>(null);
  const [busy, setBusy] = useState(false);
  const [refused, setRefused] = useState<Failure | null>(null);
  const nextCursor = older ? older.nextCursor : first.nextCursor;
  const more = async (): Promise<void> => {
    if (busy || nextCursor === null) return;
    setBusy(true);
    setRefused(null);
    try {
      const path = `/api/notifications/history?limit=${PAGE}${filter}&cursor=${encodeURIComponent(nextCursor)}`;
      const page = await client.request<HistoryResponse>("GET", path);
      // The polled first page may move on. Its items are kept with the older ones, so that none between is lost.
      setOlder((last) => ({ ...page, items: [...(last?.items ?? first.items), ...page.items] }));
    } catch (thrown) {
      setRefused(failure(thrown));
    } finally {
      setBusy(false);
    }
  };
  const shown = new Map([...first.items, ...(older?.items ?? [])].map((item) => [item.sendId, item]));
  for (const item of first.items) shown.set(item.sendId, item);
  const list = useRef<HTMLUListElement>(null);
  useSlide(list, first.items);

  return (
    <>
      {shown.size === 0 ? (
        <div className="empty">
          <EmptyIcon />
          {/* A page may be empty although older sends match, because each page scans a limited number of sends. */}
          <p>
            {nextCursor !== null
              ? "None of the newest sends match."
              : filter === ""
                ? "No sends yet."
                : "No sends match this filter."}
          </p>
        </div>
      ) : (
        <ul className="sends" ref={list}>
          {[...shown.values()].map((item) => (
            <Send key={item.sendId} item={item} />
          ))}
        </ul>
      )}
      {refused && <FailureNote title="Could not load older sends." failure={refused} />}
      {nextCursor !== null && (
        <button type="button" className="button more" aria-disabled={busy} onClick={more}>
          {busy ? "Loading…" : "Show older"}
        </button>
      )}
    </>
  );
}

function Send({ item }: { item: HistoryItem }): ReactElement {
  const { traceable, trace } = useTracing();
  const notifications = traceable.get(item.sendId) ?? [];
  const at = new Date(item.createdAt);
  const states = STATES.flatMap((state) => {
    const number = item.states?.[state] ?? 0;
    return number > 0 ? [{ state, number }] : [];
  });
  return (
    <li className="send-row" data-slide={item.sendId}>
      <p className="send-title">{item.title ?? typeName(item.type)}</p>
      <p className="send-about">
        <code>{item.type}</code>
        <time className="numbers" dateTime={item.createdAt} title={inFull(at)}>
          {inShort(at)}
        </time>
        <span className="numbers">
          {count(item.recipients)} {item.recipients === 1 ? "recipient" : "recipients"}
        </span>
        {notifications.slice(0, 3).map(({ userId, id }) => (
          <button key={id} type="button" className="link" onClick={() => trace(id)}>
            Trace<span className={notifications.length === 1 ? "visually-hidden" : ""}> {userId}</span>
          </button>
        ))}
      </p>
      <p className="send-states">
        {states.map(({ state, number }) => (
          <span key={state} className={`state ${TONE[state]}`}>
            {state} <span className="numbers">{count(number)}</span>
          </span>
        ))}
      </p>
    </li>
  );
}
