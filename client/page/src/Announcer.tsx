// Announces arrivals to screen readers: a single one by its title, a burst by its count.

import type { Notification } from "@carillon/client";
import { useClient } from "@carillon/client/react";
import { type ReactElement, useEffect, useState } from "react";

const GATHER_MS = 800;

export function Announcer(): ReactElement {
  const client = useClient();
  const [text, setText] = useState("");
  useEffect(() => {
    let gathered: Notification[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const announce = (): void => {
      timer = undefined;
      const [first] = gathered;
      setText(
        gathered.length === 1 && first ? `New notification: ${first.title}` : `${gathered.length} new notifications`,
      );
      gathered = [];
    };
    const stop = client.onEvent((event) => {
      if (event.type !== "notification") return;
      gathered.push(event.notification);
      timer ??= setTimeout(announce, GATHER_MS);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [client]);
  return (
    <div className="visually-hidden" aria-live="polite" data-testid="announcer">
      {text}
    </div>
  );
}
