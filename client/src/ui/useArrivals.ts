// Notifications as they arrive.

import { useEffect, useRef } from "react";
import { useClient } from "../react.js";
import type { Notification } from "../types.js";

/** Calls `act` for each notification that arrives while the component is mounted. */
export function useArrivals(act: (notification: Notification) => void): void {
  const client = useClient();
  const latest = useRef(act);
  useEffect(() => {
    latest.current = act;
  });
  useEffect(
    () =>
      client.onEvent(
        (event) => {
          if (event.type === "notification") latest.current(event.notification);
        },
        // The visible tab shows and speaks, and another one may hold the connection.
        { everyTab: true },
      ),
    [client],
  );
}
