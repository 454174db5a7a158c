// The events that the client emits, newest first, as an application receives them from `onEvent`.

import type { CarillonEvent } from "@carillon/client";
import { useCarillon, useClient } from "@carillon/client/react";
import { type ReactElement, useEffect, useRef, useState } from "react";
import { atSecond, inFull, TRANSPORT } from "./format.js";
import { EmptyIcon } from "./icons.js";
import { useSlide } from "./slide.js";

/** The number of events shown; older ones are discarded. */
const MAX_SHOWN = 100;

interface ReceivedEvent {
  readonly n: number;
  /** `null` for an event of an earlier visit that comes from the cache. */
  readonly at: Date | null;
  /** The transport in use when it was received. */
  readonly transport: string;
  readonly event: CarillonEvent;
}

export function Events(): ReactElement {
  const received = useReceivedEvents();
  const list = useRef<HTMLOListElement>(null);
  useSlide(list, received);
  return (
    <section className="card events" aria-labelledby="events-title">
      <div className="card-head">
        <h2 id="events-title">Recent events</h2>
        <p className="card-note numbers">{received.length === 0 ? "" : `last ${received.length}`}</p>
      </div>
      {received.length === 0 ? (
        <div className="empty">
          <EmptyIcon />
          <p>No events yet.</p>
          <p className="hint">Arrivals, reads and deletions appear here.</p>
        </div>
      ) : (
        <ol className="event-list" ref={list}>
          {received.map((one) => (
            <Row key={one.n} received={one} />
          ))}
        </ol>
      )}
    </section>
  );
}

function Row({ received: { n, at, transport, event } }: { received: ReceivedEvent }): ReactElement {
  return (
    <li data-slide={n}>
      <details>
        <summary>
          <span className={`kind ${event.type}`}>{event.type === "changed" ? event.change : event.type}</span>
          <span className="event-summary">{summaryOf(event)}</span>
          {at ? (
            <time className="numbers" dateTime={at.toISOString()} title={`${inFull(at)} via ${transport}`}>
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

function summaryOf(event: CarillonEvent): string {
  switch (event.type) {
    case "notification":
    case "pushed":
      return event.notification.title;
    case "changed":
      return event.ids.length === 1 ? "1 notification" : `${event.ids.length} notifications`;
    default:
      return event.title ?? event.name ?? event.id;
  }
}

// An event that is both cached and received live has the same key twice, and is shown once.
function keyOf(event: CarillonEvent): string {
  if ("id" in event) return event.id;
  if (event.type === "pushed") return `${event.notification.id} pushed`;
  // Without a cursor the notification is told once, and has its place later.
  return `${event.cursor ?? event.notification.id} ${event.type}`;
}

function useReceivedEvents(): readonly ReceivedEvent[] {
  const client = useClient();
  const kind = useCarillon((state) => state.transport);
  const transport = useRef("");
  transport.current = kind ? TRANSPORT[kind] : "no transport";
  const [received, setReceived] = useState<readonly ReceivedEvent[]>([]);
  const userId = useCarillon((state) => state.userId);
  const n = useRef(0);
  useEffect(
    () =>
      client.onEvent(
        (event) => {
          n.current += 1;
          const one = { n: n.current, at: new Date(), transport: transport.current, event };
          setReceived((last) => [one, ...last].slice(0, MAX_SHOWN));
        },
        { everyTab: true },
      ),
    [client],
  );
  useEffect(() => {
    if (userId === null) return;
    let unmounted = false;
    const add = (cached: readonly CarillonEvent[]): void =>
      setReceived((last) => {
        const known = new Set(last.map(({ event }) => keyOf(event)));
        const earlier = cached.filter((event) => !known.has(keyOf(event))).reverse();
        // Negative numbers, because live events have positive ones.
        const added = earlier.map((event, m) => ({ n: -1 - m, at: null, transport: "", event }));
        return [...last, ...added].slice(0, MAX_SHOWN);
      });
    void client.loadCachedEvents().then((cached) => !unmounted && add(cached));
    return () => {
      unmounted = true;
    };
  }, [client, userId]);
  return received;
}
