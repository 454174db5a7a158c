// Announces arrivals to screen readers: a single one by its title, a burst by its count.

import { type ReactElement, useEffect, useRef, useState } from "react";
import { useClient } from "../provider.js";
import type { Client, Notification } from "../types.js";
import { named } from "./format.js";
import { counted, type Labels } from "./labels.js";
import { useArrivals } from "./useArrivals.js";

const GATHER_MS = 800;

/** The announcers of each client. Only the first speaks, so a page with a bell, an inbox and toasts hears each once. */
const announcers = new WeakMap<Client, Set<object>>();

function announcersOf(client: Client): Set<object> {
  let all = announcers.get(client);
  if (!all) {
    all = new Set();
    announcers.set(client, all);
  }
  return all;
}

export function Announcer({ labels }: { labels: Labels }): ReactElement {
  const client = useClient();
  const [text, setText] = useState("");
  const gathered = useRef<Notification[]>([]);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    const all = announcersOf(client);
    all.add(gathered);
    return () => {
      all.delete(gathered);
      clearTimeout(timer.current);
      timer.current = undefined;
      gathered.current = [];
    };
  }, [client]);
  useArrivals((notification) => {
    if (announcersOf(client).values().next().value !== gathered) return;
    gathered.current.push(notification);
    // The same text twice in a row would be no change, and not be read.
    setText("");
    timer.current ??= setTimeout(() => {
      timer.current = undefined;
      const [first, second] = gathered.current;
      setText(
        first && !second
          ? // A function, because `$&` in a title must not be taken for a pattern.
            labels.arrived.replace("{title}", () => named(first.title))
          : counted(labels, labels.arrivedMany, gathered.current.length),
      );
      gathered.current = [];
    }, GATHER_MS);
  });
  return (
    <div className="carillon-spoken" aria-live="polite">
      {text}
    </div>
  );
}
