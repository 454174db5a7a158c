// Holds a view of a client for as long as a component shows it.

import { useEffect, useState, useSyncExternalStore } from "react";
import type { Client, View, ViewFilter, ViewState } from "./types.js";

interface Held {
  readonly client: Client;
  readonly type: string | undefined;
  readonly unread: boolean;
  readonly view: View;
}

/** A filter, of which parts may be undefined. */
type MaybeFilter = { readonly [part in keyof ViewFilter]: ViewFilter[part] | undefined };

const never = (): (() => void) => () => {};

/** The view and its state. Both are `null` without a filter, and until the first effect after a change of it. */
export function useView(client: Client, filter: MaybeFilter | null): [View | null, ViewState | null] {
  const isFiltered = filter !== null;
  const { type, unread = false } = filter ?? {};
  const [held, setHeld] = useState<Held | null>(null);
  useEffect(() => {
    if (!isFiltered) return;
    const view = client.view({ ...(type !== undefined && { type }), unread });
    setHeld({ client, type, unread, view });
    return view.release;
  }, [client, isFiltered, type, unread]);
  const isPresent = isFiltered && held?.client === client && held.type === type && held.unread === unread;
  const view = isPresent ? held.view : null;
  const state = useSyncExternalStore(
    view?.store.subscribe ?? never,
    () => view?.store.getState() ?? null,
    () => null,
  );
  return [view, state];
}
