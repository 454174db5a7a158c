// Notifications as they arrive and ring.

import { useEffect, useRef } from "react";
import { useClient } from "../provider.js";
import type { Notification } from "../types.js";
import { ringOf } from "./rings.js";

/** Calls `act` for each notification that rings while the component is mounted. */
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
          const notification = ringOf(event);
          if (notification) latest.current(notification);
        },
        // The visible tab shows and speaks, and another one may hold the connection.
        { everyTab: true },
      ),
    [client],
  );
}
