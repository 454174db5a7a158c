// Tells listeners what arrived: one at a time by its title, a burst by its number.

import type { Notification } from "@carillon/client";
import { useClient } from "@carillon/client/react";
import { type ReactElement, useEffect, useState } from "react";

const GATHER_MS = 800;

export function Announcer(): ReactElement {
  const client = useClient();
  const [words, setWords] = useState("");
  useEffect(() => {
    let gathered: Notification[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    const say = (): void => {
      timer = undefined;
      const [first] = gathered;
      setWords(
        gathered.length === 1 && first ? `New notification: ${first.title}` : `${gathered.length} new notifications`,
      );
      gathered = [];
    };
    const off = client.onEvent((event) => {
      if (event.type !== "notification") return;
      gathered.push(event.notification);
      timer ??= setTimeout(say, GATHER_MS);
    });
    return () => {
      off();
      clearTimeout(timer);
    };
  }, [client]);
  return (
    <div className="for-listeners" aria-live="polite" data-testid="announcer">
      {words}
    </div>
  );
}
