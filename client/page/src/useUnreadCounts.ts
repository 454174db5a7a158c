// How many notifications of each type are unread, loaded or not: the server counts them.

import { useClient } from "@carillon/client/react";
import { useEffect, useState } from "react";

/** The count of each of the types, as soon as it is known. */
export function useUnreadCounts(types: readonly string[]): ReadonlyMap<string, number> {
  const client = useClient();
  const [counts, setCounts] = useState<ReadonlyMap<string, number>>(new Map());
  // A type has no comma.
  const names = types.join(",");
  useEffect(() => {
    const held = names.split(",").map((type) => {
      const { store, release } = client.view({ type });
      const show = (): void => {
        const { loading, unreadCount } = store.getState();
        if (!loading)
          setCounts((before) => (before.get(type) === unreadCount ? before : new Map(before).set(type, unreadCount)));
      };
      const unsubscribe = store.subscribe(show);
      return () => {
        unsubscribe();
        release();
      };
    });
    return () => {
      for (const stop of held) stop();
    };
  }, [client, names]);
  return counts;
}
