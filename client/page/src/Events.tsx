// What the client told this page, newest first: what an application would hear through `onEvent`.

import type { CarillonEvent } from "@carillon/client";
import { useCarillon, useClient } from "@carillon/client/react";
import { type ReactElement, useEffect, useRef, useState } from "react";
import { EmptyIcon } from "./icons.js";
import { atSecond, inFull, TRANSPORT } from "./words.js";

/** How many are shown; older ones make room. */
const SHOWN = 100;

interface Heard {
  readonly n: number;
  /** Null where it was heard on an earlier visit and kept. */
  readonly at: Date | null;
  readonly by: string;
  readonly event: CarillonEvent;
}

export function Events(): ReactElement {
  const heard = useHeard();
  return (
    <section className="card events" aria-labelledby="events-title">
      <div className="card-head">
        <h2 id="events-title">Recent events</h2>
        <p className="card-note numbers">{heard.length === 0 ? "" : `last ${heard.length}`}</p>
      </div>
      {heard.length === 0 ? (
        <div className="empty">
          <EmptyIcon />
          <p>Nothing has happened yet.</p>
          <p className="hint">Arrivals, reads and deletions appear here as they are told.</p>
        </div>
      ) : (
        <ol className="event-list">
          {heard.map((one) => (
            <Row key={one.n} heard={one} />
          ))}
        </ol>
      )}
    </section>
  );
}

function Row({ heard: { at, by, event } }: { heard: Heard }): ReactElement {
  return (
    <li>
      <details>
        <summary>
          <span className={`kind ${event.type}`}>{event.type === "changed" ? event.change : event.type}</span>
          <span className="event-says">{says(event)}</span>
          {at ? (
            <time className="numbers" dateTime={at.toISOString()} title={`${inFull(at)} by ${by}`}>
              {atSecond(at)}
            </time>
          ) : (
            <span className="hint">earlier</span>
          )}
        </summary>
        <pre>{JSON.stringify(event, null, 2)}</pre>
      </details>
    </li>
  );
}

function says(event: CarillonEvent): string {
  switch (event.type) {
    case "notification":
      return event.notification.title;
    case "changed":
      return event.ids.length === 1 ? "1 notification" : `${event.ids.length} notifications`;
    default:
      return event.title ?? event.name ?? event.id;
  }
}

// Events have a position or an id of their own; one that is both kept and told is one.
function keyOf(event: CarillonEvent): string {
  return "cursor" in event ? `${event.cursor} ${event.type}` : event.id;
}

function useHeard(): readonly Heard[] {
  const client = useClient();
  const transport = useCarillon((state) => state.transport);
  const by = useRef("");
  by.current = transport ? TRANSPORT[transport] : "no transport";
  const [heard, setHeard] = useState<readonly Heard[]>([]);
  const userId = useCarillon((state) => state.userId);
  const n = useRef(0);
  useEffect(
    () =>
      client.onEvent((event) => {
        n.current += 1;
        const one = { n: n.current, at: new Date(), by: by.current, event };
        setHeard((last) => [one, ...last].slice(0, SHOWN));
      }),
    [client],
  );
  useEffect(() => {
    if (userId === null) return;
    let gone = false;
    const add = (kept: readonly CarillonEvent[]): void =>
      setHeard((last) => {
        const known = new Set(last.map(({ event }) => keyOf(event)));
        const earlier = kept.filter((event) => !known.has(keyOf(event))).reverse();
        // Below zero, so that their numbers are nobody else's.
        return [...last, ...earlier.map((event, m) => ({ n: -1 - m, at: null, by: "", event }))].slice(0, SHOWN);
      });
    void client.loadCachedEvents().then((kept) => !gone && add(kept));
    return () => {
      gone = true;
    };
  }, [client, userId]);
  return heard;
}
