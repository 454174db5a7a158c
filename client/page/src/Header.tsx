// The bar on top: whose page this is, how the connection stands, and the bell.

import { useCarillon, useClient } from "@carillon/client/react";
import { type ReactElement, useEffect, useState } from "react";
import { BellIcon } from "./icons.js";
import { STATUS, TRANSPORT } from "./words.js";

interface HeaderProps {
  user: string;
  inboxOpen: boolean;
  onBell: () => void;
}

export function Header({ user, inboxOpen, onBell }: HeaderProps): ReactElement {
  const status = STATUS[useCarillon((state) => state.wsStatus)];
  const transport = useCarillon((state) => state.transport);
  return (
    <header className="top">
      <div className="brand">
        <span className="brand-mark">
          <BellIcon />
        </span>
        <h1>
          Carillon <span>test page</span>
        </h1>
      </div>
      <p className="pill" data-testid="status" data-tone={status.tone}>
        <span className={`dot ${status.tone}`} aria-hidden="true" />
        <span>{status.name}</span>
        <span className="pill-more">{transport ? TRANSPORT[transport] : "—"}</span>
      </p>
      <p className="who">
        <span className="face" aria-hidden="true">
          {[...user][0]?.toUpperCase()}
        </span>
        <span className="for-listeners">Looking as </span>
        <span className="who-name">{user}</span>
      </p>
      <Bell open={inboxOpen} onClick={onBell} />
    </header>
  );
}

function Bell({ open, onClick }: { open: boolean; onClick: () => void }): ReactElement {
  const unread = useCarillon((state) => state.unreadCount);
  const rung = useRung();
  return (
    <button
      type="button"
      id="bell"
      className="bell"
      aria-expanded={open}
      aria-controls="inbox"
      aria-label={unread === 0 ? "Notifications, none unread" : `Notifications, ${unread} unread`}
      onClick={onClick}
    >
      {/* A new key is a new element, so the swing begins anew. */}
      <span key={rung} className={rung > 0 ? "bell-body rings" : "bell-body"}>
        <BellIcon />
      </span>
      {unread > 0 && (
        <span className="badge" aria-hidden="true">
          {unread > 99 ? "99+" : unread}
        </span>
      )}
    </button>
  );
}

// How often it rang since the page opened.
function useRung(): number {
  const client = useClient();
  const [rung, setRung] = useState(0);
  useEffect(() => client.onEvent((event) => event.type === "notification" && setRung((times) => times + 1)), [client]);
  return rung;
}
